import express, { type NextFunction, type Request, type RequestHandler, type Response } from 'express';
import { DomainError } from '../domain/errors.js';
import { type Principal } from '../domain/principal.js';
import { type Guard } from '../graphql/guard.js';
import { type Answers, type Live, type Subscribing } from '../graphql/live.js';
import { type EdgeLog, logFaults } from '../graphql/mask.js';
import { requestIdOf, sendError, sendErrors } from './errors.js';
import { originAllowed } from './origin.js';
import { type Places } from './places.js';
import { type WatchAccess } from './ports.js';

export interface StreamSettings {
  /** Between signs of life, so that proxies keep the connection. Default 12,000 ms. */
  heartbeatMs?: number | undefined;
  /** A client that takes nothing of what waits for it for so long is cut. Default 24,000 ms. */
  stallMs?: number | undefined;
}

export interface StreamDeps extends StreamSettings {
  guard: Guard;
  live: Live;
  log: EdgeLog;
  watchAccess: WatchAccess;
  places: Places;
  /** Origins besides our own host whose pages may open streams. */
  allowedOrigins: readonly string[];
  /** Largest request body in bytes. */
  maxBodyBytes: number;
}

const RETRY_SECONDS = 5;
/** The end of a stream that lost its credential, or whose service stops, may take so long to be taken. */
const LINGER_MS = 1_000;

const parsed = (name: 'variables' | 'extensions', { [name]: text }: Request['query']): unknown => {
  if (typeof text !== 'string') return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    throw new DomainError('BAD_INPUT', `"${name}" is not valid JSON.`);
  }
};

/** The operation that a request asks for. */
const askedIn = (req: Request): Subscribing => {
  const { query, operationName, variables, extensions } = req.method === 'GET'
    ? { ...req.query, variables: parsed('variables', req.query), extensions: parsed('extensions', req.query) }
    : ((req.body ?? {}) as Record<string, unknown>);
  if (variables != null && (typeof variables !== 'object' || Array.isArray(variables))) throw new DomainError('BAD_INPUT', '"variables" must be an object.');
  return { query, extensions, operationName: typeof operationName === 'string' ? operationName : undefined, variables: variables as Subscribing['variables'] };
};

/** Pages of other origins are refused, as they are a socket; the answers of those that are let in say so already (`cors`). */
const ownOrigin = (allowed: readonly string[]) => (req: Request, res: Response, next: NextFunction): void => {
  if (originAllowed(req.headers, allowed)) next();
  else sendError(res, 403, 'FORBIDDEN', 'Pages of this origin may not open streams.');
};

/**
 * GraphQL over server-sent events (https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md, "distinct connections mode"), for networks that
 * let no WebSockets through: one subscription for each request, through the same guard and the same answers. A stream ends with `complete` only when
 * the subscription is over; otherwise (restart, lost credential, a reader that takes nothing) it just ends, and the client comes again.
 */
export const makeStreams = (deps: StreamDeps): { handlers: RequestHandler[]; count(): number; stop(): void } => {
  const { guard, live, log, watchAccess, places, heartbeatMs = 12_000, stallMs = 24_000 } = deps;
  /** How to end each of those that are open. */
  const open = new Map<Response, () => void>();
  let stopping = false;

  const full = (res: Response, what: string): void => {
    res.setHeader('retry-after', String(RETRY_SECONDS));
    sendError(res, 503, 'LIMIT_EXCEEDED', what, 'Try again later.');
  };

  /** Until the client has taken what waits for it; false when it does not, or is gone. */
  const taken = (res: Response): Promise<boolean> => new Promise((resolve) => {
    const done = (is: boolean) => (): void => {
      clearTimeout(timer);
      res.off('drain', drained).off('close', closed);
      resolve(is);
    };
    const [drained, closed] = [done(true), done(false)];
    const timer = setTimeout(done(false), stallMs);
    res.once('drain', drained).once('close', closed);
  });

  const pass = async (res: Response, answers: Answers, holds: () => boolean | Promise<boolean>): Promise<void> => {
    for (;;) {
      const { value, done } = await answers.next();
      if (res.writableEnded || res.destroyed) return;
      if (done === true) break;
      if (!(await holds())) return;
      if (res.writableEnded || res.destroyed) return;
      if (res.write(`event: next\ndata: ${value}\n\n`) || (await taken(res))) continue;
      res.destroy();
      return;
    }
    res.write('event: complete\ndata:\n\n');
  };

  const stream = async (caller: Principal, answers: Answers, res: Response): Promise<void> => {
    const requestId = requestIdOf(res);
    const heartbeat = setInterval(() => res.write(':\n\n'), heartbeatMs);
    // Nothing may be written after the end: it would be an error that nobody takes. A client that does not take the end would keep it open.
    const end = (lingerMs: number): void => {
      clearInterval(heartbeat);
      if (res.writableEnded) return;
      res.end();
      setTimeout(() => res.destroy(), lingerMs).unref();
    };
    const access = watchAccess(caller, () => end(LINGER_MS));
    res.once('close', () => {
      clearInterval(heartbeat);
      access.end();
      open.delete(res);
      answers.return?.().catch((error: unknown) => logFaults(log, [error], requestId, { transport: 'sse' }));
    });
    open.set(res, () => end(LINGER_MS));
    res.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-store, no-transform', 'x-accel-buffering': 'no' });
    res.write(':\n\n');
    try {
      await pass(res, answers, () => access.holds());
    } catch (error) {
      // A reader that is too slow comes again by itself; everybody else is told, and it is over.
      if (!(error instanceof DomainError && error.code === 'TOO_SLOW')) {
        logFaults(log, [error], requestId, { transport: 'sse' });
        if (!res.writableEnded) res.write(`event: next\ndata: ${JSON.stringify({ errors: [guard.mask(error, requestId)] })}\n\nevent: complete\ndata:\n\n`);
      }
    } finally {
      end(stallMs);
    }
  };

  const authenticate = async (req: Request, res: Response, next: NextFunction): Promise<void> => {
    res.locals['principal'] = await guard.authenticate(req.get('authorization'), req.socket.remoteAddress);
    next();
  };

  const serve = async (req: Request, res: Response): Promise<void> => {
    const caller = res.locals['principal'] as Principal;
    if (req.method !== 'GET' && req.method !== 'POST') {
      res.setHeader('allow', 'GET, POST');
      return sendError(res, 405, 'BAD_INPUT', 'Streams are opened by GET or POST.');
    }
    if (req.accepts('text/event-stream') === false) return sendError(res, 406, 'BAD_INPUT', 'This path answers with server-sent events only.', 'Send "Accept: text/event-stream".');
    const asked = askedIn(req);
    // Whoever has left meanwhile would never be seen to leave.
    if (res.closed) return;
    const leave = stopping ? null : places.enter();
    if (!leave) return full(res, 'There is no room for another stream.');
    const leaveKey = places.of(caller.keyId);
    if (!leaveKey) {
      leave();
      return full(res, 'This key has as many sockets and streams as it may.');
    }
    res.once('close', () => {
      leave();
      leaveKey();
    });
    const requestId = requestIdOf(res);
    const begun = await live.begin(caller, asked, requestId);
    if ('answers' in begun) {
      if (!res.destroyed) return stream(caller, begun.answers, res);
      await begun.answers.return?.();
      return;
    }
    if (!begun.begun) return sendErrors(res, guard, begun.errors);
    logFaults(log, begun.errors, requestId, { transport: 'sse' });
    res.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
    res.end(`event: next\ndata: ${JSON.stringify({ errors: begun.errors.map((error) => guard.mask(error, requestId)) })}\n\nevent: complete\ndata:\n\n`);
  };

  return {
    handlers: [ownOrigin(deps.allowedOrigins), authenticate, express.json({ limit: deps.maxBodyBytes }), serve],
    count: () => open.size,
    stop() {
      stopping = true;
      for (const end of [...open.values()]) end();
    },
  };
};
