import { type KnownArchive, type Manifest } from '../../../server/engine/archive/archive.js';
import { BACKUP_ID, KIB, MASTER, OTHER_ID, rdbOf, RING, randomBytesOf, writeArchive } from '../../unit/archive/archive-kit.js';
import { RdbReader } from '../../../server/engine/rdb/reader.js';
import { type RdbSummary } from '../../../server/engine/rdb/summary.js';
import { memoryStore, type Objects } from '../../kit/memory-store.js';
import { RdbBuilder } from '../../kit/rdb-builder.js';

const BLOCK = 256 * KIB;

/** The three objects of an archive. */
export interface Parts {
  rdb: Buffer;
  manifest: Buffer;
  key: Buffer;
}

export interface Scene {
  /** What the archive under attack holds. */
  plain: Buffer;
  whole: Parts;
  known: KnownArchive;
  /** Sound archives to borrow from: another backup of the same content; the same backup once more, as an earlier attempt would have sealed it; the same without encryption. */
  others: Readonly<Record<'another backup' | 'another attempt' | 'unencrypted', Parts>>;
}

export const keysOf = (backupId = BACKUP_ID): Readonly<Record<keyof Parts, string>> => ({
  rdb: `backups/${backupId}/rdb`, manifest: `backups/${backupId}/manifest`, key: `backups/${backupId}/key.${MASTER.id}`,
});

/** Some blocks that compress and a last one that does not. */
const content = (seed: number): { plain: Buffer; rdb: RdbSummary } => {
  const { plain: text } = rdbOf(3 * BLOCK, seed);
  const body = text.subarray(0, text.length - 9);
  const tail = new RdbBuilder(10).string('random', randomBytesOf(30_000, seed)).build('NONE');
  const plain = new RdbBuilder(10).raw(body.subarray(9), tail.subarray(9, -1)).build();
  const reader = new RdbReader();
  reader.push(plain);
  return { plain, rdb: reader.finish() };
};

export const makeScene = async (): Promise<Scene> => {
  const seal = async ({ plain, rdb }: ReturnType<typeof content>, backupId: string, encrypted = true): Promise<{ parts: Parts; manifest: Manifest }> => {
    const objects: Objects = new Map();
    const manifest = await writeArchive(memoryStore(objects), plain, { backupId, blockSize: BLOCK, ...(encrypted ? {} : { keys: undefined }) }, { rdb });
    const keys = keysOf(backupId);
    const get = (part: keyof Parts): Buffer => objects.get(keys[part]) ?? Buffer.alloc(0);
    return { manifest, parts: { rdb: get('rdb'), manifest: get('manifest'), key: get('key') } };
  };
  const own = content(1);
  const { parts: whole, manifest } = await seal(own, BACKUP_ID);
  const [artifact] = manifest.artifacts;
  return {
    plain: own.plain, whole,
    known: { manifestSha256: manifest.sha256, projectId: manifest.backup.projectId, sha256: artifact.plainSha256, sizeBytes: artifact.plainSize },
    others: {
      // The same content under another id, key and salt: its blocks are the best forgeries there are.
      'another backup': (await seal(own, OTHER_ID)).parts,
      'another attempt': (await seal(content(2), BACKUP_ID)).parts,
      unencrypted: (await seal(own, BACKUP_ID, false)).parts,
    },
  };
};

export { RING };
