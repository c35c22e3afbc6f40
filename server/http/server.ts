import { once } from 'node:events';
import { createServer, type Server, STATUS_CODES } from 'node:http';
import { type AddressInfo } from 'node:net';
import { type Duplex } from 'node:stream';
import express, { type Express, type NextFunction, type Request, type Response } from 'express';
import { type ErrorCode } from '../domain/errors.js';
import { callerOf, type FindCaller } from '../graphql/credential.js';
import { type EdgeLog, type FaultPasses } from '../graphql/mask.js';
import { errorHandler, sendError } from './errors.js';
import { requestId, securityHeaders } from './headers.js';
import { type ObserveRequest, type ReadinessCheck } from './ports.js';
import { healthz, metricsEndpoint, readyz } from './probes.js';

/** What every process answers, whatever else it does: how it is. */
export interface ProbeDeps {
  /** Whom an API key belongs to; undefined when it is unknown, expired or revoked. */
  authenticate: FindCaller;
  readiness(): Promise<readonly ReadinessCheck[]>;
  /** Everything measured, in the Prometheus text format. */
  metrics(): Promise<string>;
  log: EdgeLog;
  /** Faults of the service that go away by themselves: whoever meets one may ask again. Default none. */
  faultPasses?: FaultPasses | undefined;
  observe?: ObserveRequest | undefined;
  /** A connection is cut over which nothing has moved for so long: its client takes no answer, or sends no request to its end. Default 120,000 ms. */
  idleMs?: number | undefined;
}

export interface HttpServer {
  server: Server;
  /** @param port 0 for any free one; the answer says which */
  listen(port: number, host: string): Promise<{ port: number }>;
  /**
   * Takes no more connections, closes sockets with 1012, lets running requests end for at most `drainMs` (default 10,000), then cuts them.
   * May be called twice.
   */
  stop(drainMs?: number): Promise<void>;
}

/** What a process answers besides the probes. */
export interface Served {
  mount(app: Express): void;
  attach(server: Server): void;
  /** Ends what would not end by itself, within `graceMs`. */
  endSockets(graceMs: number): Promise<void>;
  stop(): Promise<void>;
}

/** Thousands of clients come back at once when a node has been restarted; what does not fit here waits a second for its next attempt. */
const BACKLOG = 4_096;

const ROUTES = /^\/(graphql\/stream|graphql|downloads|healthz|readyz|metrics|explorer|dashboard)(?:\/|$)/;

const observer = (observe: ObserveRequest) => (req: Request, res: Response, next: NextFunction): void => {
  const started = process.hrtime.bigint();
  const { method, path } = req;
  res.once('close', () => observe({
    route: ROUTES.exec(path)?.[1] ?? (path === '/' ? 'explorer' : 'other'), method, status: res.statusCode, seconds: Number(process.hrtime.bigint() - started) / 1e9,
  }));
  next();
};

/** What Node refuses before there is a request, by the code of its error. */
const REFUSED: Readonly<Record<string, [status: number, code: ErrorCode, message: string]>> = {
  HPE_HEADER_OVERFLOW: [431, 'LIMIT_EXCEEDED', 'The headers are larger than this service takes.'],
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'TOO_SLOW', 'The request took too long to arrive.'],
};

/** In the shape of every other answer, where the client can still be told. */
const refuseUnreadable = (error: Error & { code?: string }, socket: Duplex): void => {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  const [status, code, message] = REFUSED[error.code ?? ''] ?? [400, 'BAD_INPUT', 'This is no HTTP request.'];
  const body = JSON.stringify({ errors: [{ message, extensions: { code } }] });
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\nConnection: close\r\nContent-Type: application/json; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
};

/** The one port of a process: probes, and what is `served` besides them. Without it, everything else is 404. */
export const createHttpServer = (deps: ProbeDeps, served?: Served): HttpServer => {
  let stopping: Promise<void> | undefined;
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.set('trust proxy', false);
  app.use(requestId, securityHeaders);
  if (deps.observe) app.use(observer(deps.observe));
  app.get('/healthz', healthz);
  app.get('/readyz', readyz(deps.readiness, () => stopping !== undefined));
  app.get('/metrics', metricsEndpoint((credential, from) => callerOf(deps.authenticate, credential, from), deps.metrics));
  served?.mount(app);
  app.use((req: Request, res: Response) => sendError(res, 404, 'NOT_FOUND', `There is nothing at ${req.method} ${req.path}.`));
  app.use(errorHandler(deps.log, deps.faultPasses));

  const server = createServer({ headersTimeout: 15_000, requestTimeout: 60_000, keepAliveTimeout: 65_000 }, app);
  server.setTimeout(deps.idleMs ?? 120_000);
  server.on('clientError', refuseUnreadable);
  served?.attach(server);

  const shutDown = async (drainMs: number): Promise<void> => {
    const closed = server.listening ? once(server, 'close') : Promise.resolve();
    server.close();
    const idle = setInterval(() => server.closeIdleConnections(), 50);
    const cut = setTimeout(() => server.closeAllConnections(), drainMs);
    await served?.endSockets(Math.min(drainMs, 1_000));
    await closed;
    clearInterval(idle);
    clearTimeout(cut);
    await served?.stop();
  };

  return {
    server,
    async listen(port, host) {
      server.listen({ port, host, backlog: BACKLOG });
      await once(server, 'listening');
      return { port: (server.address() as AddressInfo).port };
    },
    stop: (drainMs = 10_000) => (stopping ??= shutDown(drainMs)),
  };
};
