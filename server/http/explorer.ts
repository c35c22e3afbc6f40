import { randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import express, { type Request, type Response, Router } from 'express';
import { BOOT_CSS, BOOT_JS, explorerPage } from './explorer-page.js';

/** `Host` as it may stand in a policy: old Safari does not count a WebSocket to the own host as 'self'. */
const HOST = /^[A-Za-z0-9.:[\]-]{1,255}$/;

const policy = (nonce: string, host: string): string => {
  const sockets = HOST.test(host) ? ` ws://${host} wss://${host}` : '';
  return [
    "default-src 'none'", "script-src 'self'", `style-src 'self' 'nonce-${nonce}'`, "style-src-attr 'unsafe-inline'", "img-src 'self' data:",
    "font-src 'self' data:", `connect-src 'self'${sockets}`, "worker-src 'self' blob:", "base-uri 'self'", "form-action 'none'", "frame-ancestors 'none'",
  ].join('; ');
};

/** The explorer at `/`, from files of this installation alone: it works without internet. */
export const explorer = (): Router => {
  const folder = join(dirname(createRequire(import.meta.url).resolve('altair-static/package.json')), 'build', 'dist');
  const router = Router();
  router.get('/', (req: Request, res: Response) => {
    const nonce = randomBytes(16).toString('base64');
    res.setHeader('content-security-policy', policy(nonce, req.get('host') ?? ''));
    res.type('html').send(explorerPage(nonce));
  });
  router.get('/explorer/boot.js', (_req, res) => void res.type('text/javascript').send(BOOT_JS));
  router.get('/explorer/boot.css', (_req, res) => void res.type('css').send(BOOT_CSS));
  router.use('/explorer', express.static(folder, { index: false, redirect: false, cacheControl: true, maxAge: '1h', setHeaders: (res) => res.setHeader('cache-control', 'public, max-age=3600') }));
  return router;
};
