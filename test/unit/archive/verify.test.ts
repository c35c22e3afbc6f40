import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type VerificationLevel } from '../../../server/domain/backup.js';
import { DomainError } from '../../../server/domain/errors.js';
import { type KnownArchive, type Manifest } from '../../../server/engine/archive/archive.js';
import { type EngineProgress } from '../../../server/engine/ports.js';
import { RdbReader } from '../../../server/engine/rdb/reader.js';
import { type RdbSummary } from '../../../server/engine/rdb/summary.js';
import { type Store } from '../../../server/engine/store/store.js';
import { verifyArchive } from '../../../server/engine/verify.js';
import { isDamage } from '../../../server/services/damage.js';
import { RdbBuilder } from '../../kit/rdb-builder.js';
import { BACKUP_ID, facts, KIB, MASTER, OTHER_ID, OTHER_MASTER, rdbOf, RING, scratchStore, writeArchive, type Scratch } from './archive-kit.js';

const B = 256 * KIB;
const NEVER = new AbortController().signal;
const RDB = `backups/${BACKUP_ID}/rdb`;
const MANIFEST = `backups/${BACKUP_ID}/manifest`;
const KEY = `backups/${BACKUP_ID}/key.${MASTER.id}`;
const LEVELS = ['STRUCTURE', 'CONTENT'] as const;

const walk = (plain: Uint8Array): RdbSummary => {
  const reader = new RdbReader();
  reader.push(plain);
  return reader.finish();
};

describe('a verification', () => {
  let at: Scratch;
  const { plain, rdb } = rdbOf(600_000, 1);
  beforeEach(async () => { at = await scratchStore(); });
  afterEach(() => at.dispose());

  const sealed = (change: Partial<RdbSummary> = {}, bytes: Uint8Array = plain, backupId = BACKUP_ID): Promise<Manifest> =>
    writeArchive(at.store, bytes, { backupId, blockSize: B }, { rdb: { ...rdb, ...change } });
  const knownFrom = ({ sha256: manifestSha256, backup, artifacts: [{ plainSha256: sha256, plainSize: sizeBytes }] }: Manifest): KnownArchive => ({ manifestSha256, projectId: backup.projectId, sha256, sizeBytes });
  const verify = (level: VerificationLevel, options: { known?: KnownArchive; store?: Store; signal?: AbortSignal; onProgress?: (progress: EngineProgress) => void; keys?: typeof RING | undefined } = {}): Promise<Manifest> =>
    verifyArchive({ backupId: BACKUP_ID, level, known: options.known }, { store: options.store ?? at.store, keys: 'keys' in options ? options.keys : RING }, options.signal ?? NEVER, options.onProgress ?? (() => undefined));
  const flip = async (key: string, offset: number): Promise<void> => {
    const bytes = await at.get(key);
    bytes[offset] = (bytes[offset] ?? 0) ^ 16;
    await at.tamper(key, bytes);
  };

  it('passes a whole archive at both levels, and says how far it is', async () => {
    const manifest = await sealed();
    for (const level of LEVELS) {
      const seen: EngineProgress[] = [];
      expect(await verify(level, { known: knownFrom(manifest), onProgress: (progress) => seen.push(progress) })).toEqual(manifest);
      expect(seen[0]).toEqual({ kind: 'phase', phase: 'VERIFYING' });
      const size = BigInt(plain.length);
      if (level === 'CONTENT') expect(seen.at(-1)).toEqual({ kind: 'amount', bytesDone: size, bytesTotal: size, keysDone: rdb.keys, keysTotal: rdb.keys });
      else expect(seen).toHaveLength(1);
    }
  });

  it('of the structure reads a few kilobytes, and finds what is wrong with them', async () => {
    await sealed();
    let read = 0;
    const counting: Store = Object.assign(Object.create(at.store) as Store, {
      async *read(...args: Parameters<Store['read']>): AsyncGenerator<Uint8Array> {
        for await (const chunk of at.store.read(...args)) {
          read += chunk.length;
          yield chunk;
        }
      },
    });
    await verify('STRUCTURE', { store: counting });
    expect(read).toBeLessThan(8 * KIB);
    const size = (await at.get(RDB)).length;
    for (const [key, offset, part] of [[RDB, 20, 'header'], [RDB, 8, 'header'], [RDB, size - 1, 'footer'], [RDB, size - 30, 'index'], [MANIFEST, 40, 'manifest'], [KEY, 50, 'key']] as const) {
      await flip(key, offset);
      for (const level of LEVELS) await expect(verify(level), `${part} ${level}`).rejects.toMatchObject({ code: 'CORRUPT', details: { key, part } });
      await flip(key, offset);
    }
    const whole = await at.get(RDB);
    await at.tamper(RDB, whole.subarray(0, size - 1));
    await expect(verify('STRUCTURE')).rejects.toMatchObject({ code: 'CORRUPT', details: { part: 'object', offset: size - 1 } });
    await at.tamper(RDB, whole);
    await at.store.remove(KEY);
    await expect(verify('STRUCTURE')).rejects.toMatchObject({ code: 'CORRUPT', details: { part: 'key' } });
    await at.store.remove(MANIFEST);
    await expect(verify('STRUCTURE')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('of the content finds one flipped bit in a block that nobody has asked for, and where it is', async () => {
    await sealed();
    await flip(RDB, 64 + 16 + 1000);
    await verify('STRUCTURE');
    await expect(verify('CONTENT')).rejects.toMatchObject({ code: 'CORRUPT', details: { key: RDB, part: 'block 0', offset: 64 } });
  });

  it('of the content walks the RDB again: what it finds must be what the manifest says', async () => {
    const cases: [string, Partial<RdbSummary>][] = [['keys', { keys: rdb.keys + 1n }], ['types', { types: [] }], ['aux', { aux: {} }], ['bytes', { bytes: 1n }], ['version', { version: 11 }], ['functions', { functions: 1 }], ['hasHashFieldTtl', { hasHashFieldTtl: true }]];
    for (const [member, change] of cases) {
      await sealed(change);
      await verify('STRUCTURE');
      await expect(verify('CONTENT'), member).rejects.toMatchObject({ code: 'CORRUPT', details: { key: RDB, part: 'content' }, message: expect.stringContaining(`"${member}"`) as string });
      for (const key of [RDB, MANIFEST, KEY]) await at.store.remove(key);
    }
  });

  it.each<[string, () => Uint8Array, number]>([
    ['has a wrong checksum', () => new RdbBuilder(10).select(0).string('k', 'v').build('WRONG'), 17],
    ['is cut', () => plain.subarray(0, 5_000), 5_000],
    ['has bytes behind its end', () => Buffer.concat([plain, Buffer.from('more')]), plain.length],
    ['is none', () => Buffer.from('something else than an RDB'), 0],
  ])('of the content finds an RDB that %s, though every block of it is as it was sealed', async (_, make, offset) => {
    await sealed({}, make());
    await verify('STRUCTURE');
    await expect(verify('CONTENT')).rejects.toMatchObject({ code: 'CORRUPT', details: { part: 'content', offset } });
  });

  it('compares how far two walks got only when both ended at the same place: a newer reader may know more', async () => {
    const file = new RdbBuilder(14).select(0).string('k', 'v').build();
    const older: RdbSummary = { ...walk(file), keys: 0n, databases: [], types: [], rdbTypes: [], integrity: 'CHECKSUM_ONLY', unknown: { kind: 'TYPE', code: 0, offset: 11n } };
    await sealed(older, file);
    await verify('CONTENT');
    for (const key of [RDB, MANIFEST, KEY]) await at.store.remove(key);
    await sealed({ ...older, bytes: 3n }, file);
    await expect(verify('CONTENT')).rejects.toMatchObject({ code: 'CORRUPT' });
  });

  it('passes content that is unknown at the same place', async () => {
    const file = new RdbBuilder(14).select(0).string('k', 'v').value(27, 'new', 'opaque').build();
    await sealed(walk(file), file);
    expect((await verify('CONTENT')).artifacts[0].rdb).toMatchObject({ integrity: 'CHECKSUM_ONLY', unknown: { kind: 'TYPE', code: 27 } });
  });

  describe('knows the archive from what is written down of it', () => {
    const lay = async (change: Parameters<typeof writeArchive>[3], options: Parameters<typeof writeArchive>[2] = {}): Promise<void> => {
      for (const key of [RDB, MANIFEST, KEY]) await at.store.remove(key);
      await writeArchive(at.store, plain, { blockSize: B, ...options }, { rdb, ...change });
    };
    const forgeries: [string, () => Promise<void>][] = [
      ['the same once more, under another key and salt', () => lay({})],
      ['one that is not encrypted', () => lay({}, { keys: undefined })],
      ['one under a master key that nobody here has', () => lay({}, { keys: { current: OTHER_MASTER, all: [OTHER_MASTER] } })],
      ['one of another name', () => lay({ backup: { ...facts().backup, name: 'forged' } })],
      ['one of a later attempt', () => lay({}, { attempt: 2 })],
      ['a manifest of a version nobody knows', async () => {
        await at.tamper(MANIFEST, Buffer.from((await at.get(MANIFEST)).toString('utf8').replace(/"formatVersion":\d/, '"formatVersion":7')));
      }],
    ];
    it.each(forgeries)('and finds %s', async (_, forge) => {
      const known = knownFrom(await sealed());
      await forge();
      for (const level of LEVELS) await expect(verify(level, { known })).rejects.toMatchObject({ code: 'CORRUPT', details: { key: MANIFEST, part: 'manifest' }, message: expect.stringContaining('not the one that was sealed') as string });
    });

    it('and, of one sealed when its manifest was not yet written down, by project, size and digest', async () => {
      const manifest = await sealed();
      const known = { ...knownFrom(manifest), manifestSha256: null };
      await verify('CONTENT', { known });
      for (const [what, other] of [['project', { projectId: 'prj_01hzy0000000000000000000p2' }], ['plain size', { sizeBytes: 5n }], ['plain SHA-256', { sha256: 'ab'.repeat(32) }]] as const) {
        await expect(verify('STRUCTURE', { known: { ...known, ...other } })).rejects.toMatchObject({ code: 'CORRUPT', message: expect.stringContaining(what) as string });
      }
      await verify('CONTENT', { known: { manifestSha256: null, projectId: null, sha256: null, sizeBytes: null } });
    });

    it('another backup\'s archive is found without it, too', async () => {
      await sealed();
      await sealed({}, plain, OTHER_ID);
      for (const name of ['rdb', 'manifest', `key.${MASTER.id}`]) await at.tamper(`backups/${BACKUP_ID}/${name}`, await at.get(`backups/${OTHER_ID}/${name}`));
      for (const level of LEVELS) await expect(verify(level)).rejects.toMatchObject({ code: 'CORRUPT', message: expect.stringContaining(`it belongs to ${OTHER_ID}`) as string });
    });
  });

  it('holds nothing against the archive that is the fault of others', async () => {
    await sealed();
    const faulty = (error: unknown, on: 'read' | 'stat'): Store => Object.assign(Object.create(at.store) as Store, {
      [on]: on === 'stat' ? () => Promise.reject(error as Error) : async function* read() { yield* []; await Promise.reject(error as Error); },
    });
    const io = new DomainError('STORAGE_IO', 'The disk does not answer.');
    const cancelled = new AbortController();
    cancelled.abort(new DomainError('INTERRUPTED', 'The job was cancelled.'));
    for (const level of LEVELS) {
      for (const [options, code] of [
        [{ store: faulty(io, 'read') }, 'STORAGE_IO'], [{ store: faulty(io, 'stat') }, 'STORAGE_IO'], [{ keys: { current: OTHER_MASTER, all: [OTHER_MASTER] } }, 'KEY_UNAVAILABLE'],
        [{ keys: undefined }, 'KEY_UNAVAILABLE'], [{ signal: cancelled.signal }, 'INTERRUPTED'],
      ] as const) {
        const error: unknown = await verify(level, options).then(() => 'it passed', (cause: unknown) => cause);
        expect(error).toMatchObject({ code });
        expect(isDamage(error)).toBe(false);
      }
    }
  });
});
