import { DomainError } from '../domain/errors.js';
import { listArchives, masterKeysAmong, readManifest, readManifestUnproven, type ArchiveEntry, type KeyRing, type Manifest } from '../engine/archive/archive.js';
import { type Store } from '../engine/store/store.js';
import { type Console, EXIT, type ExitCode } from './console.js';
import { printable, size, table } from './text.js';

export interface ListOptions {
  /** One JSON object a line. */
  json: boolean;
}

interface Listed {
  entry: ArchiveEntry;
  manifest: Manifest | null;
  /** Why there is no manifest, or why it proves nothing. */
  problem: DomainError | null;
  /** Master keys that its key is wrapped by; empty when it is not encrypted. */
  keyIds: string[];
}

const look = async (store: Store, keys: KeyRing | undefined, entry: ArchiveEntry, signal: AbortSignal): Promise<Listed> => {
  const { backupId } = entry;
  let manifest: Manifest | null = null;
  let problem: DomainError | null = null;
  try {
    manifest = await readManifestUnproven(store, backupId, { signal });
    await readManifest(store, backupId, { keys, signal });
  } catch (error) {
    if (!(error instanceof DomainError) || signal.aborted) throw error;
    problem = error;
    // Without its key it is shown as what it claims to be; damaged, it claims nothing.
    if (error.code !== 'KEY_UNAVAILABLE') manifest = null;
  }
  return { entry, manifest, problem, keyIds: manifest ? masterKeysAmong(entry.keys, manifest.artifacts[0].object) : [] };
};

const keyColumn = ({ manifest, keyIds }: Listed, keys: KeyRing | undefined): string => {
  if (!manifest) return '?';
  if (manifest.artifacts[0].cipher === 'none') return 'none';
  const missing = !keyIds.some((id) => keys?.all.some((key) => key.id === id));
  return `${keyIds.join('+')}${missing ? ' (not given)' : ''}`;
};

/** What was checked when it was taken; and that it is of no one moment, where it is not. */
export const checksOf = ({ capture, artifacts: [{ rdb }] }: Manifest): string => (capture.consistency === 'FUZZY' ? `${rdb.integrity} (FUZZY)` : rdb.integrity);

const row = (listed: Listed, keys: KeyRing | undefined): string[] => {
  const { entry, manifest, problem } = listed;
  if (!manifest) return [entry.backupId, entry.modifiedAt.toISOString(), '?', size(entry.size), problem?.code ?? '?', '?', '?', printable(problem?.message ?? '')];
  const [artifact] = manifest.artifacts;
  return [
    entry.backupId, manifest.completedAt.toISOString(), size(artifact.plainSize), size(artifact.storedSize), checksOf(manifest), keyColumn(listed, keys),
    printable(manifest.source.instanceName), printable(manifest.backup.name),
  ];
};

const HEAD = ['ID', 'TAKEN', 'SIZE', 'STORED', 'INTEGRITY', 'KEY', 'INSTANCE', 'NAME'];

const asJson = ({ entry, manifest, problem, keyIds }: Listed): string => {
  const fault = problem && { code: problem.code, message: problem.message };
  if (!manifest) return JSON.stringify({ id: entry.backupId, storedBytes: String(entry.size), problem: fault });
  const { backup, source, artifacts: [{ rdb, plainSize, storedSize, plainSha256, cipher }] } = manifest;
  return JSON.stringify({
    id: backup.id, projectId: backup.projectId, name: backup.name, trigger: backup.trigger,
    instance: { id: source.instanceId, name: source.instanceName, address: source.address }, engine: source.engine, engineVersion: source.version,
    startedAt: manifest.startedAt, completedAt: manifest.completedAt, consistency: manifest.capture.consistency,
    sizeBytes: String(plainSize), storedBytes: String(storedSize), sha256: plainSha256, keys: String(rdb.keys), integrity: rdb.integrity, rdbVersion: rdb.version,
    encryptedBy: cipher === 'none' ? null : keyIds, problem: fault,
  });
};

/** Every sealed archive, as its manifest describes it. What a manifest says is proven where its key is given, or where it says KEY (not given) only claimed. */
export const list = async ({ store, keys }: { store: Store; keys: KeyRing | undefined }, { json }: ListOptions, console: Console, signal: AbortSignal): Promise<ExitCode> => {
  const rows: string[][] = [];
  let [sealed, unsealed, damaged] = [0, 0, 0];
  for await (const entry of listArchives(store, { signal })) {
    if (!entry.sealed) {
      unsealed += 1;
      continue;
    }
    sealed += 1;
    console.progress(`${sealed} archives`);
    const listed = await look(store, keys, entry, signal);
    if (!listed.manifest) damaged += 1;
    if (json) await console.out(`${asJson(listed)}\n`);
    else rows.push(row(listed, keys));
  }
  if (rows.length > 0) await console.out(table([HEAD, ...rows]));
  if (sealed === 0) console.err(`There are no archives in ${store.location}.`);
  if (unsealed > 0) console.err(`${unsealed} more ${unsealed === 1 ? 'folder holds' : 'folders hold'} what a backup left that was not completed, and no archive.`);
  if (damaged > 0) console.err(`${damaged} of ${sealed} archives cannot be read.`);
  return damaged > 0 ? EXIT.DAMAGED : EXIT.DONE;
};
