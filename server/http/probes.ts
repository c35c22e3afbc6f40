import { type Request, type RequestHandler, type Response } from 'express';
import { authorise, type Principal } from '../domain/principal.js';
import { type ReadinessCheck } from './ports.js';

/** The process is up and its event loop turns; says nothing about what it depends on. */
export const healthz: RequestHandler = (_req, res) => {
  res.json({ status: 'up' });
};

/** 200 when everything this process needs to serve is there, else 503; what is wrong is in both. Not ready while stopping, so that no new work is sent here. */
export const readyz = (checks: () => Promise<readonly ReadinessCheck[]>, stopping: () => boolean) => async (_req: Request, res: Response): Promise<void> => {
  const found: readonly ReadinessCheck[] = stopping() ? [{ name: 'process', ok: false, reason: 'The service is stopping.' }] : await checks();
  const ready = found.every(({ ok, blocking = true }) => ok || !blocking);
  res.status(ready ? 200 : 503).json({ status: ready ? 'ready' : 'not ready', checks: found });
};

const LOOPBACK = /^(?:127\.|::1$|::ffff:127\.)/;

/** A proxy on the same machine also comes from loopback, but says for whom. */
const isLocal = (req: Request): boolean =>
  LOOPBACK.test(req.socket.remoteAddress ?? '') && req.get('forwarded') === undefined && req.get('x-forwarded-for') === undefined;

/** For this machine, or for a service-wide key: it names the instances of all projects. */
export const metricsEndpoint = (authenticate: (credential: string | undefined, from?: string) => Promise<Principal>, text: () => Promise<string>) => async (req: Request, res: Response): Promise<void> => {
  if (!isLocal(req)) authorise(await authenticate(req.get('authorization'), req.socket.remoteAddress), 'observe');
  res.type('text/plain; version=0.0.4; charset=utf-8').send(await text());
};
