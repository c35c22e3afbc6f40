import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startApp, type App } from './app.js';
import { ConfigError, readConfig, type Config } from './config/config.js';
import { DomainError } from './domain/errors.js';
import { type Principal } from './domain/principal.js';
import { startEmbeddedPostgres } from './embedded/postgres.js';
import { resolveRedisBinary } from './embedded/redis-binary.js';
import { startSampleRedis, type SampleRedis } from './embedded/sample-redis.js';
import { createLogger, type Logger } from './telemetry/logger.js';
import { nextSteps } from './welcome.js';

const SAMPLE_NAME = 'sample';

type Stop = () => Promise<void>;

/** The sample server runs whenever it was set up once, or nothing else is registered yet. */
const startSample = async (config: Config, app: App, log: Logger): Promise<SampleRedis | undefined> => {
  if (!config.sampleRedis) return undefined;
  const admin: Principal | null = app.firstKey && { keyId: app.firstKey.keyId, projectId: app.firstKey.projectId, role: 'ADMIN' };
  const dataDir = join(config.dataDir, 'sample-redis');
  const setUp = await app.db.read.settings.get('sample-instance');
  if (!admin && setUp === null) return undefined;
  try {
    const binary = await resolveRedisBinary({ explicit: config.redisServerBin ?? undefined, cacheDir: join(config.dataDir, 'cache', 'redis'), log });
    const sample = await startSampleRedis({ dataDir, binary: binary.server, log });
    if (setUp !== null) await followSample(app, setUp, sample);
    else if (admin) await registerSample(app, admin, sample);
    return sample;
  } catch (error) {
    // The service is whole without it; somebody who only wants to look around should know why it is missing.
    log.warn(`No sample Redis: ${describe(error)}`);
    return undefined;
  }
};

const registerSample = async (app: App, admin: Principal, sample: SampleRedis): Promise<void> => {
  if (await app.hasInstances()) return;
  const { id } = await app.services.instances.register(admin, { name: SAMPLE_NAME, host: sample.host, port: sample.port, password: sample.password, acceptPartial: false });
  await app.db.transaction((tx) => tx.settings.claim('sample-instance', `${admin.projectId} ${id}`));
};

/** Another program may have taken the sample's port while it was down; the instance follows it to its new one. */
const followSample = async (app: App, setUp: string, sample: SampleRedis): Promise<void> => {
  const [projectId = '', instanceId = ''] = setUp.split(' ');
  const owner: Principal = { keyId: 'start', projectId, role: 'ADMIN' };
  const instance = await app.services.instances.get(owner, instanceId);
  if (!instance || instance.removedAt !== null || instance.port === sample.port) return;
  await app.services.instances.update(owner, { instanceId, port: sample.port });
};

const describe = (error: unknown): string =>
  error instanceof DomainError ? [error.message, error.hint].filter(Boolean).join(' ') : error instanceof Error ? error.message : String(error);

interface Ending {
  /** Whether the process is being stopped. */
  ending: () => boolean;
  fail: (message: string) => void;
}

const run = async (config: Config, log: Logger, stops: Stop[], { ending, fail }: Ending): Promise<void> => {
  await mkdir(config.dataDir, { recursive: true, mode: 0o700 });
  let { databaseUrl } = config;
  if (databaseUrl === null) {
    const postgres = await startEmbeddedPostgres({ dataDir: join(config.dataDir, 'postgres'), log });
    stops.push(() => postgres.stop());
    // Without its database this process can do nothing; a supervisor, or the next start, brings both back.
    void postgres.ended.then(() => ending() || fail('The embedded PostgreSQL has ended; stopping.'));
    databaseUrl = postgres.url;
  }
  const keyFile = join(config.dataDir, 'admin-key');
  const app = await startApp({
    config, databaseUrl, log, processMetrics: true,
    keepFirstKey: (text) => writeFile(keyFile, `${text}\n`, { mode: 0o600, flush: true }),
  });
  // The sample ends after the service, whose jobs may be at work on it.
  const sample: { stop?: Stop } = {};
  stops.push(async () => sample.stop?.(), () => app.stop());
  sample.stop = (await startSample(config, app, log))?.stop;
  process.stdout.write(nextSteps({ url: app.url, key: app.firstKey?.text, keyFile }));
};

/** Exit codes: 0 stopped as asked, 1 could not start or a fault ended it, 2 the configuration is wrong. */
const main = async (): Promise<void> => {
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
  let ending: Promise<void> | undefined;
  const end = (code: number): Promise<void> =>
    (ending ??= (async () => {
      let exit = code;
      for (const stop of stops.splice(0).reverse()) {
        await stop().catch((error: unknown) => {
          log.error('A part could not be stopped cleanly.', { error: describe(error) });
          exit = 1;
        });
      }
      // Agenda leaves a timer behind that would hold the process for seconds.
      process.exit(exit);
    })());
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      if (!ending) log.info(`${signal}: stopping.`);
      void end(0);
    });
  }
  try {
    await run(config, log, stops, {
      ending: () => ending !== undefined,
      fail: (message) => {
        log.error(message);
        void end(1);
      },
    });
  } catch (error) {
    log.error(`Could not start: ${describe(error)}`);
    if (!(error instanceof DomainError)) log.debug('The fault in full.', { error: error instanceof Error ? error.stack : String(error) });
    await end(1);
  }
};

await main();
