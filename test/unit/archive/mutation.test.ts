import { beforeAll, describe, expect, it } from 'vitest';
import { openArchive, type Manifest } from '../../../server/engine/archive/archive.js';
import { canonicalJson, type Json } from '../../../server/engine/archive/canonical-json.js';
import { loadBackupKey, manifestKeyFrom } from '../../../server/engine/archive/keys.js';
import { manifestDigest, manifestHmac } from '../../../server/engine/archive/manifest.js';
import { DomainError } from '../../../server/domain/errors.js';
import { problemWith, runMutations } from '../../fuzz/archive/detect.js';
import { flip, framesOf, inOrder } from '../../fuzz/archive/mutations.js';
import { keysOf, makeScene, type Parts, type Scene } from '../../fuzz/archive/scene.js';
import { memoryStore, type Objects } from '../../kit/memory-store.js';
import { BACKUP_ID, KIB, OTHER_ID, RING, seeded } from './archive-kit.js';

const B = 256 * KIB;
const { rdb: RDB, manifest: MANIFEST, key: KEY } = keysOf();

describe('damaged archives', () => {
  let scene: Scene;
  let backupKey: Buffer;
  const random = seeded(1);
  beforeAll(async () => {
    scene = await makeScene();
    backupKey = await loadBackupKey(memoryStore(objectsOf({})), RING, { backupId: BACKUP_ID, artifact: 'rdb' });
    expect(framesOf(scene.whole.rdb)).toHaveLength(5);
  });

  const objectsOf = (change: Partial<Parts>): Objects => {
    const { rdb, manifest, key } = { ...scene.whole, ...change };
    return new Map([[RDB, rdb], [MANIFEST, manifest], [KEY, key]]);
  };
  const expectFound = async (what: string, change: Partial<Parts>, options: { needsKnown?: true } = {}): Promise<void> => {
    expect(await problemWith({ parts: { ...scene.whole, ...change }, ...options }, scene, random), what).toBeUndefined();
  };

  it('are those that were changed: this one is whole before', async () => {
    expect(await problemWith({ parts: scene.whole }, scene, random)).toBe('a verification found nothing');
    await (await openArchive(memoryStore(objectsOf({})), BACKUP_ID, { keys: RING, known: scene.known })).verify();
  });

  it('are found in all of 500 random mutations, and no wrong byte is released', async () => {
    const { mutations, detected, missed, kinds } = await runMutations(scene, 500, seeded(20_260_102));
    expect(missed).toEqual([]);
    expect([mutations, detected]).toEqual([500, 500]);
    expect(Object.keys(kinds).length).toBeGreaterThan(30);
  });

  it('are found with blocks swapped, doubled, dropped and borrowed', async () => {
    const { whole: { rdb }, others } = scene;
    const orders: number[][] = [[1, 0, 2, 3], [0, 2, 1, 3], [0, 0, 2, 3], [0, 1, 1, 3], [0, 1, 2], [1, 2, 3], [0, 1, 2, 3, 3], [3, 2, 1, 0], []];
    for (const order of orders) await expectFound(`order ${order.join()}`, { rdb: inOrder(rdb, order) });
    for (const [from, { rdb: theirs }] of Object.entries(others)) {
      const foreign = framesOf(theirs);
      for (const [i, { start, end }] of framesOf(rdb).entries()) {
        await expectFound(`frame ${String(i)} of ${from}`, { rdb: Buffer.concat([rdb.subarray(0, start), theirs.subarray(foreign[i]!.start, foreign[i]!.end), rdb.subarray(end)]) });
      }
      await expectFound(`header of ${from}`, { rdb: Buffer.concat([theirs.subarray(0, 64), rdb.subarray(64)]) });
    }
  });

  it('are found with objects of another archive in the place of one, two, or all of them', async () => {
    for (const [from, theirs] of Object.entries(scene.others)) {
      for (const parts of [['rdb'], ['manifest'], ['key'], ['rdb', 'manifest'], ['rdb', 'key'], ['manifest', 'key'], ['rdb', 'manifest', 'key']] as const) {
        const sound = (from === 'unencrypted' && parts.some((part) => part === 'rdb') && parts.some((part) => part === 'manifest')) || (from === 'another attempt' && parts.length === 3);
        await expectFound(`${parts.join()} of ${from}`, Object.fromEntries(parts.map((part) => [part, theirs[part]])), sound ? { needsKnown: true } : {});
      }
    }
    await expectFound('empty data', { rdb: Buffer.alloc(0) });
  });

  /** A manifest changed by somebody who has the key. */
  const forged = (change: (body: Record<string, unknown>, artifact: Record<string, unknown>) => void): Buffer => {
    const body = JSON.parse(scene.whole.manifest.toString('utf8')) as Record<string, unknown>;
    change(body, (body['artifacts'] as Record<string, unknown>[])[0]!);
    const json = body as { [name: string]: Json };
    return Buffer.from(canonicalJson({ ...json, authentication: { digest: manifestDigest(json), hmac: manifestHmac(json, manifestKeyFrom(backupKey)) } }), 'utf8');
  };
  /** How a reader that knows nothing else of the archive refuses it. */
  const refusal = async (change: Partial<Parts>): Promise<string> => {
    try {
      await (await openArchive(memoryStore(objectsOf(change)), BACKUP_ID, { keys: RING })).verify();
    } catch (error) {
      return error instanceof DomainError ? error.code : String(error);
    }
    return 'ACCEPTED';
  };

  it('are found by a manifest that is authentic and does not fit its data', async () => {
    const { plain } = scene;
    const cases: [string, string, Parameters<typeof forged>[0]][] = [
      ['another id', 'CORRUPT', (body) => { (body['backup'] as Record<string, unknown>)['id'] = OTHER_ID; }],
      ['plain size', 'CORRUPT', (_, artifact) => { artifact['plainSize'] = String(plain.length - 1); }],
      ['blocks', 'CORRUPT', (_, artifact) => { artifact['blockCount'] = 3; artifact['plainSize'] = String(3 * B); }],
      ['many blocks', 'CORRUPT', (_, artifact) => { artifact['blockCount'] = 2 ** 32 - 1; artifact['plainSize'] = String((2 ** 32 - 1) * B); }],
      ['stored size', 'CORRUPT', (_, artifact) => { artifact['storedSize'] = '10'; }],
      ['salt', 'CORRUPT', (_, artifact) => { artifact['salt'] = '00'.repeat(16); }],
      ['codec', 'CORRUPT', (_, artifact) => { artifact['codec'] = 'none'; }],
      ['cipher', 'CORRUPT', (_, artifact) => { artifact['cipher'] = 'none'; }],
      ['block size', 'CORRUPT', (_, artifact) => { artifact['blockSize'] = 2 * B; }],
      ['object', 'CORRUPT', (_, artifact) => { artifact['object'] = 'rdb2'; }],
      ['object outside', 'CORRUPT', (_, artifact) => { artifact['object'] = '../x'; }],
      ['no artifact', 'CORRUPT', (body) => { body['artifacts'] = []; }],
      ['a count as number', 'CORRUPT', (_, artifact) => { (artifact['rdb'] as Record<string, unknown>)['keys'] = 6; }],
      ['a missing member', 'CORRUPT', (body) => { delete body['source']; }],
      ['a wrong time', 'CORRUPT', (body) => { body['startedAt'] = 'yesterday'; }],
      ['plain digest', 'CORRUPT', (_, artifact) => { artifact['plainSha256'] = 'ab'.repeat(32); }],
      ['stored digest', 'CORRUPT', (_, artifact) => { artifact['storedSha256'] = 'ab'.repeat(32); }],
      ['no stored digest in version 1', 'CORRUPT', (body) => { body['formatVersion'] = 1; }],
      ['format version 3', 'UNSUPPORTED_FORMAT', (body) => { body['formatVersion'] = 3; }],
      ['a codec of later', 'UNSUPPORTED_FORMAT', (_, artifact) => { artifact['codec'] = 'snappy'; }],
      ['an artifact of later', 'UNSUPPORTED_FORMAT', (_, artifact) => { artifact['kind'] = 'STREAM'; }],
    ];
    for (const [what, code, change] of cases) expect(await refusal({ manifest: forged(change) }), what).toBe(code);
  });

  it('are found by every changed bit of the wrapped key, and by any other length of it', async () => {
    const { key } = scene.whole;
    for (let bit = 0; bit < key.length * 8; bit += 1) expect(await refusal({ key: flip(key, bit >> 3, bit & 7) }), `bit ${String(bit)}`).toBe('CORRUPT');
    for (const length of [0, 1, 75]) expect(await refusal({ key: key.subarray(0, length) }), `${String(length)} bytes`).toBe('CORRUPT');
    expect(await refusal({ key: Buffer.concat([key, Buffer.alloc(1)]) })).toBe('CORRUPT');
  });

  it('are found by a manifest whose HMAC is missing, wrong, or of one who has no key', async () => {
    const body = JSON.parse(scene.whole.manifest.toString('utf8')) as { [name: string]: Json };
    for (const hmac of [null, '0'.repeat(64), manifestHmac(body, Buffer.alloc(32))]) {
      expect(await refusal({ manifest: Buffer.from(canonicalJson({ ...body, authentication: { digest: manifestDigest(body), hmac } }), 'utf8') }), String(hmac)).toBe('CORRUPT');
    }
  });

  it('are not those with members that a reader does not know, once the digest covers them', async () => {
    const objects = objectsOf({ manifest: forged((body) => { body['later'] = { any: ['thing', 1, null] }; }) });
    const reader = await openArchive(memoryStore(objects), BACKUP_ID, { keys: RING });
    await reader.verify();
    expect((reader.manifest as Manifest & { later?: unknown }).later).toBeUndefined();
  });

  it('are found when bytes change or are appended after they were opened', async () => {
    const { rdb } = scene.whole;
    for (const changed of [Buffer.concat([rdb, Buffer.from('x')]), flip(rdb, 60, 1), flip(rdb, rdb.length - 30, 1)]) {
      const objects = objectsOf({});
      const reader = await openArchive(memoryStore(objects), BACKUP_ID, { keys: RING });
      objects.set(RDB, changed);
      await expect(reader.verify()).rejects.toMatchObject({ code: 'CORRUPT' });
    }
  });

  it('say what is damaged and where', async () => {
    const { whole: { rdb }, plain } = scene;
    const { start } = framesOf(rdb)[2]!;
    const objects = objectsOf({ rdb: flip(rdb, start + 100, 0) });
    const reader = await openArchive(memoryStore(objects), BACKUP_ID, { keys: RING });
    await expect(reader.verify()).rejects.toMatchObject({ code: 'CORRUPT', details: { key: RDB, part: 'block 2', offset: start }, message: expect.stringContaining(RDB) as string });
    // A range that does not touch the damaged block is still good.
    const parts: Uint8Array[] = [];
    for await (const part of reader.read({ start: 0n, end: BigInt(2 * B) })) parts.push(part);
    expect(Buffer.concat(parts).equals(plain.subarray(0, 2 * B))).toBe(true);
    objects.delete(RDB);
    await expect(openArchive(memoryStore(objects), BACKUP_ID, { keys: RING })).rejects.toMatchObject({ code: 'CORRUPT', details: { key: RDB } });
  });
});
