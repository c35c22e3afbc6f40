import { once } from 'node:events';
import { type Request, type Response } from 'express';
import { DomainError, type ErrorCode } from '../domain/errors.js';
import { type EdgeLog, logFaults } from '../graphql/mask.js';
import { requestIdOf, sendError } from './errors.js';
import { type DownloadFile, type DownloadSource } from './ports.js';
import { chooseRange, type Conditions, evaluateConditions } from './ranges.js';

/** Errors that speak about the link or its backup. They all look alike from outside: whoever guesses must not learn what exists. */
const BAD_LINK: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'BAD_INPUT', 'NOT_FOUND', 'UNAUTHENTICATED', 'FORBIDDEN', 'BACKUP_NOT_AVAILABLE', 'BACKUP_DAMAGED', 'CONFLICT',
]);

const conditionsOf = (req: Request): Conditions => ({
  ifMatch: req.get('if-match'), ifNoneMatch: req.get('if-none-match'), ifModifiedSince: req.get('if-modified-since'),
  ifUnmodifiedSince: req.get('if-unmodified-since'), ifRange: req.get('if-range'), range: req.get('range'),
});

/** RFC 6266 and 8187: a plain ASCII name for old clients, the real one for all others. Neither can leave its quotes. */
export const contentDisposition = (fileName: string): string => {
  const wellFormed = Buffer.from(fileName, 'utf8').toString('utf8');
  const ascii = wellFormed.replace(/[^\x20-\x7e]|["\\/%]/g, '_');
  const encoded = encodeURIComponent(wellFormed).replace(/['()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
  return `attachment; filename="${ascii}"; filename*=UTF-8''${encoded}`;
};

/** Headers that speak about the file and so must not stand on an error. */
const DESCRIPTION = [
  'accept-ranges', 'etag', 'last-modified', 'content-range', 'content-type', 'content-disposition', 'content-length', 'repr-digest', 'x-content-sha256',
];

const describe = (res: Response, file: DownloadFile): void => {
  res.setHeader('accept-ranges', 'bytes');
  res.setHeader('etag', `"${file.etag}"`);
  res.setHeader('last-modified', file.modifiedAt.toUTCString());
  res.setHeader('cache-control', 'no-store');
};

/**
 * Sends bytes as fast as the client takes them and no faster. Anything but exactly the promised number of bytes destroys the connection: the
 * client then sees fewer bytes than Content-Length said, never a shorter file that looks whole.
 */
const stream = async (res: Response, file: DownloadFile, range: { start: bigint; end: bigint }, signal: AbortSignal): Promise<void> => {
  let left = range.end - range.start;
  for await (const chunk of file.read(range, signal)) {
    left -= BigInt(chunk.byteLength);
    if (left < 0n) break;
    if (!res.write(chunk)) await once(res, 'drain', { signal });
    signal.throwIfAborted();
  }
  if (left !== 0n) throw new DomainError('TRUNCATED', `The source of ${file.fileName} gave ${left < 0n ? 'more' : 'fewer'} bytes than asked for (${left} left).`);
  res.end();
};

const answer = async (req: Request, res: Response, file: DownloadFile, signal: AbortSignal): Promise<void> => {
  const conditions = conditionsOf(req);
  describe(res, file);
  const early = evaluateConditions(conditions, file);
  if (early !== undefined) {
    res.status(early).end();
    return;
  }
  // Ranges are defined for GET only (RFC 9110, 14.2).
  const range = req.method === 'GET' ? chooseRange(conditions, file.sizeBytes, file) : { kind: 'whole' as const };
  if (range.kind === 'unsatisfiable') {
    res.setHeader('content-range', `bytes */${file.sizeBytes}`);
    sendError(res, 416, 'BAD_INPUT', `The file has ${file.sizeBytes} bytes; the range asked for lies outside.`);
    return;
  }
  const { start, end } = range.kind === 'part' ? range : { start: 0n, end: file.sizeBytes };
  res.status(range.kind === 'part' ? 206 : 200);
  if (range.kind === 'part') res.setHeader('content-range', `bytes ${start}-${end - 1n}/${file.sizeBytes}`);
  res.setHeader('content-type', 'application/octet-stream');
  res.setHeader('content-disposition', contentDisposition(file.fileName));
  res.setHeader('content-length', String(end - start));
  // Both are about the whole file, also when a part is sent (RFC 9530).
  res.setHeader('repr-digest', `sha-256=:${Buffer.from(file.sha256, 'hex').toString('base64')}:`);
  res.setHeader('x-content-sha256', file.sha256);
  if (req.method === 'HEAD') res.end();
  else await stream(res, file, { start, end }, signal);
};

/**
 * `GET` and `HEAD /downloads/:token`. The token is the only credential.
 * @param idleMs a client that takes nothing for so long is cut, because it holds a reader's lease
 */
export const makeDownloads = (source: DownloadSource, log: EdgeLog, idleMs = 120_000) => async (req: Request, res: Response): Promise<void> => {
  const { method } = req;
  if (method !== 'GET' && method !== 'HEAD') {
    res.setHeader('allow', 'GET, HEAD');
    sendError(res, 405, 'BAD_INPUT', 'Downloads are read with GET or HEAD.');
    return;
  }
  let file: DownloadFile;
  try {
    file = await source.open(String(req.params['token']), method, req.socket.remoteAddress);
  } catch (error) {
    if (!(error instanceof DomainError) || !BAD_LINK.has(error.code)) throw error;
    log.info('A download was refused', { requestId: requestIdOf(res), code: error.code });
    sendError(res, 404, 'NOT_FOUND', 'This download link does not work: it is wrong, expired, used or revoked, or its backup is gone.', 'Make a new link with createDownloadLink.');
    return;
  }
  const gone = new AbortController();
  const onClose = (): void => gone.abort(new DomainError('SOURCE_DISCONNECTED', 'The client closed the download before its end.'));
  res.once('close', onClose);
  res.setTimeout(idleMs, () => res.destroy());
  try {
    if (res.destroyed) onClose();
    await answer(req, res, file, gone.signal);
  } catch (error) {
    if (gone.signal.aborted) return;
    const fault = new Error(`The download of ${file.fileName} broke`, { cause: error });
    if (res.headersSent) {
      logFaults(log, [fault], requestIdOf(res), { route: 'downloads' });
      res.destroy();
      return;
    }
    for (const name of DESCRIPTION) res.removeHeader(name);
    throw fault;
  } finally {
    res.off('close', onClose);
    await file.release();
  }
};
