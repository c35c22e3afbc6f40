import type { DownloadLink } from './backups.js';
import type { Connection } from './connection.js';
import { SnapbackError } from './errors.js';
import { isTransientStatus } from './graphql-errors.js';
import type { CallOptions } from './options.js';
import { createSha256 } from './sha256.js';
import { backoffMs, parseRetryAfter, pause, retryPolicy, startDeadline, type Deadline } from './timing.js';

/** `timeoutMs` is the longest silence before the download is taken up anew. Default: the client's. */
export interface DownloadOptions extends CallOptions {
  /** Only these bytes: from `start` up to, and without, `end` (default: the file's end). A part's SHA-256 cannot be checked. */
  range?: { start: number; end?: number } | undefined;
}

export interface DownloadSummary {
  /** Suggested name of the file. */
  fileName: string;
  /** Bytes delivered. */
  bytes: number;
  /** SHA-256 of the file, hexadecimal, as checked; null when only a part was asked for. */
  sha256: string | null;
}

export interface Download {
  stream: ReadableStream<Uint8Array>;
  /** Complete once the stream has ended. */
  summary(): DownloadSummary;
}

const WHAT = 'The download';

const contradiction = (message: string): SnapbackError => new SnapbackError('protocol', 'UNEXPECTED_ANSWER', `${WHAT} ${message}.`);

const httpError = (response: Response): SnapbackError =>
  new SnapbackError('http', `HTTP_${String(response.status)}`, `${WHAT} was answered with status ${String(response.status)}.`, {
    status: response.status,
    retryable: isTransientStatus(response.status),
    requestId: response.headers.get('x-request-id') ?? undefined,
    retryAfterMs: parseRetryAfter(response.headers.get('retry-after')),
  });

/** An expired link is answered with one of these, depending on who keeps the file: 404 by the service, as everything that is no link any more. */
const isLinkOver = (status: number): boolean => status === 401 || status === 403 || status === 404 || status === 410;

/** The first byte a 206 brings (RFC 9110, 14.4). */
const rangeStart = (response: Response): number => Number(/^bytes (\d+)-/.exec(response.headers.get('content-range') ?? '')?.[1] ?? NaN);

export const openDownload = async (connection: Connection, makeLink: () => Promise<DownloadLink>, options: DownloadOptions): Promise<Download> => {
  const retry = retryPolicy(options.retry ?? connection.options.retry);
  const timeoutMs = options.timeoutMs ?? connection.timeoutMs;
  const { signal: outer } = options;
  let link = await makeLink();
  const { sha256, fileName } = link;
  const size = Number(link.sizeBytes);
  const start = options.range?.start ?? 0;
  const end = options.range?.end ?? size;
  if (!(start >= 0 && start <= end && end <= size)) throw new RangeError(`range: must lie within the file's ${String(size)} bytes.`);
  const hash = start === 0 && end === size ? createSha256() : undefined;

  let position = start;
  let etag: string | null = null;
  let skip = 0;
  let running: { reader: ReadableStreamDefaultReader<Uint8Array>; deadline: Deadline } | undefined;
  let failures = 0;
  let heardAt = Date.now();

  const drop = (): void => {
    if (running === undefined) return;
    const { reader, deadline } = running;
    running = undefined;
    deadline.abort();
    deadline.dispose();
    void reader.cancel().catch(() => undefined); // It failed already, or is of no more use.
  };

  const request = async (deadline: Deadline): Promise<Response> => {
    const url = connection.resolve(link.url);
    const headers = new Headers(url.origin === connection.resolve('').origin ? connection.headers(options) : {});
    if (position > 0 || end < size) {
      headers.set('range', `bytes=${String(position)}-${String(end - 1)}`);
      if (etag !== null) headers.set('if-range', etag);
    }
    return connection.fetch(url, { headers, signal: deadline.signal });
  };

  const open = async (deadline: Deadline): Promise<ReadableStreamDefaultReader<Uint8Array>> => {
    let response = await request(deadline);
    if (isLinkOver(response.status)) {
      await response.body?.cancel();
      link = await makeLink();
      if (link.sha256 !== sha256) throw contradiction('goes on with a file that has another checksum');
      response = await request(deadline);
    }
    if (response.status !== 200 && response.status !== 206) {
      await response.body?.cancel();
      throw httpError(response);
    }
    if (response.status === 206 && rangeStart(response) !== position) throw contradiction('brings another part of the file than was asked for');
    if (response.body === null) throw contradiction('has no content');
    const tag = response.headers.get('etag');
    if (tag?.startsWith('"') === true) etag = tag;
    skip = response.status === 200 ? position : 0;
    return response.body.getReader();
  };

  /** The next bytes that were not delivered yet; never empty. */
  const read = async (): Promise<Uint8Array> => {
    const deadline = running?.deadline ?? startDeadline(WHAT, timeoutMs, outer);
    try {
      running ??= { reader: await open(deadline), deadline };
      for (;;) {
        deadline.restart();
        const { done, value } = await running.reader.read();
        if (done) throw new SnapbackError('network', 'NETWORK', `${WHAT} was cut off at byte ${String(position)} of ${String(end)}.`, { retryable: true });
        const fresh = value.subarray(Math.min(skip, value.length));
        skip -= value.length - fresh.length;
        if (fresh.length > 0) return fresh.subarray(0, end - position);
      }
    } catch (error) {
      drop();
      deadline.dispose();
      if (error instanceof SnapbackError) throw error;
      throw deadline.explain(error, (cause) =>
        new SnapbackError('network', 'NETWORK', `${WHAT} was cut off at byte ${String(position)} of ${String(end)}.`, { cause, retryable: true }));
    } finally {
      deadline.hold();
    }
  };

  const readResumed = async (): Promise<Uint8Array> => {
    for (;;) {
      try {
        const bytes = await read();
        failures = 0;
        heardAt = Date.now();
        return bytes;
      } catch (error) {
        failures += 1;
        const nothingYet = position === start;
        const givesUp = nothingYet ? failures >= retry.attempts : Date.now() - heardAt > retry.resumeForMs;
        if (!(error instanceof SnapbackError) || !error.retryable || givesUp) throw error;
        const delayMs = Math.max(error.retryAfterMs ?? 0, backoffMs(retry, failures));
        connection.emit({ type: 'retry', operation: WHAT, attempt: failures, delayMs, error });
        await pause(delayMs, WHAT, outer);
      }
    }
  };

  const stream = new ReadableStream<Uint8Array>({
    pull: async (controller) => {
      if (position < end) {
        const bytes = await readResumed();
        position += bytes.length;
        hash?.update(bytes);
        if (position < end) {
          controller.enqueue(bytes);
          return;
        }
        drop();
        // Before the last bytes are handed out: nobody ever holds a whole file that is wrong.
        if (hash !== undefined && hash.digest() !== sha256.toLowerCase()) {
          throw new SnapbackError('protocol', 'CHECKSUM_MISMATCH', `${WHAT} brought ${String(size)} bytes whose SHA-256 is not the backup's.`);
        }
        controller.enqueue(bytes);
      }
      controller.close();
    },
    cancel: drop,
  }, { highWaterMark: 0 });

  return { stream, summary: () => ({ fileName, bytes: position - start, sha256: hash === undefined ? null : sha256 }) };
};
