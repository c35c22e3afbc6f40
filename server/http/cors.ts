import { type NextFunction, type Request, type RequestHandler, type Response } from 'express';
import { originAllowed } from './origin.js';

/** What the SDK reads of answers, besides what browsers show of each. */
const EXPOSED = [
  'x-request-id', 'retry-after', 'x-snapback-sdk-majors', 'accept-ranges', 'content-disposition', 'content-length', 'content-range', 'etag', 'repr-digest', 'x-content-sha256',
].join(', ');

/** Names of headers, as a browser lists those that a page wants to send. */
const HEADER_NAMES = /^[\w!#$%&'*+.^`|~-]+(?:, ?[\w!#$%&'*+.^`|~-]+)*$/;

/**
 * Lets pages of our own host and of `origins` read answers and send what headers they like; nothing here goes by cookies, so a page can do no more than its key can.
 * Answers preflights itself, for origins that are let in and for no others.
 */
export const cors = (origins: readonly string[]): RequestHandler => (req: Request, res: Response, next: NextFunction): void => {
  res.vary('Origin');
  const origin = req.get('origin');
  if (origin === undefined || !originAllowed(req.headers, origins)) return next();
  res.setHeader('access-control-allow-origin', origin);
  res.setHeader('access-control-expose-headers', EXPOSED);
  const method = req.get('access-control-request-method');
  if (req.method !== 'OPTIONS' || method === undefined) return next();
  res.setHeader('access-control-allow-methods', 'GET, HEAD, POST');
  const asked = req.get('access-control-request-headers') ?? '';
  if (HEADER_NAMES.test(asked)) res.setHeader('access-control-allow-headers', asked);
  res.setHeader('access-control-max-age', '600');
  res.status(204).end();
};
