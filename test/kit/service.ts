import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { createClient, type Client } from '../../sdk/src/index.js';
import { startApp, type App } from '../../server/app.js';
import { readConfig, type Config } from '../../server/config/config.js';
import { type Clock } from '../../server/engine/ports.js';
import { createLogger } from '../../server/telemetry/logger.js';
import { canary, dumpOf, manifestsIn } from './canary.js';
import { createTestDatabase } from './postgres.js';
import { makeTempDir, removeTempDir } from './processes.js';
import { quietZone } from './quiet-zone.js';
import { transpile } from './transpile.js';

export interface TestServiceOptions {
  /** Settings as an operator would give them. Without others, servers of this machine may be dialled, and asked for their data as often as tests do. */
  env?: Readonly<Record<string, string>>;
  clock?: Clock;
  /** The folder of a built dashboard. Default none. */
  dashboardDir?: string;
}

/** A whole service of one test: own database, own folder, own port. */
export interface TestService {
  app: App;
  config: Config;
  url: string;
  /** The admin key. */
  key: string;
  sdk: Client;
  /** Everything logged so far. */
  logs(): string;
  dataDir: string;
  databaseUrl: string;
  storeRoot: string;
  /** Stops this service and starts another on the same database and folder. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

/** Where the servers of tests listen; a service with a database of its own does not go there unasked. */
export const LOOPBACK = '127.0.0.0/8, ::1';

let thread: URL | undefined;
/** Threads run JavaScript only. */
const dataThread = (): URL => (thread ??= pathToFileURL(join(transpile('server/data-thread.ts', 'server/engine', 'server/domain', 'server/security'), 'server/data-thread.js')));

/** Starts a service in this process over a database of its own. `stop` it in `afterAll` or `finally`. */
export const startService = async ({ env = {}, clock, dashboardDir }: TestServiceOptions = {}): Promise<TestService> => {
  const database = await createTestDatabase();
  const dataDir = await makeTempDir('service');
  const lines: string[] = [];
  const log = createLogger({ level: 'debug', format: 'json', write: (line) => void lines.push(line) });
  const config = readConfig({ DATA_DIR: dataDir, DATABASE_URL: database.url, PORT: '0', DRAIN_SECONDS: '5', SOURCE_SYNCS: '10000', SOURCE_FAILED_SYNCS: '10000', CONNECT_ALLOW: LOOPBACK, ...(clock ? {} : { DEFAULT_TIME_ZONE: quietZone() }), ...env });
  let key = '';
  const start = (): Promise<App> =>
    startApp({
      config, databaseUrl: database.url, log, dataThread: dataThread(), dashboardDir, ...(clock ? { clock } : {}),
      keepFirstKey: (text) => {
        key = text;
        return Promise.resolve();
      },
    });
  const leaveCanary = canary?.enter();
  const app = await start().catch(async (error: unknown) => {
    leaveCanary?.('a service that did not start', { log: lines.join('') });
    await database.drop();
    await removeTempDir(dataDir);
    throw error;
  });
  const service: TestService = {
    app, config, key, dataDir,
    url: app.url,
    databaseUrl: database.url,
    storeRoot: join(dataDir, 'store'),
    sdk: createClient({ url: app.url, token: key }),
    logs: () => lines.join(''),
    async restart() {
      await service.app.stop();
      service.app = await start();
      service.url = service.app.url;
      canary?.hear(service.url);
      service.sdk = createClient({ url: service.url, token: key });
    },
    async stop() {
      const metrics = leaveCanary && (await metricsOf(service));
      await service.app.stop();
      try {
        if (leaveCanary) {
          const [dump, manifests] = [await dumpOf(database.url), await manifestsIn(service.storeRoot)];
          leaveCanary('a service of a test', { log: lines.join(''), database: dump, manifests, metrics: metrics ?? '' });
        }
      } finally {
        await database.drop();
        await removeTempDir(dataDir);
      }
    },
  };
  if (canary) {
    canary.hear(service.url);
    canary.hideSettings({ DATABASE_URL: database.url, ...env });
    canary.hide(key.slice(30, 73));
    canary.hide((await readFile(config.masterKeyFile, 'utf8').catch(() => '')).trim());
  }
  return service;
};

/** A service that has been stopped already tells nothing more. */
const metricsOf = async ({ app, key }: TestService): Promise<string> =>
  fetch(`${app.url}/metrics`, { headers: { authorization: `Bearer ${key}` } }).then((response) => response.text(), () => '');

export { type Client } from '../../sdk/src/index.js';
