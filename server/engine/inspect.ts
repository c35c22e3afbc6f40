import { type InspectionRequest, type InspectionResult } from '../domain/inspection.js';
import { openArchive, type ArchiveReader, type KeyRing, type KnownArchive } from './archive/archive.js';
import { ContentWalk } from './content-walk.js';
import { InspectionCollector } from './inspection/collector.js';
import { type OnProgress } from './ports.js';
import { type Store } from './store/store.js';

export interface InspectionPlan {
  backupId: string;
  known?: KnownArchive | undefined;
  /** Checked. */
  request: InspectionRequest;
}

export interface InspectionDeps {
  /** Only read. */
  store: Store;
  keys: KeyRing | undefined;
}

/**
 * Looks into a backup: reads its RDB once, a few blocks at a time, each authenticated, and gathers a bounded account of its keys. What was
 * walked has to be what the manifest says.
 *
 * Fails as `verifyArchive` does. No error holds anything of a key.
 */
export const inspectArchive = async ({ backupId, known, request }: InspectionPlan, { store, keys }: InspectionDeps, signal: AbortSignal, onProgress: OnProgress): Promise<InspectionResult> => {
  onProgress({ kind: 'phase', phase: 'TRANSFERRING' });
  const archive = await openArchive(store, backupId, { keys, known, signal });
  try {
    return await collect(archive, request, signal, onProgress);
  } finally {
    await archive.close();
  }
};

const collect = async (archive: ArchiveReader, request: InspectionRequest, signal: AbortSignal, onProgress: OnProgress): Promise<InspectionResult> => {
  const { startedAt, artifacts: [{ rdb, plainSize: bytesTotal }] } = archive.manifest;
  const collector = new InspectionCollector(request);
  const walk = new ContentWalk(archive.manifest, { onKey: (key) => collector.add(key), maxNameBytes: collector.maxNameBytes });
  let bytesDone = 0n;
  for await (const plain of archive.read({ signal })) {
    walk.push(plain);
    bytesDone += BigInt(plain.length);
    onProgress({ kind: 'amount', bytesDone, bytesTotal, keysDone: walk.keys, keysTotal: rdb.keys });
  }
  const { unknown } = walk.end();
  return collector.result({ takenAt: startedAt, complete: unknown === null });
};
