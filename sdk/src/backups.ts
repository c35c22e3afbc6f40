import type { Connection } from './connection.js';
import type { DownloadOptions, DownloadSummary } from './download.js';
import {
  BackupNowDocument, CreateDownloadLinkDocument, DeleteBackupDocument, GetBackupDocument, GetInspectionDocument, InspectBackupDocument, ListBackupsDocument,
  ListInspectedKeysDocument, RetentionPreviewDocument, RevokeDownloadLinksDocument, VerifyBackupDocument,
} from './generated/backup.documents.js';
import type {
  BackupFilter, BackupFragment, BackupNowInput, CreateDownloadLinkMutation, DeleteBackupInput, InspectBackupInput, InspectedKeyFragment,
  InspectionFragment, JobEventFragment, JobFragment, RetentionPreviewQuery, VerifyBackupInput,
} from './generated/operations.js';
import type { Jobs, WaitOptions, WatchOptions } from './jobs.js';
import { createList, splitListInput, type ConnectionPage, type List, type ListOptions } from './list.js';
import type { Loaded } from './nouns.js';
import type { CallOptions } from './options.js';
import type { Tries } from './outcome.js';
import { found, fulfilled, idOf, keyed, type Ref } from './payload.js';
import { follow, within } from './stream.js';

/** A signed, expiring address of one backup's RDB file. Whoever has it can download; treat it as a secret. */
export type DownloadLink = NonNullable<CreateDownloadLinkMutation['createDownloadLink']['link']>;

/** What the next pass of retention does with a backup, and why. */
export type RetentionVerdict = RetentionPreviewQuery['retentionPreview']['nodes'][number];

/** A backup, its id, or what `create`, `verify`, `inspect` and `delete` return. */
export type BackupRef = Ref | { readonly backup: { readonly id: string }; readonly job: { readonly id: string } };

export interface BackupAndJob {
  backup: BackupFragment;
  job: JobFragment;
}

export interface BackupMutations {
  /** Begins a backup and returns at once; follow it with `watch` or `wait`. */
  create(input: BackupNowInput, options?: CallOptions): Promise<BackupAndJob>;
  /**
   * Begins a verification of a backup (CONTENT unless `level` says otherwise) and returns at once. Given to `wait`, the answer gives the backup once it
   * was found good, and throws JobFailedError with the code BACKUP_DAMAGED when it was not.
   */
  verify(backup: BackupRef | VerifyBackupInput, options?: CallOptions): Promise<BackupAndJob>;
  /**
   * Begins to look into a backup and returns at once: all its keys, or those that `filter` selects. Once `wait` has given the backup, `inspection` and
   * `keys` have the result.
   */
  inspect(backup: BackupRef | InspectBackupInput, options?: CallOptions): Promise<BackupAndJob>;
  /** The newest good backup of a protected instance needs `force`. */
  delete(backup: BackupRef | DeleteBackupInput, options?: CallOptions): Promise<BackupAndJob>;
  /** A link for other programs, or for a browser to follow. With `singleUse` it serves one GET, whatever comes of that. */
  link(backup: BackupRef, options?: CallOptions & { expiresInSeconds?: number; singleUse?: boolean }): Promise<DownloadLink>;
  /** Revokes the backup's links, or one of them, and answers with how many that were. Downloads that have begun go on. */
  revokeLinks(backup: BackupRef, options?: CallOptions & { linkId?: string }): Promise<number>;
}

export interface Backups extends BackupMutations, Tries<BackupMutations> {
  /** Deleted backups are left out unless `states` asks for them. */
  list(filter?: BackupFilter & ListOptions, options?: CallOptions): List<BackupFragment>;
  /** What the next pass of retention does with each backup, and why, as things stand now. */
  retentionPreview(filter?: { instanceId?: string } & ListOptions, options?: CallOptions): List<RetentionVerdict>;
  /** A backup, or null when there is none. */
  get(backup: BackupRef, options?: CallOptions): Promise<BackupFragment | null>;
  /**
   * What is in a backup: `totals` always, all else from the newest inspection that succeeded, and null before there is one. Null when there is no such backup,
   * or it is not complete.
   */
  inspection(backup: BackupRef, options?: CallOptions): Promise<InspectionFragment | null>;
  /** The keys that the newest inspection lists, the first 10,000 it selected, in the order of the RDB file; none when there was no inspection. */
  keys(backup: BackupRef, list?: Omit<ListOptions, 'order'>, options?: CallOptions): List<InspectedKeyFragment>;
  /** The events of the job that takes the backup, or of the one that `verify`, `inspect` or `delete` began; see `jobs.watch`. */
  watch(backup: BackupRef, options?: WatchOptions): AsyncIterableIterator<JobEventFragment>;
  /** The backup after its job (the one that takes it, or the one that `verify`, `inspect` or `delete` began). Throws JobFailedError when that did not succeed. */
  wait(backup: BackupRef, options?: WaitOptions): Promise<BackupFragment>;
  /**
   * The backup's RDB file. Taken up again by Range where it was cut; its SHA-256 is compared at the end, and a file that differs ends
   * in an error instead of its end. Memory use does not depend on the file's size.
   */
  download(backup: BackupRef, options: DownloadOptions & { to: WritableStream<Uint8Array> }): Promise<DownloadSummary>;
  download(backup: BackupRef, options?: DownloadOptions & { to?: undefined }): Promise<ReadableStream<Uint8Array>>;
}

const NO_KEYS: ConnectionPage<InspectedKeyFragment> = { nodes: [], pageInfo: { hasNextPage: false, endCursor: null }, totalCount: 0 };

const backupId = (ref: BackupRef): string => (typeof ref === 'object' && 'backup' in ref ? ref.backup.id : idOf(ref));

export const createBackups = (connection: Connection, jobs: Jobs): Loaded<Backups> => {
  const get: Backups['get'] = async (backup, options) =>
    (await connection.execute(GetBackupDocument, { id: backupId(backup) }, options)).backup;

  /** Null for a backup without a job: one that came with its store. */
  const jobOf = async (ref: BackupRef, options: CallOptions): Promise<string | null> => {
    if (typeof ref === 'object' && 'backup' in ref) return ref.job.id;
    const id = backupId(ref);
    return found(await get(id, options), `backup ${id}`).job?.id ?? null;
  };

  const link: Backups['link'] = async (backup, { expiresInSeconds, singleUse, ...options } = {}) => {
    const input = { backupId: backupId(backup), expiresInSeconds, singleUse };
    return fulfilled('createDownloadLink', (await connection.execute(CreateDownloadLinkDocument, { input }, keyed(options))).createDownloadLink).link;
  };

  const download = async (backup: BackupRef, { to, ...options }: DownloadOptions & { to?: WritableStream<Uint8Array> | undefined } = {}) => {
    const { openDownload } = await import('./download.js');
    const { stream, summary } = await openDownload(connection, () => link(backup, { ...options, idempotencyKey: undefined }), options);
    if (to === undefined) return stream;
    await stream.pipeTo(to);
    return summary();
  };

  return {
    create: async (input, options) => fulfilled('backupNow', (await connection.execute(BackupNowDocument, { input }, keyed(options, input))).backupNow),
    list: (input = {}, options) => {
      const { filter, list } = splitListInput<BackupFilter>(input);
      return createList('ListBackups', list, async (page) => (await connection.execute(ListBackupsDocument, { filter, ...page }, options)).backups);
    },
    retentionPreview: (input = {}, options) => {
      const { filter, list } = splitListInput<{ instanceId?: string }>(input);
      return createList('RetentionPreview', list, async (page) => (await connection.execute(RetentionPreviewDocument, { ...filter, ...page }, options)).retentionPreview);
    },
    get,
    verify: async (backup, options) => {
      const input: VerifyBackupInput = typeof backup === 'object' && 'backupId' in backup ? backup : { backupId: backupId(backup) };
      return fulfilled('verifyBackup', (await connection.execute(VerifyBackupDocument, { input }, keyed(options, input))).verifyBackup);
    },
    inspect: async (backup, options) => {
      const input: InspectBackupInput = typeof backup === 'object' && 'backupId' in backup ? backup : { backupId: backupId(backup) };
      return fulfilled('inspectBackup', (await connection.execute(InspectBackupDocument, { input }, keyed(options, input))).inspectBackup);
    },
    inspection: async (backup, options) => (await connection.execute(GetInspectionDocument, { id: backupId(backup) }, options)).backup?.inspection ?? null,
    keys: (backup, list = {}, options) =>
      createList('ListInspectedKeys', list, async ({ first, after }) =>
        (await connection.execute(ListInspectedKeysDocument, { id: backupId(backup), first, after }, options)).backup?.inspection?.keys ?? NO_KEYS),
    delete: async (backup, options) => {
      const input: DeleteBackupInput = typeof backup === 'object' && 'backupId' in backup ? backup : { backupId: backupId(backup) };
      return fulfilled('deleteBackup', (await connection.execute(DeleteBackupDocument, { input }, keyed(options, input))).deleteBackup);
    },
    watch: (backup, options = {}) =>
      follow(connection.following, `Watching ${backupId(backup)}`, options, async function* (signal) {
        const jobId = found(await jobOf(backup, { ...options, signal, timeoutMs: undefined }), `job of backup ${backupId(backup)}`);
        yield* jobs.watch(jobId, { ...options, signal });
      }),
    wait: (backup, options = {}) => {
      const id = backupId(backup);
      const { retry, headers } = options;
      return within(`Waiting for ${id}`, options, async (signal) => {
        const jobId = await jobOf(backup, { signal, retry, headers });
        if (jobId !== null) await jobs.wait(jobId, { ...options, signal, timeoutMs: undefined });
        return found(await get(id, { signal, retry, headers }), `backup ${id}`);
      });
    },
    link,
    revokeLinks: async (backup, { linkId, ...options } = {}) => {
      const input = { backupId: backupId(backup), linkId };
      return fulfilled('revokeDownloadLinks', (await connection.execute(RevokeDownloadLinksDocument, { input }, keyed(options))).revokeDownloadLinks).revokedCount;
    },
    download: download as Backups['download'],
  };
};
