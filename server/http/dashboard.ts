import { existsSync } from 'node:fs';
import { join } from 'node:path';
import express, { type RequestHandler, type Response, Router } from 'express';
import { sendError } from './errors.js';

/** Everything from this service alone; nothing inline, nothing evaluated, no text made into markup, no form sent anywhere. */
const POLICY = [
  "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'", "connect-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
  "require-trusted-types-for 'script'", "trusted-types 'none'",
].join('; ');

export const hasDashboard = (folder: string): boolean => existsSync(join(folder, 'index.html'));

/** Files with a hash in their names never change; the page that names them is asked for anew each time. */
const setHeaders = (res: Response, path: string): void => {
  res.setHeader('content-security-policy', POLICY);
  res.setHeader('permissions-policy', 'camera=(), geolocation=(), microphone=(), payment=()');
  res.setHeader('cache-control', /[\\/]assets[\\/]/.test(path) ? 'public, max-age=31536000, immutable' : 'no-cache');
};

/**
 * The built dashboard: its files, and its page for every other path below that is not a file's, since it tells its pages apart by their
 * paths. Looked for at each request, so that a build that comes later is served.
 */
export const dashboard = (folder: string | undefined): RequestHandler => {
  const router = Router();
  router.use((req, res, next) => {
    if (req.method !== 'GET' && req.method !== 'HEAD') next('router');
    else if (folder === undefined || !hasDashboard(folder)) sendError(res, 404, 'NOT_FOUND', 'The dashboard is not here: it was not built.', 'Run npm run build:dashboard where the service runs.');
    else next();
  });
  if (folder !== undefined) {
    router.use(express.static(folder, { index: false, redirect: false, dotfiles: 'ignore', cacheControl: false, setHeaders }));
    router.use((req, res, next) => {
      if (/\.[^/]*$|^\/assets(?:\/|$)/.test(req.path)) {
        next();
        return;
      }
      setHeaders(res, 'index.html');
      res.sendFile('index.html', { root: folder, cacheControl: false }, (error) => (error ? next(error) : undefined));
    });
  }
  return router;
};
