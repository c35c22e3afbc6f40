import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openArchive, type Manifest } from '../../../server/engine/archive/archive.js';
import { canonicalJson, type Json } from '../../../server/engine/archive/canonical-json.js';
import { loadBackupKey, manifestKeyFrom } from '../../../server/engine/archive/keys.js';
import { manifestDigest, manifestHmac } from '../../../server/engine/archive/manifest.js';
import { DomainError } from '../../../server/domain/errors.js';
import { MASTER, RING, BACKUP_ID, KIB, OTHER_ID, randomBytesOf, scratchStore, seeded, textOf, writeArchive, type Scratch } from './archive-kit.js';

const B = 256 * KIB;
const RDB = `backups/${BACKUP_ID}/rdb`;
const MANIFEST = `backups/${BACKUP_ID}/manifest`;
const KEY = `backups/${BACKUP_ID}/key.${MASTER.id}`;
const HEADER = 64;

interface Frame { start: number; end: number }

/** Where the frames of an object are, by its own block headers; the index is the last. */
const framesOf = (object: Buffer): Frame[] => {
  const frames: Frame[] = [];
  for (let start = HEADER; start < object.length - 24; ) {
    const end = start + 16 + object.readUInt32LE(start) + 16;
    frames.push({ start, end });
    start = end;
  }
  return frames;
};

const join = (object: Buffer, frames: Frame[], order: number[]): Buffer => {
  const trailer = object.subarray(frames.at(-1)!.start);
  return Buffer.concat([object.subarray(0, HEADER), ...order.map((i) => object.subarray(frames[i]!.start, frames[i]!.end)), trailer]);
};

describe('damaged archives', () => {
  let at: Scratch;
  let plain: Buffer;
  let rdb: Buffer;
  let manifest: Buffer;
  let otherRdb: Buffer;
  let otherManifest: Buffer;
  let key: Buffer;
  let otherKey: Buffer;
  let backupKey: Buffer;
  let frames: Frame[];
  beforeAll(async () => {
    at = await scratchStore();
    plain = Buffer.concat([textOf(3 * B, 1), randomBytesOf(20_000, 2)]);
    await writeArchive(at.store, plain, { blockSize: B });
    // The same content under another id and salt: its blocks are the best forgeries there are.
    await writeArchive(at.store, plain, { blockSize: B, backupId: OTHER_ID });
    [rdb, manifest] = [await at.get(RDB), await at.get(MANIFEST)];
    [otherRdb, otherManifest] = [await at.get(`backups/${OTHER_ID}/rdb`), await at.get(`backups/${OTHER_ID}/manifest`)];
    backupKey = await loadBackupKey(at.store, RING, { backupId: BACKUP_ID, artifact: 'rdb' });
    [key, otherKey] = [await at.get(KEY), await at.get(`backups/${OTHER_ID}/key.${MASTER.id}`)];
    frames = framesOf(rdb);
    expect(frames).toHaveLength(5);
  });
  afterAll(() => at.dispose());

  /** Verifies and reads the damaged archive; fails unless the damage was found and every byte released is right. */
  const mustDetect = async (what: string, damage: { rdb?: Buffer; manifest?: Buffer; key?: Buffer }, { readFinds = true } = {}): Promise<string> => {
    await at.tamper(RDB, damage.rdb ?? rdb);
    await at.tamper(MANIFEST, damage.manifest ?? manifest);
    await at.tamper(KEY, damage.key ?? key);
    let released = 0;
    const errors: unknown[] = [];
    const onPlain = (piece: Uint8Array): void => {
      expect(plain.subarray(released, released + piece.length).equals(piece), `${what}: wrong byte released behind ${String(released)}`).toBe(true);
      released += piece.length;
    };
    for (const run of ['verify', 'read'] as const) {
      released = 0;
      try {
        const reader = await openArchive(at.store, BACKUP_ID, { keys: RING });
        if (run === 'verify') await reader.verify({ onPlain });
        else for await (const piece of reader.read()) onPlain(piece);
        errors.push(undefined);
      } catch (error) {
        errors.push(error);
      }
    }
    const codes = errors.map((error) => (error instanceof DomainError ? error.code : error));
    expect(['CORRUPT', 'UNSUPPORTED_FORMAT'], `${what}: verify gave ${String(codes[0])}`).toContain(codes[0]);
    if (readFinds) expect(['CORRUPT', 'UNSUPPORTED_FORMAT'], `${what}: read gave ${String(codes[1])}`).toContain(codes[1]);
    return String(codes[0]);
  };

  it('is whole before anything is done to it', async () => {
    await at.tamper(RDB, rdb);
    await at.tamper(MANIFEST, manifest);
    await (await openArchive(at.store, BACKUP_ID, { keys: RING })).verify();
  });

  it('finds 600 random mutations of the data and releases no wrong byte', async () => {
    const next = seeded(20_260_102);
    const edges = [0, ...frames.flatMap(({ start, end }) => [start, end - 16]), rdb.length - 24];
    const kinds: [string, () => Buffer][] = [
      ['bit flip', () => flip(rdb, next(rdb.length), next(8))],
      ['bit flip near a border', () => flip(rdb, Math.min(rdb.length - 1, edges[next(edges.length)]! + next(16)), next(8))],
      ['several bytes', () => {
        const out = Buffer.from(rdb);
        for (let i = 0; i <= next(20); i += 1) out[next(out.length)]! ^= 1 + next(255);
        return out;
      }],
      ['cut', () => rdb.subarray(0, next(rdb.length))],
      ['cut at a border', () => rdb.subarray(0, edges[next(edges.length)])],
      ['appended', () => Buffer.concat([rdb, randomBytesOf(1 + next(500), next(1000))])],
      ['zeroes', () => {
        const out = Buffer.from(rdb);
        const from = next(out.length - 600);
        out.fill(0, from, from + 512);
        return out;
      }],
      ['bytes left out, as many appended', () => {
        const from = next(rdb.length - 200);
        const size = 1 + next(100);
        return Buffer.concat([rdb.subarray(0, from), rdb.subarray(from + size), Buffer.alloc(size)]);
      }],
    ];
    for (let i = 0; i < 600; i += 1) {
      const [name, make] = kinds[i % kinds.length]!;
      const damaged = make();
      if (damaged.equals(rdb)) continue;
      await mustDetect(`${String(i)} ${name}`, { rdb: damaged });
    }
  });

  it('finds blocks swapped, doubled, dropped and borrowed', async () => {
    const orders: number[][] = [[1, 0, 2, 3], [0, 2, 1, 3], [0, 0, 2, 3], [0, 1, 1, 3], [0, 1, 2], [1, 2, 3], [0, 1, 2, 3, 3], [3, 2, 1, 0], []];
    for (const order of orders) await mustDetect(`order ${order.join()}`, { rdb: join(rdb, frames, order) });
    const others = framesOf(otherRdb);
    for (const [i, { start, end }] of frames.entries()) {
      const theirs = others[i]!;
      const borrowed = Buffer.concat([rdb.subarray(0, start), otherRdb.subarray(theirs.start, theirs.end), rdb.subarray(end)]);
      await mustDetect(`frame ${String(i)} of another archive`, { rdb: borrowed });
    }
    await mustDetect('header of another archive', { rdb: Buffer.concat([otherRdb.subarray(0, HEADER), rdb.subarray(HEADER)]) });
    await mustDetect('data of another archive', { rdb: otherRdb });
    await mustDetect('manifest of another archive', { manifest: otherManifest });
    await mustDetect('all of another archive', { rdb: otherRdb, manifest: otherManifest, key: otherKey });
    await mustDetect('key of another archive', { key: otherKey });
    await mustDetect('key and data of another archive', { rdb: otherRdb, key: otherKey });
    await mustDetect('empty data', { rdb: Buffer.alloc(0) });
  });

  it('finds 200 mutations of the manifest', async () => {
    const next = seeded(7);
    for (let i = 0; i < 200; i += 1) {
      const kind = i % 4;
      const damaged =
        kind === 0 ? flip(manifest, next(manifest.length), next(8))
          : kind === 1 ? manifest.subarray(0, next(manifest.length))
            : kind === 2 ? Buffer.concat([manifest, [Buffer.from(' '), Buffer.from('\n'), Buffer.from('{}'), Buffer.alloc(3)][next(4)]!])
              : Buffer.concat([manifest.subarray(0, next(manifest.length)), Buffer.from('0'), manifest.subarray(next(manifest.length))]);
      await mustDetect(`manifest ${String(i)}`, { manifest: damaged });
    }
  });

  /** A manifest changed by somebody who knows how to make the digest right. */
  const forged = (change: (body: Record<string, unknown>, artifact: Record<string, unknown>) => void): Buffer => {
    const body = JSON.parse(manifest.toString('utf8')) as Record<string, unknown>;
    change(body, (body['artifacts'] as Record<string, unknown>[])[0]!);
    const json = body as { [name: string]: Json };
    const authentication = { digest: manifestDigest(json), hmac: manifestHmac(json, manifestKeyFrom(backupKey)) };
    return Buffer.from(canonicalJson({ ...json, authentication }), 'utf8');
  };

  it('finds a manifest with a right digest that does not fit its data', async () => {
    const cases: [string, string, Parameters<typeof forged>[0]][] = [
      ['another id', 'CORRUPT', (body) => { (body['backup'] as Record<string, unknown>)['id'] = OTHER_ID; }],
      ['plain size', 'CORRUPT', (_, artifact) => { artifact['plainSize'] = String(plain.length - 1); }],
      ['blocks', 'CORRUPT', (_, artifact) => { artifact['blockCount'] = 3; artifact['plainSize'] = String(3 * B); }],
      ['many blocks', 'CORRUPT', (_, artifact) => { artifact['blockCount'] = 2 ** 32 - 1; artifact['plainSize'] = String((2 ** 32 - 1) * B); }],
      ['stored size', 'CORRUPT', (_, artifact) => { artifact['storedSize'] = '10'; }],
      ['salt', 'CORRUPT', (_, artifact) => { artifact['salt'] = '00'.repeat(16); }],
      ['codec', 'CORRUPT', (_, artifact) => { artifact['codec'] = 'none'; }],
      ['block size', 'CORRUPT', (_, artifact) => { artifact['blockSize'] = 2 * B; }],
      ['object', 'CORRUPT', (_, artifact) => { artifact['object'] = 'rdb2'; }],
      ['object outside', 'CORRUPT', (_, artifact) => { artifact['object'] = '../x'; }],
      ['no artifact', 'CORRUPT', (body) => { body['artifacts'] = []; }],
      ['a count as number', 'CORRUPT', (_, artifact) => { (artifact['rdb'] as Record<string, unknown>)['keys'] = 6; }],
      ['a missing member', 'CORRUPT', (body) => { delete body['source']; }],
      ['a wrong time', 'CORRUPT', (body) => { body['startedAt'] = 'yesterday'; }],
      ['format version 2', 'UNSUPPORTED_FORMAT', (body) => { body['formatVersion'] = 2; }],
      ['a codec of later', 'UNSUPPORTED_FORMAT', (_, artifact) => { artifact['codec'] = 'snappy'; }],
      ['an artifact of later', 'UNSUPPORTED_FORMAT', (_, artifact) => { artifact['kind'] = 'STREAM'; }],
    ];
    for (const [what, code, change] of cases) expect(await mustDetect(what, { manifest: forged(change) }), what).toBe(code);
    for (const digest of ['plainSha256', 'storedSha256']) {
      const damaged = forged((_, artifact) => { artifact[digest] = 'ab'.repeat(32); });
      expect(await mustDetect(digest, { manifest: damaged }, { readFinds: false })).toBe('CORRUPT');
    }
  });

  it('finds every changed bit of the wrapped key, and any other length', async () => {
    for (let bit = 0; bit < key.length * 8; bit += 1) expect(await mustDetect(`bit ${String(bit)} of the key`, { key: flip(key, bit >> 3, bit & 7) })).toBe('CORRUPT');
    for (const length of [0, 1, 75]) await mustDetect(`key of ${String(length)} bytes`, { key: key.subarray(0, length) });
    await mustDetect('key with a byte more', { key: Buffer.concat([key, Buffer.alloc(1)]) });
  });

  it('finds a manifest whose HMAC is missing, wrong, or of one who has no key', async () => {
    const withHmac = (hmac: string | null): Buffer => {
      const body = JSON.parse(manifest.toString('utf8')) as { [name: string]: Json };
      return Buffer.from(canonicalJson({ ...body, authentication: { digest: manifestDigest(body), hmac } }), 'utf8');
    };
    for (const hmac of [null, '0'.repeat(64), manifestHmac(JSON.parse(manifest.toString('utf8')) as { [name: string]: Json }, Buffer.alloc(32))]) {
      expect(await mustDetect(`HMAC ${String(hmac)}`, { manifest: withHmac(hmac) })).toBe('CORRUPT');
    }
    expect(await mustDetect('cipher none', { manifest: forged((_, artifact) => { artifact['cipher'] = 'none'; }) })).toBe('CORRUPT');
  });

  it('ignores members it does not know, once the digest covers them', async () => {
    await at.tamper(RDB, rdb);
    await at.tamper(MANIFEST, forged((body) => { body['later'] = { any: ['thing', 1, null] }; }));
    const reader = await openArchive(at.store, BACKUP_ID, { keys: RING });
    await reader.verify();
    expect((reader.manifest as Manifest & { later?: unknown }).later).toBeUndefined();
  });

  it('finds bytes that change or are appended after it was opened', async () => {
    for (const changed of [Buffer.concat([rdb, Buffer.from('x')]), flip(rdb, 60, 1), flip(rdb, rdb.length - 30, 1)]) {
      await at.tamper(RDB, rdb);
      await at.tamper(MANIFEST, manifest);
      const reader = await openArchive(at.store, BACKUP_ID, { keys: RING });
      await at.tamper(RDB, changed);
      await expect(reader.verify()).rejects.toMatchObject({ code: 'CORRUPT' });
    }
  });

  it('says what is damaged and where', async () => {
    await at.tamper(MANIFEST, manifest);
    await at.tamper(RDB, flip(rdb, frames[2]!.start + 100, 0));
    const reader = await openArchive(at.store, BACKUP_ID, { keys: RING });
    await expect(reader.verify()).rejects.toMatchObject({
      code: 'CORRUPT', details: { key: RDB, part: 'block 2', offset: frames[2]!.start }, message: expect.stringContaining(RDB) as string,
    });
    // A range that does not touch the damaged block is still good.
    const parts: Uint8Array[] = [];
    for await (const part of reader.read({ start: 0n, end: BigInt(2 * B) })) parts.push(part);
    expect(Buffer.concat(parts).equals(plain.subarray(0, 2 * B))).toBe(true);
    await at.store.remove(RDB);
    await expect(openArchive(at.store, BACKUP_ID, { keys: RING })).rejects.toMatchObject({ code: 'CORRUPT', details: { key: RDB } });
  });
});

const flip = (bytes: Buffer, at: number, bit: number): Buffer => {
  const out = Buffer.from(bytes);
  out[at]! ^= 1 << bit;
  return out;
};
