import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { type AddressInfo } from 'node:net';
import express, { type NextFunction, type Request, type Response } from 'express';
import { type GraphQLSchema } from 'graphql';
import { type Principal } from '../domain/principal.js';
import { makeGuard } from '../graphql/guard.js';
import { type DocumentLimits } from '../graphql/limits.js';
import { type EdgeLog } from '../graphql/mask.js';
import { type Services } from '../services/api.js';
import { makeDownloads } from './downloads.js';
import { errorHandler, sendError } from './errors.js';
import { explorer } from './explorer.js';
import { makeGraphqlEndpoint } from './graphql-endpoint.js';
import { requestId, securityHeaders } from './headers.js';
import { type DownloadSource, type ObserveRequest, type ReadinessCheck } from './ports.js';
import { healthz, metricsEndpoint, readyz } from './probes.js';
import { makeSockets, type SocketDeps } from './sockets.js';

export interface HttpAppDeps {
  /** Default ALL. PROBES: nothing but /healthz, /readyz and /metrics. */
  serves?: 'ALL' | 'PROBES' | undefined;
  schema: GraphQLSchema;
  services: Services;
  /** Whom an API key belongs to; undefined when it is unknown, expired or revoked. */
  authenticate(token: string): Promise<Principal | undefined>;
  downloads: DownloadSource;
  readiness(): Promise<readonly ReadinessCheck[]>;
  /** Everything measured, in the Prometheus text format. */
  metrics(): Promise<string>;
  log: EdgeLog;
  /** Default true. */
  introspection?: boolean | undefined;
  limits?: Partial<DocumentLimits> | undefined;
  /** Origins besides the own host whose pages may open sockets. Default none. */
  allowedOrigins?: readonly string[] | undefined;
  sockets?: Pick<SocketDeps, 'initTimeoutMs' | 'pingMs' | 'maxFrameBytes' | 'maxOperations'> | undefined;
  /** Largest request body in bytes. Default 1 MiB. */
  maxBodyBytes?: number | undefined;
  /** A download whose client takes nothing for so long is cut. Default 120,000 ms. */
  downloadIdleMs?: number | undefined;
  observe?: ObserveRequest | undefined;
}

export interface HttpApp {
  server: Server;
  /** @param port 0 for any free one; the answer says which */
  listen(port: number, host: string): Promise<{ port: number }>;
  /** Sockets open now. */
  sockets(): number;
  /**
   * Takes no more connections, closes sockets with 1012, lets running requests end for at most `drainMs` (default 10,000), then cuts them.
   * May be called twice.
   */
  stop(drainMs?: number): Promise<void>;
}

const ROUTES = /^\/(graphql|downloads|healthz|readyz|metrics|explorer)(?:\/|$)/;

const observer = (observe: ObserveRequest) => (req: Request, res: Response, next: NextFunction): void => {
  const started = process.hrtime.bigint();
  const { method, path } = req;
  res.once('close', () => observe({
    route: ROUTES.exec(path)?.[1] ?? (path === '/' ? 'explorer' : 'other'), method, status: res.statusCode, seconds: Number(process.hrtime.bigint() - started) / 1e9,
  }));
  next();
};

/** Everything this service answers on its one port. Builds no services: they come in, so that any number of apps can live in one process. */
export const createHttpApp = async (deps: HttpAppDeps): Promise<HttpApp> => {
  const { schema, services, log } = deps;
  const all = deps.serves !== 'PROBES';
  const guard = makeGuard({ schema, authenticate: deps.authenticate, limits: deps.limits });
  const graphql = await makeGraphqlEndpoint({
    schema, guard, services, log, introspection: deps.introspection ?? true, maxBodyBytes: deps.maxBodyBytes ?? 1024 * 1024,
  });
  const sockets = makeSockets({ schema, guard, services, log, path: '/graphql', allowedOrigins: deps.allowedOrigins ?? [], ...deps.sockets });
  let stopping: Promise<void> | undefined;

  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.set('trust proxy', false);
  app.use(requestId, securityHeaders);
  if (deps.observe) app.use(observer(deps.observe));
  app.get('/healthz', healthz);
  app.get('/readyz', readyz(deps.readiness, () => stopping !== undefined));
  app.get('/metrics', metricsEndpoint(guard, deps.metrics));
  if (all) {
    app.all('/downloads/:token', makeDownloads(deps.downloads, log, deps.downloadIdleMs));
    app.use('/graphql', ...graphql.handlers);
    app.use(explorer());
  }
  app.use((req: Request, res: Response) => sendError(res, 404, 'NOT_FOUND', `There is nothing at ${req.method} ${req.path}.`));
  app.use(errorHandler(log));

  const server = createServer({ headersTimeout: 15_000, requestTimeout: 60_000, keepAliveTimeout: 65_000 }, app);
  if (all) sockets.attach(server);

  const shutDown = async (drainMs: number): Promise<void> => {
    const closed = server.listening ? once(server, 'close') : Promise.resolve();
    server.close();
    const idle = setInterval(() => server.closeIdleConnections(), 50);
    const cut = setTimeout(() => server.closeAllConnections(), drainMs);
    await sockets.stop(Math.min(drainMs, 1_000));
    await closed;
    clearInterval(idle);
    clearTimeout(cut);
    await graphql.stop();
  };

  return {
    server,
    sockets: () => sockets.count(),
    async listen(port, host) {
      server.listen(port, host);
      await once(server, 'listening');
      return { port: (server.address() as AddressInfo).port };
    },
    stop: (drainMs = 10_000) => (stopping ??= shutDown(drainMs)),
  };
};
