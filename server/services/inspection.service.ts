import { keyCursor, parseKeyCursor } from '../domain/cursor.js';
import { isId } from '../domain/ids.js';
import { shownInstant } from '../domain/instant.js';
import { checkPrefixing, type InspectedKey, type InspectionRequest } from '../domain/inspection.js';
import { checkSelection, selectsAll } from '../domain/key-selection.js';
import { authorise } from '../domain/principal.js';
import { type Clock } from '../engine/ports.js';
import { type InspectBackup, type InspectionApi } from './api.js';
import { noted } from './audit.js';
import { type BackupStarter } from './backup-start.js';
import { missingBackup, readableBackup, recallWork } from './backup.service.js';
import { once } from './idempotency.js';
import { inspectionParts } from './inspection-parts.js';
import { inOrder } from './order.js';
import { pageSize } from './pagination.js';
import { type Database, type Ids, type InspectionPart, type InspectionRow, type Scope, type Vault, type WorkQueue } from './ports.js';
import { type InspectedKeyRecord, type InspectionRecord, type Page } from './records.js';

export interface InspectionServiceDeps {
  db: Database;
  ids: Ids;
  clock: Clock;
  queue: WorkQueue;
  starter: BackupStarter;
  vault: Vault;
}

const shownKey = ({ expiresAtMs, offset: _offset, ...key }: InspectedKey, takenAtMs: number): InspectedKeyRecord => ({
  ...key,
  expiresAt: expiresAtMs === null ? null : shownInstant(expiresAtMs),
  ttlSeconds: expiresAtMs === null ? null : BigInt(Math.floor((expiresAtMs - takenAtMs) / 1_000)),
});

/** Checked, and written in one way, however the caller wrote it. */
const requestOf = ({ filter, delimiter, prefixDepth }: InspectBackup): InspectionRequest => {
  const request = { filter: { patterns: filter?.patterns ?? null, types: filter?.types ?? null, databases: filter?.databases ?? null }, delimiter, prefixDepth };
  checkSelection(request.filter, ['filter']);
  checkPrefixing(request);
  return request;
};

export const createInspectionService = ({ db, ids, clock, queue, starter, vault }: InspectionServiceDeps): InspectionApi => {
  const parts = inspectionParts(vault);

  const shown = (row: InspectionRow): InspectionRecord => {
    const { projectId, backupId, jobId, inspectedAt } = row;
    const { filter, delimiter, prefixDepth } = parts.openRequest(row, row.request);
    const { largest, ...summary } = parts.openSummary(row, row.summary);
    return {
      ...summary, projectId, backupId, jobId, inspectedAt, delimiter, prefixDepth,
      filter: selectsAll(filter) ? null : filter,
      largest: largest.map((key) => shownKey(key, summary.takenAtMs)),
    };
  };

  const keyPage = ({ projectId }: Scope, { backupId, jobId, takenAtMs, listed }: InspectionRecord, sealed: readonly InspectionPart[], size: number, from: number | null): Page<InspectedKeyRecord> => {
    const found = sealed.flatMap((part) => parts.openKeys({ projectId, jobId }, part)).filter(({ offset }) => from === null || offset > from);
    return {
      items: found.slice(0, size).map((key) => ({ cursor: keyCursor(backupId, key.offset), item: shownKey(key, takenAtMs) })),
      hasNextPage: found.length > size,
      hasPreviousPage: from !== null,
      totalCount: () => Promise.resolve(listed),
    };
  };

  const api: InspectionApi = {
    async start(caller, input) {
      authorise(caller, 'operate');
      const { backupId, idempotencyKey } = input;
      if (!isId('backup', backupId)) throw missingBackup(backupId);
      const request = requestOf(input);
      const at = clock.now();
      const made = { backup: backupId, job: ids.make('job') };
      const result = await db.transaction((tx) =>
        once(tx, caller, { mutation: 'inspectBackup', key: idempotencyKey, input: { backupId, ...request }, ids: made, at }, async () => {
          // Locked: from the job on, no deletion passes it.
          const backup = readableBackup(await tx.backups.lock(caller, backupId), backupId);
          const owner = { projectId: caller.projectId, jobId: made.job };
          await tx.inspections.insert(caller, { jobId: made.job, backupId, request: parts.sealRequest(owner, request) });
          await starter.startInspection(tx, backup, made.job, at);
          await noted(tx, caller, { action: 'BACKUP_INSPECTION_STARTED', objectId: backupId, instanceId: backup.instanceId, details: { jobId: made.job }, at });
          return recallWork(tx, caller, made);
        }, (earlier) => recallWork(tx, caller, earlier)),
      );
      if (result.job.state === 'QUEUED') await queue.enqueueJob(result.job.id);
      return result;
    },

    async latestByBackup(caller, backupIds) {
      authorise(caller, 'operate');
      const rows = await db.read.inspections.latestByBackup(caller, backupIds);
      return inOrder(backupIds, rows.map(shown), ({ backupId }) => backupId);
    },

    async keys(caller, inspection, page) {
      authorise(caller, 'operate');
      const { backupId, jobId, listed } = inspection;
      const size = pageSize(page.first);
      const from = page.after == null ? null : parseKeyCursor(backupId, page.after, 'after');
      const sealed = await db.read.inspections.keys(caller, [jobId], from);
      if (sealed.length === 0 && listed > 0) {
        // Gone since it was looked up: a later one has taken its place, or nothing has.
        const [later] = await api.latestByBackup(caller, [backupId]);
        if (later && later.jobId !== jobId) return api.keys(caller, later, page);
      }
      return keyPage(caller, inspection, sealed, size, from);
    },

    async firstKeys(caller, inspections, first) {
      authorise(caller, 'operate');
      const size = pageSize(first);
      const sealed = inspections.length === 0 ? [] : await db.read.inspections.keys(caller, inspections.map(({ jobId }) => jobId), null);
      return Promise.all(inspections.map((inspection) => {
        const own = sealed.filter(({ jobId }) => jobId === inspection.jobId);
        // One that has gone meanwhile: a later one has taken its place, or nothing has.
        return own.length === 0 && inspection.listed > 0 ? api.keys(caller, inspection, { first }) : keyPage(caller, inspection, own, size, null);
      }));
    },
  };
  return api;
};
