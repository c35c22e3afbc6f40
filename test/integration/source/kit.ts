import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { type Dial, type EngineProgress, type Log, type SyncGate } from '../../../server/engine/ports.js';
import { type BackupDeps, type BackupPlan, type BackupResult, runBackup } from '../../../server/engine/backup.js';
import { openFilesystemStore } from '../../../server/engine/store/filesystem.js';
import { type Store } from '../../../server/engine/store/store.js';
import { ALLOW_EVERYTHING, createDial } from '../../../server/security/dial.js';
import { makeTempDir, removeTempDir } from '../../kit/processes.js';
import { RING } from '../../unit/archive/archive-kit.js';

export const quiet: Log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
export const dial = createDial(ALLOW_EVERYTHING);

export const BACKUP_ID = 'bak_0123456789abcdefghjkmnpqrs';

/** A store in a folder of its own. */
export interface Shelf {
  store: Store;
  root: string;
  /** Files below the store apart from its marker: objects and temporaries. */
  files(): string[];
  remove(): Promise<void>;
}

export const makeShelf = async (): Promise<Shelf> => {
  const root = makeTempDir('store');
  const store = await openFilesystemStore({ root, create: true });
  return {
    store, root,
    files: () => readdirSync(root, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && !entry.name.startsWith('.snapback')).map((entry) => join(entry.parentPath, entry.name)),
    remove: () => removeTempDir(root),
  };
};

export interface Source {
  host: string;
  port: number;
  runId: string;
  username?: string | undefined;
  password?: string | undefined;
}

export interface Attempt {
  /** Over those that every backup has. */
  deps?: Partial<BackupDeps>;
  plan?: Partial<BackupPlan>;
  signal?: AbortSignal;
  onProgress?: (progress: EngineProgress) => void;
  /** Default: one that allows everything. */
  dial?: Dial;
  syncs?: SyncGate;
}

/** One backup of a source into a shelf, with what it reported. */
export const backUp = async (source: Source, shelf: Shelf, { plan = {}, deps = {}, signal, onProgress, dial: dialled = dial, syncs }: Attempt = {}): Promise<BackupResult & { phases: string[] }> => {
  const phases: string[] = [];
  const { host, port, username, password } = source;
  const result = await runBackup(
    {
      backupId: BACKUP_ID, projectId: 'prj_0123456789abcdefghjkmnpqrs', name: 'a test', trigger: 'MANUAL', endpoint: { host, port, username, password },
      source: { instanceId: 'ins_0123456789abcdefghjkmnpqrs', instanceName: 'source', engine: 'REDIS', version: '7.0.15', runId: source.runId, coverage: { kind: 'INSTANCE' } },
      softwareVersion: '0.0.0', spillDirectory: shelf.root, ...plan,
    },
    { dial: dialled, syncs, store: shelf.store, keys: RING, clock: { now: () => new Date() }, log: quiet, ...deps },
    signal ?? new AbortController().signal,
    (progress) => {
      if (progress.kind === 'phase') phases.push(progress.phase);
      onProgress?.(progress);
    },
  );
  return { ...result, phases };
};
