import { type RdbFacts } from './source.js';
import { type TargetFacts } from './facts.js';

/** Per key: dictionary entry, object header, allocator rounding. For files without `used-mem` (before RDB 7). */
const BYTES_PER_KEY = 120n;

/** Memory of a server that holds only this backup, in bytes: what its source used then, or an upper guess from file and keys. */
export const memoryOf = ({ summary }: RdbFacts): bigint => {
  const noted = summary.aux['used-mem'] ?? '';
  return /^\d{1,18}$/.test(noted) ? BigInt(noted) : summary.bytes * 2n + summary.keys * BYTES_PER_KEY;
};

export const mib = (bytes: bigint): string => `${(Number(bytes) / 1024 / 1024).toFixed(1)} MiB`;

/** Whether the target takes the payload straight from the socket: without a file, so without disk room and without a new `dump.rdb`. */
export const loadsDiskless = (target: TargetFacts): boolean =>
  target.disklessLoad === 'swapdb' || (target.disklessLoad === 'on-empty-db' && target.keysNow.length === 0);

/** Highest use while and after the load, in bytes. With `swapdb` the old data stays until the new is complete. */
export const estimatedMemory = (target: TargetFacts, rdb: RdbFacts): bigint =>
  memoryOf(rdb) + (target.disklessLoad === 'swapdb' && target.keysNow.length > 0 ? target.usedMemory : 0n);
