import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startApp, type App } from './app.js';
import { ConfigError, readConfig, type Config } from './config/config.js';
import { DomainError } from './domain/errors.js';
import { type Principal } from './domain/principal.js';
import { startEmbeddedPostgres } from './embedded/postgres.js';
import { resolveRedisBinary } from './embedded/redis-binary.js';
import { startSampleRedis, type SampleRedis } from './embedded/sample-redis.js';
import { writeSecretFile } from './security/secret-file.js';
import { hasDashboard } from './http/dashboard.js';
import { createLogger, type Logger } from './telemetry/logger.js';
import { nextSteps, workerStarted } from './welcome.js';

const SAMPLE_NAME = 'sample';

/** Beside this file, once both are built. */
const DASHBOARD_DIR = fileURLToPath(new URL('../dashboard', import.meta.url));

type Stop = () => Promise<void>;

/**
 * The sample server runs as long as its instance is registered; it is set up at the first start that finds nothing registered and no sample
 * set up before.
 */
const startSample = async (config: Config, app: App, log: Logger, signal: AbortSignal): Promise<SampleRedis | undefined> => {
  if (!config.sampleRedis) return undefined;
  const known = await app.db.read.settings.get('sample-instance');
  const owner = await sampleOwner(app, known);
  if (!owner) return undefined;
  let sample: SampleRedis | undefined;
  try {
    const binary = await resolveRedisBinary({ explicit: config.redisServerBin ?? undefined, cacheDir: join(config.dataDir, 'cache', 'redis'), log, signal });
    sample = await startSampleRedis({ dataDir: join(config.dataDir, 'sample-redis'), binary: binary.server, log, signal });
    if (known === null) await registerSample(app, owner, sample);
    else await followSample(app, owner, known, sample);
    return sample;
  } catch (error) {
    // The service is whole without it; somebody who only wants to look around should know why it is missing.
    log.warn(`No sample Redis: ${describe(error)}`);
    await sample?.stop();
    return undefined;
  }
};

const idOf = (known: string): string => known.split(' ')[1] ?? '';

/** Whose the sample is; undefined when it is not to run: its instance was removed, or others were registered instead of it. */
const sampleOwner = async (app: App, known: string | null): Promise<Principal | undefined> => {
  const act = (keyId: string, projectId: string): Principal => ({
    credential: 'API_KEY', keyId, name: 'the start', projectId, role: 'ADMIN', serviceWide: false, instanceIds: null, expiresAt: null,
  });
  if (known !== null) {
    const owner = act('start', known.split(' ')[0] ?? '');
    const instance = await app.services.instances.get(owner, idOf(known));
    return instance?.removedAt === null ? owner : undefined;
  }
  const firstKey = await app.db.read.settings.get('first-key');
  const key = firstKey === null ? null : await app.db.read.apiKeys.findForLogin(firstKey);
  return key && !(await app.hasInstances()) ? act(key.id, key.projectId) : undefined;
};

const registerSample = async (app: App, owner: Principal, sample: SampleRedis): Promise<void> => {
  const { id } = await app.services.instances.register(owner, { name: SAMPLE_NAME, host: sample.host, port: sample.port, password: sample.password, acceptPartial: false, sourcePreference: 'PREFER_REPLICA', skipSyncDelay: false });
  await app.db.transaction((tx) => tx.settings.claim('sample-instance', `${owner.projectId} ${id}`));
};

/** Another program may have taken the sample's port while it was down; the instance follows it to its new one. */
const followSample = async (app: App, owner: Principal, known: string, sample: SampleRedis): Promise<void> => {
  const instance = await app.services.instances.get(owner, idOf(known));
  if (instance?.removedAt === null && instance.port !== sample.port) await app.services.instances.update(owner, { instanceId: instance.id, port: sample.port });
};

const describe = (error: unknown): string =>
  error instanceof DomainError ? [error.message, error.hint].filter(Boolean).join(' ') : error instanceof Error ? error.message : String(error);

interface Ending {
  /** Fires when the process is to be stopped. */
  signal: AbortSignal;
  fail: (message: string) => void;
}

const run = async (config: Config, log: Logger, stops: Stop[], { signal, fail }: Ending): Promise<void> => {
  await mkdir(config.dataDir, { recursive: true, mode: 0o700 });
  let { databaseUrl } = config;
  if (databaseUrl === null) {
    const postgres = await startEmbeddedPostgres({ dataDir: join(config.dataDir, 'postgres'), log, signal });
    stops.push(() => postgres.stop());
    // Without its database this process can do nothing; a supervisor, or the next start, brings both back.
    void postgres.ended.then(() => signal.aborted || fail('The embedded PostgreSQL has ended; stopping.'));
    databaseUrl = postgres.url;
  }
  const keyFile = join(config.dataDir, 'admin-key');
  const app = await startApp({
    config, databaseUrl, log, processMetrics: true, dashboardDir: DASHBOARD_DIR, dataThread: new URL('./data-thread.js', import.meta.url),
    keepFirstKey: async (text) => void (await writeSecretFile(keyFile, `${text}\n`, { replace: true })),
  });
  // The sample ends after the service, whose jobs may be at work on it.
  const sample: { stop?: Stop } = {};
  stops.push(async () => sample.stop?.(), () => app.stop());
  sample.stop = (await startSample(config, app, log, signal))?.stop;
  if (signal.aborted) return;
  const dashboard = hasDashboard(DASHBOARD_DIR);
  if (!dashboard && config.role !== 'worker') log.warn('The dashboard is not there: it was not built. Run npm run build:dashboard.');
  process.stdout.write(config.role === 'worker' && !app.firstKey ? workerStarted(app.url) : nextSteps({ url: app.url, key: app.firstKey?.text, keyFile, dashboard }));
};

/** Exit codes: 0 stopped as asked, 1 could not start or a fault ended it, 2 the configuration is wrong. */
const main = (): void => {
  let config: Config;
  try {
    config = readConfig();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exit(2);
  }
  const log = createLogger({ level: config.log.level, format: config.log.format, write: (line) => void process.stderr.write(line) });
  const stops: Stop[] = [];
  const stopping = new AbortController();
  let running: Promise<void> = Promise.resolve();
  let ending: Promise<void> | undefined;
  const end = (code: number): Promise<void> =>
    (ending ??= (async () => {
      let exit = code;
      stopping.abort();
      // What is being started is stopped too: it stands in `stops` only once it has started.
      await running.catch(() => undefined);
      for (const stop of stops.splice(0).reverse()) {
        await stop().catch((error: unknown) => {
          log.error('A part could not be stopped cleanly.', { error: describe(error) });
          exit = 1;
        });
      }
      // Agenda leaves a timer behind that would hold the process for seconds.
      process.exit(exit);
    })());
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.on(name, () => {
      if (!ending) log.info(`${name}: stopping.`);
      void end(0);
    });
  }
  const fail = (message: string): void => {
    log.error(message);
    void end(1);
  };
  // Its text goes through the log, which hides secrets, and the databases are stopped.
  process.on('uncaughtException', (error) => {
    log.error('A fault that nobody expected; stopping.', { error });
    void end(1);
  });
  running = run(config, log, stops, { signal: stopping.signal, fail });
  running.catch((error: unknown) => {
    if (stopping.signal.aborted) return;
    if (!(error instanceof DomainError)) log.debug('The fault in full.', { error: error instanceof Error ? error.stack : String(error) });
    fail(`Could not start: ${describe(error)}`);
  });
};

main();
