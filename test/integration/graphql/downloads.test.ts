import { createHash } from 'node:crypto';
import { type IncomingMessage, request } from 'node:http';
import { afterEach, describe, expect, it } from 'vitest';
import { DomainError } from '../../../server/domain/errors.js';
import { type DownloadFile } from '../../../server/http/ports.js';
import { type Edge, fakeServices, startEdge } from './edge.js';

const BYTES = Buffer.from(Array.from({ length: 1_000 }, (_, at) => at % 251));
const SHA256 = createHash('sha256').update(BYTES).digest('hex');
const MODIFIED = new Date('2026-03-01T02:00:00.400Z');

interface Watched {
  released: number;
  aborted: boolean;
  ranges: { start: bigint; end: bigint }[];
  given: number;
}

const watched = (): Watched => ({ released: 0, aborted: false, ranges: [], given: 0 });

const file = (seen: Watched, over: Partial<DownloadFile> = {}): DownloadFile => ({
  fileName: 'orders 2026-03-01.rdb', sizeBytes: BigInt(BYTES.length), sha256: SHA256, etag: 'tag-1', modifiedAt: MODIFIED,
  async *read(range, _signal) {
    seen.ranges.push(range);
    const wanted = BYTES.subarray(Number(range.start), Number(range.end));
    for (let at = 0; at < wanted.length; at += 64) yield wanted.subarray(at, at + 64);
  },
  release: async () => void (seen.released += 1),
  ...over,
});

let edge: Edge | undefined;
afterEach(async () => {
  await edge?.stop();
  edge = undefined;
});

const serve = async (over: (seen: Watched) => Partial<DownloadFile> = () => ({}), idleMs?: number): Promise<{ url: string; seen: Watched; log: Edge['log'] }> => {
  const seen = watched();
  edge = await startEdge(fakeServices({}), { downloads: { open: async () => file(seen, over(seen)) }, downloadIdleMs: idleMs });
  return { url: `${edge.url}/downloads/tok`, seen, log: edge.log };
};

interface Got {
  status: number;
  headers: IncomingMessage['headers'];
  body: Buffer;
  /** Whether the connection ended before the answer did. */
  cut: boolean;
}

const CUT: Got = { status: 0, headers: {}, body: Buffer.alloc(0), cut: true };

const get = (url: string, headers: Record<string, string> = {}, method = 'GET'): Promise<Got> => new Promise((resolve) => {
  const req = request(url, { method, headers, agent: false }, (res) => {
    const chunks: Buffer[] = [];
    const done = (cut: boolean): void => resolve({ status: res.statusCode ?? 0, headers: res.headers, body: Buffer.concat(chunks), cut });
    res.on('data', (chunk: Buffer) => chunks.push(chunk)).once('end', () => done(false)).once('error', () => done(true));
  });
  // A server that cuts at once may be faster than its own headers.
  req.once('error', () => resolve(CUT)).end();
});

describe('a download', () => {
  it('is the whole file, described so that it can be checked and resumed', async () => {
    const { url, seen } = await serve();
    const { status, headers, body } = await get(url);
    expect(status).toBe(200);
    expect(body.equals(BYTES)).toBe(true);
    expect(headers).toMatchObject({
      'content-type': 'application/octet-stream', 'content-length': '1000', 'accept-ranges': 'bytes', etag: '"tag-1"', 'last-modified': 'Sun, 01 Mar 2026 02:00:00 GMT',
      'cache-control': 'no-store', 'x-content-type-options': 'nosniff', 'x-content-sha256': SHA256,
      'repr-digest': `sha-256=:${Buffer.from(SHA256, 'hex').toString('base64')}:`,
      'content-disposition': 'attachment; filename="orders 2026-03-01.rdb"; filename*=UTF-8\'\'orders%202026-03-01.rdb',
    });
    expect(seen).toEqual({ released: 1, aborted: false, ranges: [{ start: 0n, end: 1000n }], given: 0 });
  });

  it('by HEAD has the same description and no bytes', async () => {
    const { url, seen } = await serve();
    const { status, headers, body } = await get(url, { range: 'bytes=0-9' }, 'HEAD');
    expect([status, headers['content-length'], headers['x-content-sha256'], body.length]).toEqual([200, '1000', SHA256, 0]);
    expect(seen).toMatchObject({ released: 1, ranges: [] });
  });

  it('of an empty file and of a file of more than 2^53 bytes has the right length', async () => {
    const empty = await serve(() => ({ sizeBytes: 0n }));
    expect((await get(empty.url)).headers['content-length']).toBe('0');
    expect((await get(empty.url, { range: 'bytes=0-' })).status).toBe(416);
    await edge?.stop();
    const huge = await serve(() => ({
      sizeBytes: 9_007_199_254_740_993n,
      async *read({ start, end }) {
        yield new Uint8Array(Number(end - start));
      },
    }));
    expect((await get(huge.url, {}, 'HEAD')).headers['content-length']).toBe('9007199254740993');
    expect((await get(huge.url, { range: 'bytes=9007199254740990-' })).headers['content-range']).toBe('bytes 9007199254740990-9007199254740992/9007199254740993');
  });

  it.each([
    ['"; rm -rf /\r\nX: y', `attachment; filename="_; rm -rf ___X: y"; filename*=UTF-8''%22%3B%20rm%20-rf%20%2F%0D%0AX%3A%20y`],
    ['備份.rdb', `attachment; filename="__.rdb"; filename*=UTF-8''%E5%82%99%E4%BB%BD.rdb`],
    ['half\ud800.rdb', `attachment; filename="half_.rdb"; filename*=UTF-8''half%EF%BF%BD.rdb`],
    ["it's (1)*.rdb", `attachment; filename="it's (1)*.rdb"; filename*=UTF-8''it%27s%20%281%29%2A.rdb`],
  ])('named %j cannot leave its header', async (fileName, expected) => {
    const { url } = await serve(() => ({ fileName }));
    expect((await get(url)).headers['content-disposition']).toBe(expected);
  });
});

describe('ranges and conditions (RFC 9110)', () => {
  const part = (from: number, to: number): [206, string, number] => [206, `bytes ${from}-${to}/1000`, to - from + 1];
  const whole: [200, undefined, number] = [200, undefined, 1000];
  const outside: [416, string, undefined] = [416, 'bytes */1000', undefined];
  it.each<[string, Record<string, string>, [number, string | undefined, number | undefined]]>([
    ['the first bytes', { range: 'bytes=0-9' }, part(0, 9)],
    ['one byte', { range: 'bytes=999-999' }, part(999, 999)],
    ['from somewhere on', { range: 'bytes=990-' }, part(990, 999)],
    ['the last bytes', { range: 'bytes=-5' }, part(995, 999)],
    ['more last bytes than there are', { range: 'bytes=-5000' }, part(0, 999)],
    ['past the end', { range: 'bytes=500-99999999999999999999999' }, part(500, 999)],
    ['spaces and case', { range: 'Bytes= 1-2' }, part(1, 2)],
    ['outside', { range: 'bytes=1000-' }, outside],
    ['no last bytes', { range: 'bytes=-0' }, outside],
    ['several, all outside', { range: 'bytes=1000-,2000-' }, outside],
    ['several', { range: 'bytes=0-1,5-6' }, whole],
    ['several, one outside', { range: 'bytes=0-1,5000-' }, whole],
    ['backwards', { range: 'bytes=9-0' }, whole],
    ['nothing', { range: 'bytes=' }, whole],
    ['nonsense', { range: 'bytes=a-b' }, whole],
    ['a lone dash', { range: 'bytes=-' }, whole],
    ['another unit', { range: 'lines=0-9' }, whole],
    ['a header that is far too long', { range: `bytes=${'0-1,'.repeat(400)}5-6` }, whole],
    ['If-Range with the tag', { range: 'bytes=0-9', 'if-range': '"tag-1"' }, part(0, 9)],
    ['If-Range with another tag', { range: 'bytes=0-9', 'if-range': '"tag-2"' }, whole],
    ['If-Range with a weak tag', { range: 'bytes=0-9', 'if-range': 'W/"tag-1"' }, whole],
    ['If-Range with the date', { range: 'bytes=0-9', 'if-range': MODIFIED.toUTCString() }, part(0, 9)],
    ['If-Range with another date', { range: 'bytes=0-9', 'if-range': 'Sun, 01 Mar 2026 02:00:01 GMT' }, whole],
    ['If-Range with nonsense', { range: 'bytes=0-9', 'if-range': 'tag-1' }, whole],
    ['If-Match with the tag', { 'if-match': '"x", "tag-1"' }, whole],
    ['If-Match with any', { 'if-match': '*' }, whole],
    ['If-Match with another tag', { 'if-match': '"tag-2"' }, [412, undefined, 0]],
    ['If-Match with a weak tag', { 'if-match': 'W/"tag-1"' }, [412, undefined, 0]],
    ['If-None-Match with the tag', { 'if-none-match': '"tag-1"' }, [304, undefined, 0]],
    ['If-None-Match with a weak tag', { 'if-none-match': 'W/"tag-1", "x"' }, [304, undefined, 0]],
    ['If-None-Match with another tag', { 'if-none-match': '"tag-2"' }, whole],
    ['If-None-Match before the range', { 'if-none-match': '"tag-1"', range: 'bytes=5000-' }, [304, undefined, 0]],
    ['If-Modified-Since its date', { 'if-modified-since': MODIFIED.toUTCString() }, [304, undefined, 0]],
    ['If-Modified-Since before', { 'if-modified-since': 'Sat, 28 Feb 2026 02:00:00 GMT' }, whole],
    ['If-Modified-Since beside another tag', { 'if-none-match': '"tag-2"', 'if-modified-since': MODIFIED.toUTCString() }, whole],
    ['If-Unmodified-Since before', { 'if-unmodified-since': 'Sat, 28 Feb 2026 02:00:00 GMT' }, [412, undefined, 0]],
  ])('%s', async (_what, headers, [status, range, length]) => {
    const { url, seen } = await serve();
    const got = await get(url, headers);
    expect([got.status, got.headers['content-range']]).toEqual([status, range]);
    if (length !== undefined) expect(got.body.length).toBe(length);
    const span = /bytes (\d+)-(\d+)/.exec(range ?? '');
    if (span) expect(got.body.equals(BYTES.subarray(Number(span[1]), Number(span[2]) + 1))).toBe(true);
    if (status === 416) expect(JSON.parse(got.body.toString())).toHaveProperty('errors.0.extensions.code', 'BAD_INPUT');
    expect(seen.released).toBe(1);
  });
});

describe('what goes wrong', () => {
  it('looks the same for every link that does not work', async () => {
    const codes = ['NOT_FOUND', 'UNAUTHENTICATED', 'FORBIDDEN', 'BAD_INPUT', 'BACKUP_NOT_AVAILABLE', 'BACKUP_DAMAGED'] as const;
    const seen = new Set<string>();
    edge = await startEdge(fakeServices({}), { downloads: { open: (token) => Promise.reject(new DomainError(codes[Number(token)] ?? 'NOT_FOUND', `detail ${token}`)) } });
    for (const [at] of codes.entries()) {
      const { status, headers, body } = await get(`${edge.url}/downloads/${at}`, { 'x-request-id': 'same-for-all' });
      delete headers.date;
      seen.add(JSON.stringify([status, headers, body.toString()]));
    }
    expect(seen.size).toBe(1);
    expect([...seen][0]).toMatch(/^\[404,/);
    expect([...seen][0]).not.toContain('detail');
  });

  it('is a masked 500 when the link cannot be checked, or the first byte cannot be read', async () => {
    edge = await startEdge(fakeServices({}), { downloads: { open: () => Promise.reject(new Error('database at 10.1.2.3 is gone')) } });
    const unchecked = await get(`${edge.url}/downloads/x`);
    expect([unchecked.status, unchecked.body.toString()]).toEqual([500, expect.stringContaining('"INTERNAL"')]);
    expect(unchecked.body.toString()).not.toContain('10.1.2.3');
    await edge.stop();
    const { url, seen, log } = await serve(() => ({
      async *read() {
        throw new DomainError('STORAGE_IO', 'EIO at /data/store/blob');
      },
    }));
    const unread = await get(url);
    expect([unread.status, unread.headers['content-disposition'], unread.headers['etag']]).toEqual([500, undefined, undefined]);
    expect(unread.body.toString()).not.toContain('/data');
    expect(seen.released).toBe(1);
    expect(log.filter(({ level }) => level === 'error')).toHaveLength(1);
  });

  it.each<[string, DownloadFile['read']]>([
    ['breaks in the middle', async function* () {
      yield BYTES.subarray(0, 300);
      throw new DomainError('BACKUP_DAMAGED', 'block 2 does not verify');
    }],
    ['ends too early', async function* () {
      yield BYTES.subarray(0, 300);
    }],
  ])('cuts the connection when the source %s, so that no part passes for the whole', async (_what, read) => {
    const { url, seen, log } = await serve(() => ({ read }));
    const got = await get(url);
    expect(got.cut).toBe(true);
    expect(got.body.length).toBeLessThan(1_000);
    await expect.poll(() => seen.released).toBe(1);
    expect(log.filter(({ level }) => level === 'error')).toHaveLength(1);
  });

  it('never sends more bytes than it promised', async () => {
    const { url, seen, log } = await serve(() => ({
      async *read() {
        yield BYTES;
        yield BYTES;
      },
    }));
    const got = await get(url);
    expect(got.cut || got.body.equals(BYTES)).toBe(true);
    await expect.poll(() => seen.released).toBe(1);
    expect(log.filter(({ level }) => level === 'error')).toHaveLength(1);
  });

  it('stops reading when the client goes, and gives the lease back after the reader has ended', async () => {
    const order: string[] = [];
    const { url, log } = await serve(() => ({
      sizeBytes: 1n << 40n,
      async *read(_range, signal) {
        try {
          yield new Uint8Array(10);
          await new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(new Error('aborted')), { once: true }));
        } finally {
          order.push('reader ended');
        }
      },
      release: async () => void order.push('released'),
    }));
    const req = request(url, { agent: false }, (res) => res.once('data', () => req.destroy()));
    req.on('error', () => undefined).end();
    await expect.poll(() => order).toEqual(['reader ended', 'released']);
    expect(log.filter(({ level }) => level === 'error')).toEqual([]);
  });

  it('reads no faster than the client takes, and cuts a client that takes nothing', async () => {
    const piece = new Uint8Array(1 << 20);
    const { url, seen } = await serve((watch) => ({
      sizeBytes: 1n << 40n,
      async *read(_range, signal) {
        signal.addEventListener('abort', () => (watch.aborted = true), { once: true });
        for (;;) {
          watch.given += 1;
          yield piece;
        }
      },
    }), 400);
    const req = request(url, { agent: false }, (res) => res.pause());
    req.on('error', () => undefined).end();
    await expect.poll(() => seen.released).toBe(1);
    expect(seen.aborted).toBe(true);
    expect(seen.given).toBeLessThan(64);
    req.destroy();
  });

  it('refuses other methods', async () => {
    const { url, seen } = await serve();
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) {
      const { status, headers } = await get(url, {}, method);
      expect([status, headers.allow]).toEqual([405, 'GET, HEAD']);
    }
    expect(seen.released).toBe(0);
  });
});
