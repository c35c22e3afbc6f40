import { DomainError } from '../domain/errors.js';
import { isId } from '../domain/ids.js';
import { authorise } from '../domain/principal.js';
import { type Clock } from '../engine/ports.js';
import { type BackupApi } from './api.js';
import { noted } from './audit.js';
import { type BackupStarter } from './backup-start.js';
import { downloadName } from './file-name.js';
import { notAnyMore, once, recalled } from './idempotency.js';
import { checkFilter, lookUp, shownId } from './lookup.js';
import { checkName } from './names.js';
import { inOrder } from './order.js';
import { pageQuery, toPage, toPages } from './pagination.js';
import { type Database, type Ids, type LinkClaims, type LinkSigner, type Repositories, type Scope, type WorkQueue } from './ports.js';
import { lockedInstance } from './protected-instance.js';
import { type BackupRecord } from './records.js';

export const DOWNLOAD_LINK_SECONDS = { min: 60, max: 7 * 24 * 3600 } as const;

export interface BackupServiceDeps {
  db: Database;
  ids: Ids;
  clock: Clock;
  queue: WorkQueue;
  starter: BackupStarter;
  links: LinkSigner;
  /** What clients reach this service by, without a slash at the end; known once it listens. */
  publicUrl: () => string;
}

export const missingBackup = (id: string, field = 'backupId'): DomainError => new DomainError('NOT_FOUND', `There is no backup ${shownId(id)}.`, { field: [field] });

/** A backup that can be read, or BACKUP_NOT_AVAILABLE, BACKUP_DAMAGED, NOT_FOUND. @param field of the input that names it */
export const readableBackup = (backup: BackupRecord | null, id: string, field = 'backupId'): BackupRecord & { sizeBytes: bigint; sha256: string } => {
  if (!backup || backup.state === 'DELETED') throw missingBackup(id, field);
  if (backup.state === 'DAMAGED') {
    throw new DomainError('BACKUP_DAMAGED', `Backup "${backup.name}" is damaged.`, { hint: 'Use another backup.', field: [field] });
  }
  const { sizeBytes, sha256 } = backup;
  if (backup.state !== 'AVAILABLE' || sizeBytes === null || sha256 === null) {
    throw new DomainError('BACKUP_NOT_AVAILABLE', `Backup "${backup.name}" is ${backup.state}.`, {
      hint: backup.state === 'CREATING' ? 'Wait until it is complete.' : 'Use another backup.', field: [field],
    });
  }
  return { ...backup, sizeBytes, sha256 };
};

export const createBackupService = ({ db, ids, clock, queue, starter, links, publicUrl }: BackupServiceDeps): BackupApi => ({
  async get(caller, id) {
    authorise(caller, 'read');
    return db.read.backups.get(caller, id);
  },

  async getMany(caller, idList) {
    authorise(caller, 'read');
    return inOrder(idList, await db.read.backups.getMany(caller, idList), ({ id }) => id);
  },

  async latestByInstance(caller, instanceIds) {
    authorise(caller, 'read');
    return inOrder(instanceIds, await db.read.backups.latestByInstance(caller, instanceIds), ({ instanceId }) => instanceId);
  },

  async list(caller, filter, page, wanted) {
    authorise(caller, 'read');
    const query = pageQuery('backups', page);
    return toPage('backups', query, await db.read.backups.list(caller, checkFilter(filter), query, wanted), () => db.read.backups.count(caller, filter));
  },

  async listByInstance(caller, instanceIds, filter, page, wanted) {
    authorise(caller, 'read');
    const query = pageQuery('backups', page);
    const pages = await db.read.backups.listByInstance(caller, instanceIds, checkFilter(filter), query, wanted);
    return toPages('backups', query, pages, () => db.read.backups.countByInstance(caller, instanceIds, filter));
  },

  async backupNow(caller, { instanceId, name, idempotencyKey }) {
    authorise(caller, 'operate');
    checkName(name);
    const at = clock.now();
    const made = { backup: ids.make('backup'), job: ids.make('job') };
    const result = await db.transaction((tx) =>
      once(tx, caller, { mutation: 'backupNow', key: idempotencyKey, input: { instanceId, name }, ids: made, at }, async () => {
        const instance = await lockedInstance(tx, caller, instanceId);
        const started = await starter.start(tx, { instance, backupId: made.backup, jobId: made.job, name, trigger: 'MANUAL', at });
        await noted(tx, caller, { action: 'BACKUP_STARTED', objectId: made.backup, instanceId, details: { name, jobId: made.job }, at });
        return started;
      }, (earlier) => recallWork(tx, caller, earlier)),
    );
    if (result.job.state === 'QUEUED') await queue.enqueueJob(result.job.id);
    return result;
  },

  async verify(caller, { backupId, level, idempotencyKey }) {
    authorise(caller, 'operate');
    if (!isId('backup', backupId)) throw missingBackup(backupId);
    const at = clock.now();
    const made = { backup: backupId, job: ids.make('job') };
    const result = await db.transaction((tx) =>
      once(tx, caller, { mutation: 'verifyBackup', key: idempotencyKey, input: { backupId, level }, ids: made, at }, async () => {
        // Locked: from the job on, no deletion passes it.
        const backup = readableBackup(await tx.backups.lock(caller, backupId), backupId);
        await starter.startVerification(tx, backup, { jobId: made.job, level, at });
        await noted(tx, caller, { action: 'BACKUP_VERIFICATION_STARTED', objectId: backupId, instanceId: backup.instanceId, details: { level, jobId: made.job }, at });
        return recallWork(tx, caller, made);
      }, (earlier) => recallWork(tx, caller, earlier)),
    );
    if (result.job.state === 'QUEUED') await queue.enqueueJob(result.job.id);
    return result;
  },

  async delete(caller, { backupId, force, idempotencyKey }) {
    authorise(caller, 'operate');
    // Before the key is claimed: what the key stands for holds this id.
    if (!isId('backup', backupId)) throw missingBackup(backupId);
    const at = clock.now();
    const made = { backup: backupId, job: ids.make('job') };
    const result = await db.transaction((tx) =>
      once(tx, caller, { mutation: 'deleteBackup', key: idempotencyKey, input: { backupId, force }, ids: made, at }, async () => {
        const backup = await deletable(tx, caller, backupId, force);
        await tx.backups.change(caller, backupId, [backup.state], { state: 'DELETING' });
        const job = await starter.startDeletion(tx, backup, made.job, at);
        await noted(tx, caller, { action: 'BACKUP_DELETION_STARTED', objectId: backupId, instanceId: backup.instanceId, details: { name: backup.name, force, jobId: made.job }, at });
        return { backup: { ...backup, state: 'DELETING' as const, retainedBecause: null }, job };
      }, (earlier) => recallWork(tx, caller, earlier)),
    );
    if (result.job.state === 'QUEUED') await queue.enqueueJob(result.job.id);
    return result;
  },

  async createDownloadLink(caller, { backupId, expiresInSeconds, singleUse, idempotencyKey: key }) {
    authorise(caller, 'operate');
    const { min, max } = DOWNLOAD_LINK_SECONDS;
    if (expiresInSeconds < min || expiresInSeconds > max) {
      throw new DomainError('BAD_INPUT', `A download link lives from ${min} seconds to ${max} seconds.`, { field: ['expiresInSeconds'] });
    }
    const backup = readableBackup(await lookUp('backup', backupId, (id) => db.read.backups.get(caller, id)), backupId);
    const at = clock.now();
    // Whole seconds: that is what the link carries.
    const expiresAt = new Date(Math.floor(at.getTime() / 1000 + expiresInSeconds) * 1000);
    const made = { linkId: ids.make('downloadLink'), backupId, projectId: caller.projectId, expiresAt, keyId: caller.keyId };
    const call = { mutation: 'createDownloadLink', key, input: { backupId, expiresInSeconds, singleUse }, by: caller.keyId, ids: { link: made.linkId }, at };
    const claims = await db.transaction((tx) => once<LinkClaims>(tx, caller, call, async () => {
      await tx.links.insert({ ...made, singleUse, createdAt: at });
      await noted(tx, caller, {
        action: 'DOWNLOAD_LINK_CREATED', objectId: backupId, instanceId: backup.instanceId, details: { linkId: made.linkId, expiresAt: expiresAt.toISOString(), singleUse }, at,
      });
      return made;
    }, async ({ link: id = '' }) => {
      const earlier = await tx.links.get(caller, id);
      // Links are forgotten some time after they have expired.
      if (!earlier || earlier.expiresAt <= at) throw notAnyMore('has expired');
      if (earlier.revokedAt !== null) throw notAnyMore('was revoked');
      if (earlier.singleUse && earlier.usedAt !== null) throw notAnyMore('was for a single use, and has been used');
      return earlier;
    }));
    // The token is made from its claims alone, and so the same for a repeat.
    return {
      id: claims.linkId, url: `${publicUrl()}/downloads/${links.sign(claims)}`, expiresAt: claims.expiresAt, singleUse,
      fileName: downloadName(backup), sizeBytes: backup.sizeBytes, sha256: backup.sha256,
    };
  },

  async revokeDownloadLinks(caller, { backupId, linkId = null, idempotencyKey: key }) {
    authorise(caller, 'operate');
    // Links of a backup that cannot be read any more may be revoked all the same.
    const backup = await lookUp('backup', backupId, (id) => db.read.backups.get(caller, id));
    if (!backup) throw missingBackup(backupId);
    if (linkId !== null && !isId('downloadLink', linkId)) throw new DomainError('NOT_FOUND', `There is no download link ${shownId(linkId)}.`, { field: ['linkId'] });
    const at = clock.now();
    const call = { mutation: 'revokeDownloadLinks', key, input: { backupId, linkId }, ids: {}, at };
    return db.transaction((tx) => once(tx, caller, call, async () => {
      const revoked = await tx.links.revoke(caller, { backupId, linkId }, at);
      await noted(tx, caller, { action: 'DOWNLOAD_LINKS_REVOKED', objectId: backupId, instanceId: backup.instanceId, details: { revoked, ...(linkId === null ? {} : { linkId }) }, at });
      return revoked;
    }, ({ revoked }) => Promise.resolve(Number(revoked)), (revoked) => ({ revoked: String(revoked) })));
  },
});

/** What an earlier call with the same key has begun. */
export const recallWork = async (tx: Repositories, scope: Scope, earlier: Record<string, string>) => ({
  backup: recalled(await tx.backups.get(scope, earlier['backup'] ?? '')),
  job: recalled(await tx.jobs.get(scope, earlier['job'] ?? '')),
});

/** The backup, locked, when it can be deleted now. */
const deletable = async (tx: Repositories, scope: Scope, id: string, force: boolean): Promise<BackupRecord> => {
  const backup = await tx.backups.lock(scope, id);
  const field = ['backupId'];
  if (!backup || backup.state === 'DELETED') throw missingBackup(id);
  if (backup.state === 'CREATING') {
    throw backup.jobId === null
      ? new DomainError('CONFLICT', `Backup "${backup.name}" was found in the store and is still to be read through.`, { hint: 'Try again when it is AVAILABLE or DAMAGED.', field })
      : new DomainError('CONFLICT', `Backup "${backup.name}" is being taken.`, { hint: 'Cancel its job instead.', field });
  }
  if (backup.state === 'DELETING') throw new DomainError('CONFLICT', `Backup "${backup.name}" is being deleted already.`, { field });
  if (await tx.leases.isRead(scope, id)) {
    throw new DomainError('BACKUP_IN_USE', `A restore, a download, a verification or an inspection reads backup "${backup.name}".`, { hint: 'Try again when it has ended.', field });
  }
  if (backup.retainedBecause === 'NEWEST_GOOD' && !force) {
    throw new DomainError('CONFLICT', `"${backup.name}" is the newest good backup of a protected instance.`, {
      hint: 'Take another backup first, or pass force: true.', field: ['force'],
    });
  }
  return backup;
};
