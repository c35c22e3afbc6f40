import { randomUUID } from 'node:crypto';
import { type NextFunction, type Request, type Response } from 'express';

/** An id that a caller or proxy gave is kept when it is harmless in a log line; otherwise a new one is made. */
const GIVEN_ID = /^[A-Za-z0-9._-]{8,64}$/;

export const requestId = (req: Request, res: Response, next: NextFunction): void => {
  const given = req.get('x-request-id');
  res.setHeader('x-request-id', given !== undefined && GIVEN_ID.test(given) ? given : randomUUID());
  next();
};

/** For everything but the explorer, which needs a policy of its own: nothing here is meant to be rendered by a browser. */
export const securityHeaders = (_req: Request, res: Response, next: NextFunction): void => {
  res.setHeader('x-content-type-options', 'nosniff');
  res.setHeader('x-frame-options', 'DENY');
  res.setHeader('referrer-policy', 'no-referrer');
  res.setHeader('cross-origin-opener-policy', 'same-origin');
  res.setHeader('cross-origin-resource-policy', 'same-origin');
  res.setHeader('content-security-policy', "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'");
  res.setHeader('cache-control', 'no-store');
  next();
};
