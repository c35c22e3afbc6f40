import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import * as zlib from 'node:zlib';
import { codecFor, type Codec } from '../../server/engine/archive/codec/codec.js';
import { DEFAULT_BLOCK_SIZE } from '../../server/engine/archive/layout.js';
import { fillBytes } from '../kit/fill.js';
import { makeTempDir, removeTempDir } from '../kit/processes.js';
import { startRedis } from '../kit/redis.js';
import { readOptions } from './options.js';
import { median, round, runBench, tell } from './report.js';

const ROUNDS = 5;
const BLOCK = DEFAULT_BLOCK_SIZE;
/** As the archive's pipeline has them. */
const AT_ONCE = 4;

type Pack = Pick<Codec, 'compress' | 'expand'>;

/** Not a codec of ours: Node has it from 22.15 on only. Null where it is missing. */
const zstd = (level: number): Pack | null => {
  const native = zlib as unknown as {
    zstdCompress?: (bytes: Uint8Array, options: object, done: (error: Error | null, result: Buffer) => void) => void;
    zstdDecompress?: (bytes: Uint8Array, options: object, done: (error: Error | null, result: Buffer) => void) => void;
    constants: Record<string, number>;
  };
  const { zstdCompress, zstdDecompress } = native;
  if (!zstdCompress || !zstdDecompress) return null;
  const params = { [native.constants['ZSTD_c_compressionLevel'] ?? 100]: level };
  return {
    compress: async (bytes, use) => use(await promisify(zstdCompress)(bytes, { chunkSize: bytes.length, params })),
    expand: async (bytes, into) => void into.set(await promisify(zstdDecompress)(bytes, { chunkSize: into.length + 1 })),
  };
};

const cpuSeconds = async <T>(of: () => Promise<T>): Promise<{ seconds: number; result: T }> => {
  const before = process.cpuUsage();
  const result = await of();
  const { user, system } = process.cpuUsage(before);
  return { seconds: (user + system) / 1e6, result };
};

/** Results in order; some are under way at once. */
const each = async <T, R>(items: readonly T[], work: (item: T, at: number) => Promise<R>): Promise<R[]> => {
  const results: R[] = new Array<R>(items.length);
  let next = 0;
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    for (let at = next++; at < items.length; at = next++) results[at] = await work(items[at] as T, at);
  }));
  return results;
};

await runBench(async (defer) => {
  const { mib, data, unit } = readOptions();
  const folder = makeTempDir('bench');
  defer(() => removeTempDir(folder));
  const source = await startRedis();
  defer(() => source.stop());
  await fillBytes(source, { mib, ...(unit ? { unit } : {}) });
  const file = join(folder, 'dump.rdb');
  await promisify(execFile)(source.binary.cli, ['-h', source.host, '-p', String(source.port), '--rdb', file]);
  await source.stop();
  const bytes = await readFile(file);
  const blocks = Array.from({ length: Math.ceil(bytes.length / BLOCK) }, (_, i) => bytes.subarray(i * BLOCK, (i + 1) * BLOCK));
  const gib = bytes.length / 2 ** 30;
  /** As the frames of an archive: memory that is there already. */
  const plains = blocks.map((block) => Buffer.alloc(block.length, 1));

  const packs: [name: string, pack: Pack | null][] = [
    ['lz4', codecFor({ name: 'lz4' })], ['brotli0', codecFor({ name: 'brotli', quality: 0 })], ['brotli1', codecFor({ name: 'brotli', quality: 1 })], ['zstd1', zstd(1)],
  ];
  const codecs: Record<string, { compressSecondsPerGiB: number; expandSecondsPerGiB: number; size: number } | null> = {};
  const times = new Map<string, { compress: number[]; expand: number[]; size: number }>();
  for (let at = 0; at < ROUNDS; at += 1) {
    for (const [name, pack] of packs) {
      if (pack === null) continue;
      const compressed = await cpuSeconds(() => each(blocks, (block) => pack.compress(block, () => undefined)));
      // What is not worth it is stored as it is.
      const stored = await each(blocks, (block) => pack.compress(block, (packed) => (packed === null || packed.length >= block.length ? null : Buffer.from(packed))));
      for (const plain of plains) plain.fill(0);
      const expanded = await cpuSeconds(() => each(stored, async (packed, i) => {
        const into = plains[i];
        if (packed !== null && into) await pack.expand(packed, into);
      }));
      plains.forEach((plain, i) => {
        if (stored[i] !== null && !blocks[i]?.equals(plain)) throw new Error(`${name} does not give block ${String(i)} back`);
      });
      const size = stored.reduce((sum, packed, i) => sum + (packed?.length ?? blocks[i]?.length ?? 0), 0) / bytes.length;
      const known = times.get(name) ?? { compress: [], expand: [], size };
      times.set(name, known);
      known.compress.push(compressed.seconds / gib);
      known.expand.push(expanded.seconds / gib);
      tell(`round ${String(at)}: ${name} ${(compressed.seconds / gib).toFixed(2)} s/GiB, back ${(expanded.seconds / gib).toFixed(2)} s/GiB, ${(size * 100).toFixed(1)} %`);
    }
  }
  for (const [name] of packs) {
    const found = times.get(name);
    codecs[name] = found ? { compressSecondsPerGiB: round(median(found.compress), 2), expandSecondsPerGiB: round(median(found.expand), 2), size: round(found.size, 3) } : null;
  }
  return { bench: 'codec', node: process.version, data, codecs };
});
