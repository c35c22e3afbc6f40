import { type GraphQLSchema } from 'graphql';
import { type Documents } from '../graphql/documents.js';
import { makeGuard } from '../graphql/guard.js';
import { type DocumentLimits } from '../graphql/limits.js';
import { makeLive } from '../graphql/live.js';
import { type Services } from '../services/api.js';
import { cors } from './cors.js';
import { dashboard } from './dashboard.js';
import { makeDownloads } from './downloads.js';
import { explorer } from './explorer.js';
import { makeGraphqlEndpoint } from './graphql-endpoint.js';
import { createPlaces } from './places.js';
import { type DownloadSource, type WatchAccess } from './ports.js';
import { createHttpServer, type HttpServer, type ProbeDeps } from './server.js';
import { sdkVersion } from './sdk-version.js';
import { makeSockets, type SocketSettings } from './sockets.js';
import { makeStreams, type StreamSettings } from './streams.js';

export interface HttpAppDeps extends ProbeDeps {
  schema: GraphQLSchema;
  services: Services;
  downloads: DownloadSource;
  watchAccess: WatchAccess;
  /** Default true. */
  introspection?: boolean | undefined;
  limits?: Partial<DocumentLimits> | undefined;
  /** Of each key, in points of cost; null: no limit. Default null. */
  pointsPerMinute?: number | null | undefined;
  /** Default: any document, none registered. */
  documents?: Documents | undefined;
  /** Origins besides the own host whose pages may open sockets and read answers. Default none. */
  allowedOrigins?: readonly string[] | undefined;
  sockets?: (SocketSettings & {
    /** Sockets and streams at once, of all keys. Default 2,000. */
    maxSockets?: number | undefined;
    /** The same of one key. Default 100. */
    maxSocketsOfKey?: number | undefined;
  }) | undefined;
  streams?: StreamSettings | undefined;
  /** Largest request body in bytes. Default 1 MiB. */
  maxBodyBytes?: number | undefined;
  /** Longest answer to a query or mutation, in characters. Default 1,000,000. */
  maxAnswerLength?: number | undefined;
  /** The folder of the built dashboard. Where there is none, `/dashboard` says that it is missing. */
  dashboardDir?: string | undefined;
  /** A download whose client takes nothing for so long is cut. Default 120,000 ms. */
  downloadIdleMs?: number | undefined;
}

export interface HttpApp extends HttpServer {
  /** Sockets open now. */
  sockets(): number;
  /** Streams open now. */
  streams(): number;
}

/** Everything this service answers on its one port. Builds no services: they come in, so that any number of apps can live in one process. */
export const createHttpApp = async (deps: HttpAppDeps): Promise<HttpApp> => {
  const { schema, services, log } = deps;
  const guard = makeGuard({ schema, authenticate: deps.authenticate, limits: deps.limits, introspection: deps.introspection, pointsPerMinute: deps.pointsPerMinute, faultPasses: deps.faultPasses, documents: deps.documents });
  const maxBodyBytes = deps.maxBodyBytes ?? 1024 * 1024;
  const graphql = await makeGraphqlEndpoint({
    schema, guard, services, log, introspection: deps.introspection ?? true, maxBodyBytes, maxAnswerLength: deps.maxAnswerLength ?? 1_000_000,
  });
  const live = makeLive({ schema, guard, services, log });
  const places = createPlaces(deps.sockets?.maxSockets ?? 2_000, deps.sockets?.maxSocketsOfKey ?? 100);
  const sockets = makeSockets({ guard, live, log, watchAccess: deps.watchAccess, places, path: '/graphql', allowedOrigins: deps.allowedOrigins ?? [], ...deps.sockets });
  const streams = makeStreams({ guard, live, log, watchAccess: deps.watchAccess, places, allowedOrigins: deps.allowedOrigins ?? [], maxBodyBytes, ...deps.streams });
  const http = createHttpServer(deps, {
    mount(app) {
      app.use(['/graphql', '/downloads'], cors(deps.allowedOrigins ?? []));
      app.use('/graphql', sdkVersion);
      app.all('/downloads/:token', makeDownloads(deps.downloads, log, deps.downloadIdleMs));
      app.all('/graphql/stream', ...streams.handlers);
      app.use('/graphql', ...graphql.handlers);
      app.use('/dashboard', dashboard(deps.dashboardDir));
      app.use(explorer());
    },
    attach: (server) => sockets.attach(server),
    endSockets(graceMs) {
      streams.stop();
      return sockets.stop(graceMs);
    },
    stop: () => graphql.stop(),
  });
  return { ...http, sockets: () => sockets.count(), streams: () => streams.count() };
};
