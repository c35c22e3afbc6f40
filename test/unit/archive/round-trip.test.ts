import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DomainError } from '../../../server/domain/errors.js';
import { createArchive, openArchive, readManifest, type BlockSize, type CodecChoice } from '../../../server/engine/archive/archive.js';
import { canonicalJson, type Json } from '../../../server/engine/archive/canonical-json.js';
import { manifestDigest } from '../../../server/engine/archive/manifest.js';
import { RING, BACKUP_ID, KIB, facts, randomBytesOf, readPlain, scratchStore, seeded, textOf, writeArchive, type Scratch } from './archive-kit.js';

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const B = 256 * KIB;

describe('archive round trip', () => {
  let at: Scratch;
  beforeEach(async () => { at = await scratchStore(); });
  afterEach(() => at.dispose());

  const codecs: CodecChoice[] = [{ name: 'none' }, { name: 'brotli' }, { name: 'brotli', quality: 1 }, { name: 'lz4' }];
  for (const codec of codecs) {
    for (const size of [0, 1, B - 1, B, B + 1, 2 * B, 2 * B + 1, 5 * B + 12_345]) {
      it(`${codec.name} ${String(codec.quality ?? '')} ${String(size)} bytes: equal, verified, sizes and digests right`, async () => {
        const plain = textOf(size, size + 1);
        const manifest = await writeArchive(at.store, plain, { codec, blockSize: B as BlockSize }, {}, 50_001);
        const stored = await at.get(`backups/${BACKUP_ID}/rdb`);
        expect(manifest.artifacts[0]).toMatchObject({
          plainSize: BigInt(size), storedSize: BigInt(stored.length), plainSha256: sha256(plain), storedSha256: null,
          codec: codec.name, cipher: 'aes-256-gcm', blockSize: B, blockCount: Math.max(1, Math.ceil(size / B)),
        });
        if (codec.name !== 'none' && size > B) expect(stored.length).toBeLessThan(size / 2);
        expect((await readPlain(at.store)).equals(plain)).toBe(true);
        const reader = await openArchive(at.store, BACKUP_ID, { keys: RING });
        const seen: bigint[] = [];
        await reader.verify({ onProgress: ({ bytesDone }) => seen.push(bytesDone) });
        expect(seen.at(-1)).toBe(BigInt(size));
      });
    }
  }

  it('stores blocks that do not shrink as they are, next to blocks that do', async () => {
    const plain = Buffer.concat([randomBytesOf(B, 1), textOf(B, 2), randomBytesOf(B, 3), textOf(100, 4)]);
    const manifest = await writeArchive(at.store, plain, { keys: undefined, blockSize: B as BlockSize });
    const stored = await at.get(`backups/${BACKUP_ID}/rdb`);
    expect(stored.length).toBeGreaterThan(2 * B);
    expect(stored.length).toBeLessThan(2 * B + B / 2);
    expect(stored.subarray(64 + 16, 64 + 16 + B).equals(plain.subarray(0, B))).toBe(true);
    expect(manifest.artifacts[0]).toMatchObject({ blockCount: 4, cipher: 'none', storedSha256: sha256(stored) });
    expect((await readPlain(at.store)).equals(plain)).toBe(true);
  });

  it('is damaged without a digest of what is stored where no cipher vouches for that', async () => {
    const key = `backups/${BACKUP_ID}/manifest`;
    await writeArchive(at.store, textOf(1_000, 1), { keys: undefined });
    const { authentication: _, ...body } = JSON.parse((await at.get(key)).toString('utf8')) as { artifacts: [{ [name: string]: Json }]; [name: string]: Json };
    await (await openArchive(at.store, BACKUP_ID)).verify();
    body.artifacts[0]['storedSha256'] = null;
    await at.tamper(key, Buffer.from(canonicalJson({ ...body, authentication: { digest: manifestDigest(body), hmac: null } }), 'utf8'));
    await expect(openArchive(at.store, BACKUP_ID)).rejects.toMatchObject({ code: 'CORRUPT', message: expect.stringContaining('storedSha256') as string });
  });

  it('takes chunks of any size, reused by the caller, with many blocks under way', async () => {
    const plain = Buffer.concat([textOf(3_000_000, 5), randomBytesOf(1_000_000, 6), textOf(4_000_000, 7)]);
    const writer = await createArchive(at.store, { keys: RING, backupId: BACKUP_ID });
    const next = seeded(8);
    const socket = Buffer.alloc(3_000_000);
    for (let from = 0; from < plain.length; ) {
      const size = Math.min(plain.length - from, next(10) === 0 ? next(socket.length) : next(70_000));
      plain.copy(socket, 0, from, from + size);
      await writer.write(socket.subarray(0, size));
      socket.fill(0xee);
      from += size;
      expect(writer.plainBytes).toBe(BigInt(from));
    }
    await writer.seal(facts());
    expect((await readPlain(at.store)).equals(plain)).toBe(true);
  });

  it('fills blocks of several archives at once, each where nobody else does, and some that are given up', async () => {
    const random = seeded(20_261_201);
    for (let round = 0; round < 4; round += 1) {
      const ids = Array.from({ length: 5 }, (_, i) => `bak_01hzy000000000000000000r${String(round)}${String(i)}`);
      const writers = await Promise.all(ids.map(async (backupId, i) => {
        const plain = Buffer.concat([textOf(400_000 + random(900_000), 10 * round + i), randomBytesOf(300_000, i)]);
        return { backupId, plain, done: 0, writer: await createArchive(at.store, { backupId, keys: RING, blockSize: B as BlockSize }) };
      }));
      // One of them ends in the middle of a block, and what it filled is another's at once.
      const left = writers.map(({ plain }) => plain.length);
      while (left.some((bytes) => bytes > 0)) {
        await Promise.all(writers.map(async (one, i) => {
          if (i === 2 && one.done > 300_000) {
            if (left[i] !== 0) await one.writer.abort();
            left[i] = 0;
            return;
          }
          const bytes = 1 + random(100_000);
          await one.writer.write(one.plain.subarray(one.done, one.done + bytes));
          one.done = Math.min(one.plain.length, one.done + bytes);
          left[i] = one.plain.length - one.done;
        }));
      }
      for (const [i, { backupId, plain, writer }] of writers.entries()) {
        if (i === 2) continue;
        await writer.seal(facts());
        expect((await readPlain(at.store, undefined, backupId)).equals(plain)).toBe(true);
      }
    }
  });

  it('gives every range exactly, at every border', async () => {
    const plain = Buffer.concat([textOf(2 * B, 9), randomBytesOf(B, 10), textOf(1000, 11)]);
    await writeArchive(at.store, plain, { blockSize: B as BlockSize });
    const reader = await openArchive(at.store, BACKUP_ID, { keys: RING });
    const borders = [0, 1, B - 1, B, B + 1, 2 * B - 1, 2 * B, 2 * B + 1, 3 * B - 1, 3 * B, 3 * B + 1, plain.length - 1, plain.length];
    for (const start of borders) {
      for (const end of borders.filter((border) => border >= start)) {
        const parts: Uint8Array[] = [];
        for await (const part of reader.read({ start: BigInt(start), end: BigInt(end) })) parts.push(part);
        expect(Buffer.concat(parts).equals(plain.subarray(start, end)), `${String(start)}-${String(end)}`).toBe(true);
      }
    }
    for (const [start, end] of [[-1n, 5n], [6n, 5n], [0n, BigInt(plain.length) + 1n]]) {
      await expect(readPlain(at.store, { start, end })).rejects.toMatchObject({ code: 'BAD_INPUT' });
    }
  });

  it('reads only the blocks of a range', async () => {
    const plain = textOf(8 * B, 12);
    await writeArchive(at.store, plain, { blockSize: B as BlockSize, codec: { name: 'none' } });
    const ranges: bigint[] = [];
    const counting = { ...at.store, read: (key: string, options: { length?: bigint } = {}) => {
      if (options.length !== undefined && options.length > 100_000n) ranges.push(options.length);
      return at.store.read(key, options);
    }, stat: at.store.stat.bind(at.store) };
    const reader = await openArchive(counting as unknown as typeof at.store, BACKUP_ID, { keys: RING });
    ranges.length = 0;
    for await (const part of reader.read({ start: BigInt(3 * B + 5), end: BigInt(3 * B + 10) })) expect(part.length).toBe(5);
    expect(ranges).toEqual([BigInt(B + 32)]);
  });

  it('keeps the manifest as it was given, big numbers and foreign scripts too', async () => {
    const given = facts({
      coverage: { kind: 'SHARD', slots: [{ start: 0, end: 100 }, { start: 16_383, end: 16_383 }] },
      rdb: { ...facts().rdb, aux: { ['__proto__']: 'x', 'bad\u0000': '\ud83d\ude00' }, unknown: { kind: 'TYPE', code: 99, offset: 2n ** 40n }, integrity: 'CHECKSUM_ONLY' },
      source: { ...facts().source, address: null, node: { host: '::1', port: 6380, role: 'REPLICA', runId: 'f'.repeat(40), version: '7.0.16', behindBytes: 2n ** 60n } },
      replication: null,
    });
    const writer = await createArchive(at.store, { keys: RING, backupId: BACKUP_ID });
    await writer.write(Buffer.from('x'));
    const sealed = await writer.seal(given);
    const read = await readManifest(at.store, BACKUP_ID, { keys: RING });
    expect(read).toEqual(sealed);
    expect(read.artifacts[0]).toMatchObject({ rdb: given.rdb, coverage: given.coverage, replication: null });
    expect(read.backup).toEqual({ id: BACKUP_ID, ...given.backup });
    expect(read).toMatchObject({ source: given.source, capture: given.capture, startedAt: given.startedAt, completedAt: given.completedAt, createdBy: given.createdBy });
  });

  it('reads archives that do not say which server their bytes came from, and writes them as they were', async () => {
    await writeArchive(at.store, Buffer.from('x'));
    expect((await at.get(`backups/${BACKUP_ID}/manifest`)).toString()).not.toContain('"node"');
    expect((await readManifest(at.store, BACKUP_ID, { keys: RING })).source).toEqual(facts().source);
  });

  it('stops reading and verifying at a signal or when closed, and lets a reader leave early', async () => {
    await writeArchive(at.store, textOf(6 * B, 13), { blockSize: B as BlockSize });
    const reader = await openArchive(at.store, BACKUP_ID, { keys: RING });
    for await (const part of reader.read()) {
      expect(part.length).toBe(B);
      break;
    }
    const stop = new AbortController();
    const reason = new DomainError('TOO_SLOW', 'Too slow.');
    const reading = (async () => {
      for await (const part of reader.read({ signal: stop.signal })) if (part.length > 0) stop.abort(reason);
    })();
    await expect(reading).rejects.toBe(reason);
    await expect(reader.verify({ signal: stop.signal })).rejects.toBe(reason);
    await expect((async () => {
      for await (const part of reader.read()) if (part.length > 0) await reader.close();
    })()).rejects.toMatchObject({ code: 'INTERRUPTED' });
    await expect(reader.verify()).rejects.toMatchObject({ code: 'INTERRUPTED' });
  });

  it('refuses ids, block sizes and codecs that are none', async () => {
    for (const backupId of ['', '../../etc', 'bak_', 'ins_01hzy0000000000000000000a1', `${BACKUP_ID}/x`]) {
      await expect(createArchive(at.store, { keys: RING, backupId })).rejects.toMatchObject({ code: 'BAD_INPUT' });
      await expect(openArchive(at.store, backupId, { keys: RING })).rejects.toMatchObject({ code: 'BAD_INPUT' });
    }
    await expect(createArchive(at.store, { keys: RING, backupId: BACKUP_ID, blockSize: 1000 as BlockSize })).rejects.toMatchObject({ code: 'BAD_INPUT' });
    await expect(createArchive(at.store, { keys: RING, backupId: BACKUP_ID, codec: { name: 'zstd' } })).rejects.toMatchObject({ code: 'UNSUPPORTED_FORMAT' });
  });
});
