import { type ErrorCode } from '../../../server/domain/errors.js';
import { type SourceLimits } from '../../../server/engine/source/limits.js';
import { lengthBytes, lzfBytes, RdbBuilder, stringBytes } from '../rdb-builder.js';
import { drip, endless, endlessElements, fullResync, mark, newlinesForEver, type Psync, silentAfter, soundRdb, withLength, withMark } from './sources.js';

/** A source that misbehaves. */
export interface HostileSource {
  name: string;
  psync: Psync;
  /** What its backup fails with. */
  code: ErrorCode;
  /** Over `LIMITS`: those that it runs into, as short as can be. A source without any fails at once. */
  limits: Partial<SourceLimits>;
}

/** Limits of time that nothing runs into, however busy the machine is, before a test has given up. */
export const LIMITS: Partial<SourceLimits> = { handshakeMs: 300_000, idleMs: 300_000, snapshotMs: 300_000, minBytesPerSecond: 1_000, rateWindowMs: 300_000, totalMs: 300_000, maxBytes: 4_000_000n };
/** What is far below those, and far above what a failure takes. */
export const WITHIN_MS = 60_000;

const sound = soundRdb();
const flipped = (at: number): Buffer => {
  const bytes = Buffer.from(sound);
  bytes[at] = (bytes[at] ?? 0) ^ 4;
  return bytes;
};
/** A file that is sound up to here, and then goes on with nothing. */
const declaring = (...body: (Uint8Array | number[])[]): Psync => withLength(new RdbBuilder(10).select(0).raw(...body).raw(Buffer.alloc(50_000)).build());
const key = stringBytes('key');

const cases: (Omit<HostileSource, 'limits'> & { limits?: Partial<SourceLimits> })[] = [
  { name: 'endless $EOF:', code: 'LIMIT_EXCEEDED', psync: endless },
  { name: 'endless $EOF: below every size, for too long', code: 'TOO_SLOW', psync: endless, limits: { totalMs: 300, maxBytes: 1n << 50n } },
  { name: 'an absurd length', code: 'LIMIT_EXCEEDED', psync: withLength(sound, { announced: 2n ** 62n }) },
  { name: 'a length beyond 64 bits', code: 'PROTOCOL_ERROR', psync: withLength(sound, { announced: '9'.repeat(25) }) },
  { name: 'a negative length', code: 'PROTOCOL_ERROR', psync: withLength(sound, { announced: -7 }) },
  { name: 'a length that is none', code: 'PROTOCOL_ERROR', psync: withLength(sound, { announced: 'many' }) },
  { name: 'a length of nothing', code: 'TRUNCATED', psync: withLength(Buffer.alloc(0)) },
  { name: 'newlines for ever instead of a reply', code: 'TOO_SLOW', psync: newlinesForEver(false), limits: { snapshotMs: 500 } },
  { name: 'newlines for ever instead of a payload', code: 'TOO_SLOW', psync: newlinesForEver(true), limits: { snapshotMs: 500 } },
  { name: 'a byte now and then', code: 'TOO_SLOW', psync: drip(50), limits: { rateWindowMs: 400 } },
  { name: 'silence in the middle', code: 'TOO_SLOW', psync: silentAfter(5_000), limits: { idleMs: 300 } },
  { name: 'silence after PSYNC', code: 'TOO_SLOW', psync: () => undefined, limits: { idleMs: 300 } },
  { name: 'a reset in the middle', code: 'SOURCE_DISCONNECTED', psync: async (link, server) => { await silentAfter(5_000)(link, server); link.end('abort'); } },
  { name: 'an end in the middle', code: 'SOURCE_DISCONNECTED', psync: async (link, server) => { await silentAfter(5_000)(link, server); link.end(); } },
  { name: 'an end before the payload', code: 'SOURCE_DISCONNECTED', psync: async (link, server) => { await link.send(fullResync(server)); link.end(); } },
  { name: 'a cut before the mark', code: 'SOURCE_DISCONNECTED', psync: withMark(sound, { end: Buffer.alloc(0) }) },
  { name: 'a cut in the mark', code: 'SOURCE_DISCONNECTED', psync: (link, server) => {
    const own = mark();
    return withMark(sound, { mark: own, end: own.subarray(0, 25) })(link, server);
  } },
  { name: 'another mark than announced', code: 'SOURCE_DISCONNECTED', psync: withMark(sound, { end: mark() }) },
  { name: 'a flipped bit in a value', code: 'CORRUPT', psync: withMark(flipped(400)) },
  { name: 'a flipped bit in the checksum', code: 'CORRUPT', psync: withLength(flipped(sound.length - 3)) },
  { name: 'a short RDB of the announced length', code: 'TRUNCATED', psync: withLength(sound.subarray(0, 900), { announced: 900 }) },
  { name: 'a short RDB before a mark', code: 'TRUNCATED', psync: withMark(sound.subarray(0, 900)) },
  { name: 'garbage behind the RDB, counted in its length', code: 'CORRUPT', psync: withLength(Buffer.concat([sound, Buffer.from('garbage')])) },
  { name: 'garbage between the RDB and the mark', code: 'CORRUPT', psync: withMark(Buffer.concat([sound, Buffer.from('garbage')])) },
  { name: 'something else than an RDB', code: 'UNSUPPORTED_FORMAT', psync: withLength(Buffer.from('HELLO0010 and so on')) },
  { name: 'an error line instead of the payload', code: 'SOURCE_DISCONNECTED', psync: async (link, server) => { await link.send(`${fullResync(server)}-ERR BGSAVE failed, replication can't continue\r\n`); } },
  { name: 'an error line in the middle of the payload', code: 'TRUNCATED', psync: withMark(Buffer.concat([sound.subarray(0, 900), Buffer.from('-ERR no more\r\n')])) },
  { name: '+CONTINUE', code: 'PROTOCOL_ERROR', psync: async (link) => { await link.send('+CONTINUE\r\n'); } },
  { name: 'a malformed +FULLRESYNC', code: 'PROTOCOL_ERROR', psync: async (link) => { await link.send('+FULLRESYNC abc 1\r\n'); } },
  { name: 'two replies', code: 'PROTOCOL_ERROR', psync: async (link, server) => { await link.send(`${fullResync(server)}+OK\r\n`); } },
  { name: 'a line without an end', code: 'PROTOCOL_ERROR', psync: async (link) => { await link.send(Buffer.alloc(100_000, 'x')); } },
  { name: 'a replica without its master', code: 'SOURCE_DISCONNECTED', psync: async (link) => { await link.send("-NOMASTERLINK Can't SYNC while not connected with my master\r\n"); } },
  { name: 'no right to PSYNC', code: 'PERMISSION_MISSING', psync: async (link) => { await link.send("-NOPERM this user has no permissions to run the 'psync' command\r\n"); } },
  { name: 'no PSYNC at all', code: 'ENGINE_UNSUPPORTED', psync: async (link) => { await link.send("-ERR unknown command 'PSYNC', with args beginning with: '?' '-1'\r\n"); } },
  { name: 'a server that loads', code: 'CONNECT_FAILED', psync: async (link) => { await link.send('-LOADING Redis is loading the dataset in memory\r\n'); } },
  { name: 'a byte a second, literally', code: 'TOO_SLOW', psync: drip(1_000), limits: { rateWindowMs: 1_200 } },
  { name: 'an error line in the middle of the payload, and the end', code: 'SOURCE_DISCONNECTED', psync: withMark(Buffer.concat([sound.subarray(0, 900), Buffer.from('-ERR no more\r\n')]), { end: Buffer.alloc(0) }) },
  { name: 'garbage behind the mark', code: 'CORRUPT', psync: async (link, server) => {
    const own = mark();
    // The connection stays: an end could be noticed before what the bytes are.
    await link.send(Buffer.concat([Buffer.from(`${fullResync(server)}$EOF:${own.toString()}\r\n`), sound, own, Buffer.from('garbage')]));
  } },
  { name: 'a checksum of zero behind content that is unknown', code: 'CORRUPT', psync: withMark(new RdbBuilder(10).select(0).raw([0x70], Buffer.from('whatever')).build('ZERO')) },
  { name: 'a wrong checksum behind content that is unknown', code: 'CORRUPT', psync: withMark(new RdbBuilder(10).select(0).raw([0x70], Buffer.from('whatever')).build('WRONG')) },
  { name: 'an RDB that declares a key of 2^60 bytes', code: 'CORRUPT', psync: declaring([0], lengthBytes(2n ** 60n)) },
  { name: 'an RDB that declares a value of 2^60 bytes', code: 'CORRUPT', psync: declaring([0], key, lengthBytes(2n ** 60n)) },
  { name: 'an RDB that declares a compressed value of 2^60 bytes', code: 'CORRUPT', psync: declaring([0], key, lzfBytes(Buffer.alloc(4), 2n ** 60n)) },
  { name: 'an RDB that declares a key of 2^39 bytes', code: 'TRUNCATED', psync: declaring([0], lengthBytes(2n ** 39n)) },
  { name: 'an RDB that declares 2^32 - 1 elements', code: 'CORRUPT', psync: declaring([1], key, lengthBytes(2n ** 32n - 1n, 32)) },
  { name: 'an RDB that declares 2^32 elements', code: 'CORRUPT', psync: declaring([2], key, lengthBytes(2n ** 32n)) },
  { name: 'an RDB that declares 2^32 elements and is cut', code: 'SOURCE_DISCONNECTED', psync: withMark(new RdbBuilder(10).select(0).raw([4], key, lengthBytes(2n ** 32n)).build().subarray(0, -9), { end: Buffer.alloc(0) }) },
  { name: 'an RDB of 2^32 elements that come one after the other', code: 'LIMIT_EXCEEDED', psync: endlessElements },
];

export const HOSTILE: readonly HostileSource[] = cases.map(({ limits = {}, ...source }) => ({ ...source, limits }));
