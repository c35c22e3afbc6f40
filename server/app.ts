import { randomBytes, randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { type Config } from './config/config.js';
import { createDatabase } from './db/database.js';
import { startDatabaseClock } from './db/database-clock.js';
import { openDataSource } from './db/data-source.js';
import { migrate } from './db/migrate.js';
import { EVENTS_CHANNEL } from './db/repositories/job-event.repository.js';
import { engineGate } from './domain/capability.js';
import { makeId } from './domain/ids.js';
import { SealingThreads } from './engine/archive/archive.js';
import { dialAgents } from './engine/dial-agents.js';
import { type Clock, type Dial } from './engine/ports.js';
import { type Store } from './engine/store/store.js';
import { type LinkPlace } from './engine/target/check.js';
import { createEnginePort } from './engine-port.js';
import { createEventFeed } from './events/feed.js';
import { createEventHub } from './events/hub.js';
import { stateTopic, topicsOf } from './events/topics.js';
import { type FindCaller } from './graphql/credential.js';
import { type HttpAppDeps } from './http/app.js';
import { type ObserveRequest } from './http/ports.js';
import { createHttpServer, type HttpServer } from './http/server.js';
import { AgendaClock } from './jobs/agenda-clock.js';
import { createLastingQueue } from './jobs/lasting-queue.js';
import { createOutbox, type Outbox } from './jobs/outbox.js';
import { createWaker, everyStep, forgetOld, startCollecting, together, wakeWaiting } from './jobs/reconcile.js';
import { createRunner } from './jobs/runner.js';
import { createBackupTask } from './jobs/tasks/backup.task.js';
import { createDeleteTask } from './jobs/tasks/delete.task.js';
import { createInspectTask } from './jobs/tasks/inspect.task.js';
import { createPlanTask } from './jobs/tasks/plan.task.js';
import { createRestoreTask } from './jobs/tasks/restore.task.js';
import { createVerifyTask } from './jobs/tasks/verify.task.js';
import { attachStore, catalogueIdOf } from './jobs/upkeep/attachment.js';
import { createSyncDelaySettler } from './jobs/upkeep/settle-sync-delays.js';
import { createUpkeep, type Upkeep } from './jobs/upkeep/upkeep.js';
import { createAuditSigner } from './security/audit-signer.js';
import { createAccessWatch } from './security/access-watch.js';
import { type AuthenticatorDeps, createApiKeyMaker, createAuthenticator } from './security/api-keys.js';
import { createConnectPolicy, OwnPorts, portsOnThisMachine } from './security/connect-policy.js';
import { createDial, createPermit, TLS_DEFAULTS } from './security/dial.js';
import { createFetchJson } from './security/fetch-json.js';
import { ensureFirstKey, type FirstKey } from './security/first-key.js';
import { createLinkSigner } from './security/links.js';
import { masterKeysFromFile, masterKeysFromText, type MasterKeys } from './security/master-key.js';
import { createTokenAuthenticator, isToken } from './security/oidc.js';
import { replicationTls } from './security/replication-tls.js';
import { createVault } from './security/vault.js';
import { createWebhook } from './security/webhook.js';
import { type Services } from './services/api.js';
import { createApiKeyService } from './services/api-key.service.js';
import { noteRefusedKey, notingRefusals, refusalNotes } from './services/audit.js';
import { createAuditService } from './services/audit.service.js';
import { createBackupStarter } from './services/backup-start.js';
import { createBackupService } from './services/backup.service.js';
import { createDispatcher, type Dispatcher } from './services/dispatch.service.js';
import { createDownloadService } from './services/download.service.js';
import { createInspectionService } from './services/inspection.service.js';
import { createInstanceService } from './services/instance.service.js';
import { createJobService } from './services/job.service.js';
import { createPolicyService } from './services/policy.service.js';
import { createProjectService } from './services/project.service.js';
import { type Database, type Ids } from './services/ports.js';
import { createRecoveryWatch } from './services/recovery-watch.js';
import { createRecoveryService } from './services/recovery.service.js';
import { createRestoreService } from './services/restore.service.js';
import { claimMasterKeys } from './services/master-key-use.js';
import { createRetentionService } from './services/retention.service.js';
import { scheduleTime } from './services/schedule-time.js';
import { createServiceService } from './services/service.service.js';
import { createSlotService } from './services/slot.service.js';
import { createSlotPlanner } from './services/slots.js';
import { brokerOf } from './event-broker.js';
import { createReadiness } from './readiness.js';
import { openStoreAt } from './store-place.js';
import { type Logger } from './telemetry/logger.js';
import { createMetrics } from './telemetry/metrics.js';
import { VERSION } from './version.js';

/** Interrupted jobs get so long to put things in order, before they are handed over as they stand. */
const GRACE_MS = 5_000;

export interface AppOptions {
  config: Config;
  /** PostgreSQL; the configured one or the embedded one's. */
  databaseUrl: string;
  log: Logger;
  /** Default: the database's, so that it makes no difference which node does something. */
  clock?: Clock;
  /** Keeps the first admin key for its owner; called once in the life of a database. */
  keepFirstKey: (text: string) => Promise<void>;
  /** The built `data-thread.js`, for what servers send to be taken and sealed on threads. Default: on this one. */
  dataThread?: URL | undefined;
  /** The folder of the built dashboard; without it there is none. */
  dashboardDir?: string | undefined;
  /** Measures the whole process too; once per process. */
  processMetrics?: boolean;
}

export interface App {
  /** http://host:port as this process listens. */
  readonly url: string;
  readonly services: Services;
  readonly db: Database;
  /** What the clock calls; tests with a clock of their own call it themselves. */
  readonly dispatcher: Dispatcher;
  /** What keeps catalogue and store in accord; runs by itself. */
  readonly upkeep: Upkeep;
  /** Set at the very first start. */
  readonly firstKey: FirstKey | null;
  /** Whether any instance is registered, in any project. */
  hasInstances(): Promise<boolean>;
  /** Takes no more work, lets running jobs end for the drain time, hands over the rest, closes everything. May be called twice. */
  stop(): Promise<void>;
}

/** This machine's own clock, right or wrong. */
const machineClock: Clock = { now: () => new Date() };

/** The keys of this installation. Others than the database was set up with are refused before anything is written. */
const openMasterKeys = async (config: Config, db: Database, log: Logger): Promise<MasterKeys> => {
  const known = await db.read.settings.get('master-key-id');
  const { keys, created } = config.masterKey !== null
    ? { keys: masterKeysFromText(config.masterKey), created: false }
    : await masterKeysFromFile(config.masterKeyFile, { create: known === null });
  if (created) log.info(`Made a master key in ${config.masterKeyFile}. Keep a copy of it elsewhere: without it no stored password and no backup can be read.`);
  await claimMasterKeys(db, keys, log);
  return keys;
};

/** The store of this installation. Made at the first start only: later, a missing marker means a volume that is not mounted. */
const openStore = async (config: Config, db: Database, deps: { dial: Dial; log: Logger }): Promise<Store> => {
  const catalogueId = await catalogueIdOf(db);
  return openStoreAt(config, { create: (await db.read.settings.get('store-id')) === null, catalogueId }, deps);
};

/** How restore targets reach this service. A certificate that cannot be used ends the start, not the first restore that needs it. */
const linkPlace = async ({ replication: { advertiseHost, ports, peerCidrs, tls } }: Config, own: OwnPorts): Promise<LinkPlace> => {
  const certificate = tls === null ? undefined : replicationTls(tls);
  await certificate?.();
  return { advertisedHost: advertiseHost ?? undefined, ports: ports ?? undefined, peerRanges: peerCidrs, tls: certificate, holdPort: (port) => own.hold(port) };
};

/** What tells the operator's webhook; null where there is none. */
const createTeller = ({ webhook: { url, secret } }: Config, deps: { db: Database; dial: Dial; clock: Clock; log: Logger }): Outbox | null => {
  if (url === null || secret === null) return null;
  // Receivers are known to be reached by addresses that are secrets themselves.
  for (const hidden of [secret, url]) deps.log.hide(hidden);
  const webhook = createWebhook({ url, secret, agents: dialAgents(deps.dial, { keepAlive: false }), clock: deps.clock, version: VERSION });
  return createOutbox({ ...deps, webhook });
};

/** Whom credentials belong to: API keys, and where there is an OpenID provider, its tokens. */
const callerFinder = ({ oidc }: Config, { db, dial, clock, log, onRefused }: { db: Database; dial: Dial; clock: Clock; log: Logger } & Pick<AuthenticatorDeps, 'onRefused'>): FindCaller => {
  const now = (): Date => clock.now();
  const byKey = createAuthenticator({ keys: db.read.apiKeys, now, onRefused, onTrouble: (error) => log.debug('The use of a key could not be noted.', { error: String(error) }) });
  if (oidc === null) return byKey;
  const byToken = createTokenAuthenticator({ settings: oidc, projects: db.read.projects, fetchJson: createFetchJson({ agents: dialAgents(dial, { keepAlive: false }) }), now, log });
  return (credential, from) => (isToken(credential) ? byToken(credential) : byKey(credential, from));
};

/** Loaded only where it is served: GraphQL is a third of what a start takes. */
const serveApi = async ({ documents, trustedDocuments: path }: Config, deps: Omit<HttpAppDeps, 'schema' | 'documents'>): Promise<HttpServer> => {
  const [{ buildServedSchema }, { createHttpApp }, { createDocuments }, { trustedDocuments }] = await Promise.all([
    import('./graphql/schema.js'), import('./http/app.js'), import('./graphql/documents.js'), import('./graphql/trusted-documents.js'),
  ]);
  const schema = await buildServedSchema();
  return createHttpApp({ ...deps, schema, documents: createDocuments({ trusted: await trustedDocuments(schema, path), only: documents === 'trusted' }) });
};

/** Builds every object by hand, starts them in order, and answers with the running service. What was started before a fault is stopped again. */
export const startApp = async (options: AppOptions): Promise<App> => {
  const started: (() => Promise<void>)[] = [];
  try {
    return await build(options, started);
  } catch (error) {
    for (const stop of started.reverse()) await stop().catch((cause: unknown) => options.log.debug('A part could not be stopped after a failed start.', { error: String(cause) }));
    throw error;
  }
};

const build = async ({ config, databaseUrl, log, clock: given, keepFirstKey, dataThread, dashboardDir, processMetrics }: AppOptions, started: (() => Promise<void>)[]): Promise<App> => {
  const works = config.role !== 'api';
  const ran = await migrate(databaseUrl);
  if (ran.length > 0) log.debug('Migrated the database.', { migrations: ran });
  const { source, close } = await openDataSource({
    url: databaseUrl, poolSize: 10 + config.concurrentJobs, onPoolError: (error) => log.warn('A database connection broke.', { error: error.message }),
    // A process that froze in a transaction is to hold up nobody for as long as its jobs are still its own.
    idleInTransactionMs: Math.min(10_000, Math.round(config.lease.lifeMs / 3)),
  });
  started.push(close);
  const own = new OwnPorts();
  for (const port of [...portsOnThisMachine(databaseUrl, 5432), ...portsOnThisMachine(config.mongodbUrl ?? '', 27_017)]) own.hold(port);
  const dial = createDial(createConnectPolicy(config.connect, own));
  const permit = createPermit(createConnectPolicy(config.connect, own));
  const hub = createEventHub({ url: databaseUrl, channel: EVENTS_CHANNEL, log, broker: brokerOf(config, { dial, log }) });
  const db = createDatabase(source, topicsOf, { notices: config.webhook.url !== null, onCommitted: (topics) => hub.announce(topics) });
  const databaseClock = await startDatabaseClock(() => db.read.now(), log);
  started.push(() => Promise.resolve(databaseClock.stop()));
  const clock = given ?? databaseClock;

  const keys = await openMasterKeys(config, db, log);
  const store = await openStore(config, db, { dial, log });
  started.push(() => store.close());
  const threads = dataThread && new SealingThreads(dataThread, { workerData: { tls: TLS_DEFAULTS } });
  started.push(async () => threads?.close());
  await attachStore(db, store, log);
  const spillDirectory = join(config.dataDir, 'spill');
  await mkdir(spillDirectory, { recursive: true, mode: 0o700 });

  await hub.start();
  started.push(() => hub.stop());
  const feed = createEventFeed({ events: db.read.events, jobs: db.read.jobs, hub, clock, mayPass: (error) => db.isTransient(error) });

  const worker = `${hostname()}-${process.pid}-${randomUUID().slice(0, 8)}`;
  const agenda = await AgendaClock.open({ databaseUrl, mongoUrl: config.mongodbUrl ?? undefined, name: worker, concurrency: config.concurrentJobs, tickEveryMs: config.netMs, log });
  const queue = createLastingQueue(agenda, log);
  started.push(() => agenda.stop({ signal: AbortSignal.timeout(config.drainMs) }), () => Promise.resolve(queue.stop()));

  const ids: Ids = { make: (kind) => makeId(kind, clock.now(), randomBytes(10)) };
  const gate = engineGate(config.disabledEngines);
  const vault = createVault(keys);
  const links = createLinkSigner(keys);
  const link = await linkPlace(config, own);
  const engine = createEnginePort({ dial, log, store, keys, link, gate });
  const starter = createBackupStarter(ids, gate);
  const time = scheduleTime(given);
  const slots = createSlotPlanner({ ids, log });
  const metrics = createMetrics({
    processMetrics: processMetrics ?? false, onTrouble: (metric, error) => log.warn('A metric could not be had.', { metric, error: String(error) }),
  });
  let url = '';
  const upkeep = createUpkeep({ db, store, keys, auditSigner: createAuditSigner(keys), ids, clock, machine: given ?? machineClock, log, worker, vault, dial, queue, lease: config.lease, settings: config.upkeep });

  const noteRefusal = refusalNotes({ db, clock, log });
  const services: Services = notingRefusals({
    instances: createInstanceService({ db, engine, vault, gate, ids, clock, time, queue, slots, backups: starter, defaultTimeZone: config.defaultTimeZone }),
    policies: createPolicyService({ db, clock, time, queue, slots }),
    slots: createSlotService({ db }),
    recovery: createRecoveryService({ db, time, catchUpMs: config.catchUpMs }),
    backups: createBackupService({ db, ids, clock, queue, starter, links, publicUrl: () => config.publicUrl ?? url }),
    inspections: createInspectionService({ db, ids, clock, queue, starter, vault }),
    restores: createRestoreService({ db, engine, vault, gate, ids, clock, log, queue }),
    jobs: createJobService({ db, feed, clock, queue }),
    retention: createRetentionService({ db, upkeep }),
    projects: createProjectService({ db, ids, clock }),
    apiKeys: createApiKeyService({ db, ids, clock, maker: createApiKeyMaker(keys) }),
    audit: createAuditService({ db }),
    service: createServiceService({ db, engine, gate, version: VERSION, defaultTimeZone: config.defaultTimeZone, concurrentJobs: config.concurrentJobs }),
  }, noteRefusal);

  const syncDelays = createSyncDelaySettler({ db, vault, dial, clock, log, worker });
  const taskDeps = {
    db, vault, gate, engine, ids, link, linkMs: config.replication.linkMs, spillDirectory, softwareVersion: VERSION, backupDeps: { dial, permit, store, keys, codec: { name: config.compression }, threads, clock, log },
    limits: { maxBytes: config.limits.maxBackupBytes, totalMs: config.limits.maxBackupMs, idleMs: config.limits.sourceIdleMs },
    scanKeysPerSecond: config.limits.scanKeysPerSecond, syncLimits: config.limits.syncs, catchUpMs: config.catchUpMs,
    settleSyncDelays: (instanceId: string) => syncDelays.settleOn(instanceId),
    captured: (bytes: number) => metrics.bytesCaptured(bytes), sent: (bytes: number) => metrics.bytesRestored(bytes),
  };
  const waker = createWaker({ queue, log });
  started.push(() => Promise.resolve(waker.stop()));
  const runner = createRunner({
    db, clock, log, worker, lease: config.lease, totalLimit: config.concurrentJobsTotal, requeue: async (jobId, waitMs = 0) => (waitMs > 0 ? waker.wakeLater(jobId, waitMs) : queue.enqueueJob(jobId)), observe: (run) => metrics.jobEnded(run),
    onJobEvent: (jobId, wake) => hub.onEvent(stateTopic(jobId), wake),
    onRunOver: async (job) => {
      if (job.instanceId !== null && (job.kind === 'BACKUP' || job.kind === 'RESTORE')) await dispatcher.serverFree(job, job.instanceId);
    },
    tasks: { BACKUP: createBackupTask(taskDeps), RESTORE: createRestoreTask(taskDeps), PLAN: createPlanTask({ db, store, keys, vault, gate, threads, dial, log }), DELETE: createDeleteTask({ store }), VERIFY: createVerifyTask({ db, store, keys, log }), INSPECT: createInspectTask({ db, store, keys, vault, log }) },
  });
  const recoveryWatch = createRecoveryWatch({ db, time, catchUpMs: config.catchUpMs, log });
  const dispatcher = createDispatcher({ db, ids, time, queue, slots, starter, catchUpMs: config.catchUpMs });

  metrics.gauge('last_good_backup_age_seconds', 'Time since the newest AVAILABLE backup that is no safety copy was completed; +Inf when there is none.', ['instance', 'name'],
    async () => (await db.read.recovery.ages()).map(({ id, name, seconds }) => ({ labels: { instance: id, name }, value: seconds ?? Infinity })));
  metrics.gauge('retention_stopped', '1 while sweeping and retention stand still.', [], async () => [{ value: (await upkeep.status()).stoppedBecause === null ? 0 : 1 }]);
  metrics.gauge('upkeep_last_pass_timestamp_seconds', 'When the last pass of retention began, on whatever node.', [], async () => {
    const { lastPassAt } = await upkeep.status();
    return lastPassAt === null ? [] : [{ value: Math.floor(lastPassAt.getTime() / 1000) }];
  });

  metrics.gauge('notices_pending', 'Notices that the webhook has not taken yet.', [], async () => [{ value: await db.read.notices.countPending() }]);

  const firstKey = await ensureFirstKey({ db, ids, clock }, keepFirstKey);
  const probes = {
    authenticate: callerFinder(config, { db, dial, clock, log, onRefused: noteRefusedKey(noteRefusal) }), log, faultPasses: (cause: unknown) => db.isTransient(cause),
    readiness: createReadiness({ query: (sql) => source.query(sql), store, hub, queue: agenda, upkeep }),
    metrics: () => metrics.text(), observe: (request: Parameters<ObserveRequest>[0]) => metrics.httpRequest(request),
  };
  const access = createAccessWatch({
    keys: db.read.apiKeys, now: () => clock.now(), onKeyEvent: (keyId, wake) => hub.onEvent(keyId, wake), onTrouble: (error) => log.debug('Keys of open sockets could not be looked at.', { error: String(error) }),
  });
  const http: HttpServer = config.role === 'worker'
    ? createHttpServer(probes)
    : await serveApi(config, {
        ...probes, services, downloads: createDownloadService({ db, engine, links, clock, log }),
        watchAccess: access.watch, introspection: config.introspection, pointsPerMinute: config.pointsPerMinute, allowedOrigins: config.allowedOrigins, dashboardDir,
        sockets: { maxSockets: config.events.maxSockets, maxSocketsOfKey: config.events.maxSocketsOfKey },
      });
  const { port } = await http.listen(config.port, config.host);
  own.hold(port);
  started.push(() => http.stop(1_000));
  url = `http://${config.host.includes(':') ? `[${config.host}]` : config.host}:${port}`;

  const limited = config.concurrentJobsTotal !== null;
  let collecting: { stop(): Promise<void> } | undefined;
  const outbox = works ? createTeller(config, { db, dial, clock, log }) : null;
  if (works) {
    await agenda.start({
      runJob: (jobId) => runner.runJob(jobId),
      policyDue: (policyId) => dispatcher.policyDue(policyId),
      tick: () => everyStep(() => dispatcher.dispatchDue(), () => dispatcher.remind(), () => recoveryWatch.look(), () => wakeWaiting({ db, log, queue: agenda, limited }), () => forgetOld({ db }), () => syncDelays.settleDue()),
    });
    for (const { id, nextRunAt } of await db.read.policies.planned()) await queue.schedulePolicy(id, nextRunAt);
    collecting = startCollecting({ db, clock, log, queue, limited, waker }, config.lease.collectMs);
    upkeep.start();
    outbox?.start();
  }

  let stopping: Promise<void> | undefined;
  /** From the first moment on no new work is taken, while running jobs get their time and requests their answers. The database is last. */
  const shutDown = (): Promise<void> =>
    everyStep(
      () => together(
        () => http.stop(Math.min(config.drainMs, 10_000)),
        () => everyStep(() => agenda.cease(), async () => collecting?.stop(), () => upkeep.stop()),
        () => runner.drain({ drainMs: config.drainMs, graceMs: GRACE_MS }),
      ),
      // What still runs has been handed over.
      () => agenda.stop({ signal: AbortSignal.timeout(1_000) }),
      // After the last job: what is under way is broken off, and sent by the next node.
      async () => outbox?.stop(),
      async () => {
        waker.stop();
        queue.stop();
        databaseClock.stop();
      },
      () => hub.stop(),
      async () => threads?.close(),
      () => store.close(),
      close,
    );

  return {
    url, services, db, dispatcher, upkeep, firstKey,
    hasInstances: async () => (await db.read.instances.countAll()) > 0,
    stop: () => (stopping ??= shutDown()),
  };
};
