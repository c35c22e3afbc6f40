import { randomBytes } from 'node:crypto';
import { type IncomingMessage, type ServerResponse } from 'node:http';
import { inspect } from 'node:util';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createClient, isSnapbackError, type Client, type ClientOptions, type SnapbackError } from '../../../sdk/src/index.js';
import { waitFor } from '../../kit/wait.js';
import { makeBackup, sha256, startFakeService, TOKEN, type FakeService } from './fake-service.js';

const file = randomBytes(3_000_000);
const digest = sha256(file);
let service: FakeService;
let client: Client;
let link: Record<string, unknown>;
let links = 0;

/** Ranges asked for, in order; undefined for a request without one. */
const ranges: (string | undefined)[] = [];

const freshLink = (): Record<string, unknown> =>
  ({ id: 'lnk_1', url: '/downloads/signed', singleUse: false, expiresAt: '2026-03-01T03:00:00.000Z', fileName: 'cache.rdb', sizeBytes: String(file.length), sha256: digest });

const connect = (options: Partial<ClientOptions> = {}): Client =>
  createClient({ url: service.url, token: TOKEN, retry: { baseMs: 1, maxMs: 5 }, ...options });

beforeAll(async () => {
  service = await startFakeService({
    Query: { backup: (_: unknown, { id }: { id: string }) => makeBackup(id) },
    Mutation: {
      createDownloadLink: (_: unknown, { input }: { input: { backupId: string } }) => {
        if (input.backupId !== 'bak_1') return { link: null, userErrors: [{ code: 'NOT_FOUND', message: 'There is no such backup.', field: ['backupId'] }] };
        links += 1;
        return { link, userErrors: [] };
      },
    },
  });
});
afterAll(() => service.stop());

interface Behaviour {
  /** Cut the connection after this many bytes of each answer. */
  cutAfter?: number;
  /** Ignore ranges. */
  plain?: boolean;
  content?: Buffer;
}

const deliver = (request: IncomingMessage, response: ServerResponse, { cutAfter, plain = false, content = file }: Behaviour = {}): void => {
  const { range } = request.headers;
  ranges.push(range);
  const [, first, last] = (!plain && /^bytes=(\d+)-(\d+)$/.exec(range ?? '')) || [];
  const [from, to] = first === undefined ? [0, content.length] : [Number(first), Number(last) + 1];
  const headers: Record<string, string | number> = { etag: '"v1"', 'content-length': to - from };
  if (first !== undefined) headers['content-range'] = `bytes ${String(from)}-${String(to - 1)}/${String(content.length)}`;
  response.writeHead(first === undefined ? 200 : 206, headers);
  const body = content.subarray(from, to);
  if (cutAfter === undefined || body.length <= cutAfter) response.end(body);
  else response.write(body.subarray(0, cutAfter), () => response.socket?.destroy());
};

beforeEach(() => {
  ranges.length = 0;
  links = 0;
  service.seen.length = 0;
  link = freshLink();
  client = connect();
  service.serve((request, response) => {
    deliver(request, response);
  });
});

const collect = async (stream: ReadableStream<Uint8Array>): Promise<Buffer> => {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
};

const failure = async (promise: Promise<unknown>): Promise<SnapbackError> => {
  const error: unknown = await promise.then(() => undefined, (reason: unknown) => reason);
  if (!isSnapbackError(error)) throw new Error(`Expected an error of the SDK, got ${String(error)}`);
  return error;
};

/** Remembers what was written and how it ended. */
const sink = (): { to: WritableStream<Uint8Array>; bytes: () => Buffer; end: () => string } => {
  const chunks: Uint8Array[] = [];
  let end = 'open';
  const to = new WritableStream<Uint8Array>({
    write: (chunk) => void chunks.push(chunk),
    close: () => {
      end = 'closed';
    },
    abort: () => {
      end = 'aborted';
    },
  });
  return { to, bytes: () => Buffer.concat(chunks), end: () => end };
};

describe('a download', () => {
  it('gives the file as a stream, without sending the token', async () => {
    let authorization: string | undefined = 'unset';
    service.serve((request, response) => {
      authorization = request.headers.authorization;
      deliver(request, response);
    });
    expect(sha256(await collect(await client.backups.download('bak_1')))).toBe(digest);
    expect(authorization).toBeUndefined();
    expect(ranges).toEqual([undefined]);
  });

  it('fills a stream and says what it brought', async () => {
    const target = sink();
    const summary = await client.backups.download({ id: 'bak_1' }, { to: target.to });
    expect(summary).toEqual({ fileName: 'cache.rdb', bytes: file.length, sha256: digest });
    expect(target.end()).toBe('closed');
    expect(target.bytes().equals(file)).toBe(true);
  });

  it('goes on at the byte where it was cut, as often as needed', async () => {
    service.serve((request, response) => {
      deliver(request, response, { cutAfter: 200_000 });
    });
    expect((await collect(await client.backups.download('bak_1'))).equals(file)).toBe(true);
    expect(ranges.length).toBeGreaterThanOrEqual(15);
    expect(ranges[1]).toMatch(/^bytes=[1-9]\d*-2999999$/);
    expect(links).toBe(1);
  });

  it('skips what it has when the server ignores ranges', async () => {
    let answers = 0;
    service.serve((request, response) => {
      answers += 1;
      deliver(request, response, { plain: true, ...(answers < 3 && { cutAfter: answers * 500_000 }) });
    });
    expect((await collect(await client.backups.download('bak_1'))).equals(file)).toBe(true);
    expect(answers).toBe(3);
  });

  it('takes up a connection that went silent', async () => {
    let answers = 0;
    service.serve((request, response) => {
      answers += 1;
      if (answers > 1) {
        deliver(request, response);
        return;
      }
      response.writeHead(200, { 'content-length': file.length, etag: '"v1"' });
      response.write(file.subarray(0, 100_000));
    });
    expect((await collect(await client.backups.download('bak_1', { timeoutMs: 500 }))).equals(file)).toBe(true);
    // More, where the machine stands still for longer.
    expect(answers).toBeGreaterThanOrEqual(2);
  });

  it.each([401, 403, 404, 410])('makes a new link when the old one has expired on the way, which is answered with %i', async (status) => {
    let answers = 0;
    service.serve((request, response) => {
      answers += 1;
      if (answers === 2) response.writeHead(status).end('expired');
      else deliver(request, response, answers === 1 ? { cutAfter: 100_000 } : {});
    });
    expect((await collect(await client.backups.download('bak_1', { idempotencyKey: 'mine' }))).equals(file)).toBe(true);
    expect(links).toBe(2);
    // Under one key the service would give the expired link again.
    const keys = service.seen.map(({ variables }) => (variables['input'] as { idempotencyKey: string }).idempotencyKey);
    expect(new Set([...keys, 'mine']).size).toBe(3);
  });

  it('ends in an error when a new link is refused as well', async () => {
    service.serve((_, response) => {
      response.writeHead(404).end();
    });
    expect(await failure(client.backups.download('bak_1').then(collect))).toMatchObject({ kind: 'http', code: 'HTTP_404', retryable: false });
    expect(links).toBe(2);
  });

  it('never shows its link in an error: whoever has it can download', async () => {
    const answers: ((response: ServerResponse) => void)[] = [
      (response) => void response.writeHead(404).end(), (response) => void response.socket?.destroy(), (response) => void response.writeHead(302, { location: 'http://127.0.0.1:1/signed' }).end(),
      () => undefined,
    ];
    for (const answer of answers) {
      service.serve((_, response) => answer(response));
      const error = await failure(connect({ retry: false, timeoutMs: 200 }).backups.download('bak_1').then(collect));
      expect(inspect(error, { depth: 20, showHidden: true })).not.toContain('signed');
    }
  });

  it('waits and goes on after 503', async () => {
    let answers = 0;
    service.serve((request, response) => {
      answers += 1;
      if (answers === 1) response.writeHead(503).end();
      else deliver(request, response);
    });
    expect((await collect(await client.backups.download('bak_1'))).equals(file)).toBe(true);
  });

  it('ends in an error, and never closes its target, when a bit is wrong', async () => {
    const damaged = Buffer.from(file);
    damaged.writeUInt8(damaged.readUInt8(1_234_567) ^ 1, 1_234_567);
    service.serve((request, response) => {
      deliver(request, response, { content: damaged });
    });
    const target = sink();
    expect(await failure(client.backups.download('bak_1', { to: target.to }))).toMatchObject({ kind: 'protocol', code: 'CHECKSUM_MISMATCH', retryable: false });
    expect(target.end()).toBe('aborted');
    expect(target.bytes().length).toBeLessThan(file.length);
  });

  it('ends in an error when the server brings another part than asked for', async () => {
    let answers = 0;
    service.serve((request, response) => {
      answers += 1;
      if (answers === 1) deliver(request, response, { cutAfter: 100_000 });
      else response.writeHead(206, { 'content-range': `bytes 0-9/${String(file.length)}` }).end('0123456789');
    });
    expect(await failure(client.backups.download('bak_1').then(collect))).toMatchObject({ kind: 'protocol', code: 'UNEXPECTED_ANSWER' });
  });

  it('gives up after its attempts when nothing ever comes, and after its time when nothing more comes', async () => {
    service.serve((_, response) => {
      response.socket?.destroy();
    });
    expect(await failure(client.backups.download('bak_1').then(collect))).toMatchObject({ kind: 'network' });
    let answers = 0;
    service.serve((request, response) => {
      answers += 1;
      if (answers === 1) deliver(request, response, { cutAfter: 100_000 });
      else response.socket?.destroy();
    });
    const impatient = connect({ retry: { baseMs: 1, maxMs: 5, resumeForMs: 4_000 } });
    expect(await failure(impatient.backups.download('bak_1').then(collect))).toMatchObject({ kind: 'network', retryable: true });
    expect(answers).toBeGreaterThan(3);
  });

  it('brings a part', async () => {
    const part = await collect(await client.backups.download('bak_1', { range: { start: 1_000, end: 5_000 } }));
    expect(part.equals(file.subarray(1_000, 5_000))).toBe(true);
    expect(ranges).toEqual(['bytes=1000-4999']);
    const target = sink();
    expect(await client.backups.download('bak_1', { to: target.to, range: { start: file.length - 10 } })).toMatchObject({ bytes: 10, sha256: null });
    expect((await collect(await client.backups.download('bak_1', { range: { start: 5, end: 5 } }))).length).toBe(0);
    await expect(client.backups.download('bak_1', { range: { start: 5, end: file.length + 1 } })).rejects.toThrow(RangeError);
  });

  it('throws user errors of the link', async () => {
    expect(await failure(client.backups.download('bak_none'))).toMatchObject({ kind: 'user_input', code: 'NOT_FOUND' });
  });

  it('ends when it is aborted, or cancelled, and closes the connection', async () => {
    let open = 0;
    service.serve((_, response) => {
      open += 1;
      response.on('close', () => {
        open -= 1;
      });
      response.writeHead(200, { 'content-length': file.length });
      response.write(file.subarray(0, 100_000));
    });
    const controller = new AbortController();
    const target = sink();
    const filling = failure(client.backups.download('bak_1', { to: target.to, signal: controller.signal }));
    await waitFor(() => target.bytes().length === 100_000);
    controller.abort();
    expect(await filling).toMatchObject({ kind: 'aborted' });
    await waitFor(() => open === 0);

    const stream = await client.backups.download('bak_1');
    const reader = stream.getReader();
    await reader.read();
    expect(open).toBe(1);
    await reader.cancel();
    await waitFor(() => open === 0);
  });

  it('reads no faster than its reader', async () => {
    let sent = 0;
    const huge = 256 * 1024 * 1024;
    link = { ...freshLink(), sizeBytes: String(huge) };
    service.serve((_, response) => {
      response.writeHead(200, { 'content-length': huge });
      const block = Buffer.alloc(1 << 20);
      const more = (): void => {
        while (sent < huge) {
          sent += block.length;
          if (!response.write(block)) {
            response.once('drain', more);
            return;
          }
        }
      };
      more();
    });
    const reader = (await client.backups.download('bak_1')).getReader();
    await reader.read();
    let before = -1;
    await waitFor(() => {
      const quiet = sent === before;
      before = sent;
      return quiet;
    }, { intervalMs: 100 });
    expect(sent).toBeLessThan(64 * 1024 * 1024);
    await reader.cancel();
  });
});

it('gives a link for others to follow', async () => {
  expect(await client.backups.link('bak_1', { expiresInSeconds: 60 })).toMatchObject({ url: '/downloads/signed', fileName: 'cache.rdb' });
  expect(service.seen.at(-1)?.variables).toEqual({ input: { backupId: 'bak_1', expiresInSeconds: 60, idempotencyKey: expect.stringMatching(/^sdk-/) as string } });
});
