import { addressOf } from '../domain/address.js';
import { type CaptureMethod, consistencyOf, type Coverage, type DatabaseCount, type Engine, type Trigger } from '../domain/backup.js';
import { abortReason, DomainError, type ErrorCode } from '../domain/errors.js';
import { type HostPort, type SourceNode, type SourcePreference } from '../domain/source.js';
import { type CodecChoice, createArchive, type KeyRing, type Manifest, removeAttempts, type SealingThreads } from './archive/archive.js';
import { manifestKey } from './archive/layout.js';
import { openControl } from './control.js';
import { type Clock, type Dial, type Endpoint, type Log, type OnProgress, type Permit, type SyncAttempt, type SyncGate } from './ports.js';
import { infoFacts, slotsOfMyself } from './probe/info-facts.js';
import { optional } from './probe/optional.js';
import { type RdbSummary } from './rdb/summary.js';
import { capture, type CapturePlan, type CaptureSource } from './source/capture.js';
import { DEFAULT_SOURCE_LIMITS } from './source/limits.js';
import { announcedReplicas, findReplica, type MasterFacts, refusedBecause } from './source/replica.js';
import { type SyncDelayRecorder } from './source/sync-delay/hold.js';
import { type Store } from './store/store.js';

export interface BackupPlan extends CapturePlan {
  backupId: string;
  /** Which attempt at it this is, from 1. Default 1. */
  attempt?: number | undefined;
  projectId: string;
  /** As the user gave it. */
  name: string;
  trigger: Trigger;
  endpoint: Endpoint;
  source: {
    instanceId: string;
    instanceName: string;
    engine: Engine;
    version: string;
    /** The server that is locked for this work; another one at the same address is CONFLICT. */
    runId: string;
    /** Slots of a SHARD are read anew at the start. */
    coverage: Coverage;
  };
  /** Of this service, for the manifest. */
  softwareVersion: string;
  /** Whether a replica of the server may be read in its place. Default MASTER: no. */
  sourcePreference?: SourcePreference | undefined;
  /** The replica that is preferred; without one, those that the server announces. */
  replica?: HostPort | null | undefined;
  /** Versions that are not switched off, for replicas. Default: all. */
  allows?: ((engine: Engine, version: string) => boolean) | undefined;
}

export interface BackupDeps {
  dial: Dial;
  /** Where it is given besides `threads`, what servers send is taken on those, too. */
  permit?: Permit | undefined;
  store: Store;
  /** Archives are written under a key of their own, wrapped by the current master key. */
  keys: KeyRing;
  /** How they are compressed. Default LZ4. */
  codec?: CodecChoice | undefined;
  /** Where blocks are walked, compressed and sealed. Default: on the calling thread. */
  threads?: SealingThreads | undefined;
  clock: Clock;
  log: Log;
  /** Rejects when this work is no longer ours (the lease is lost). Awaited right before the archive is sealed, and before its manifest. */
  assertOwned?: (() => Promise<void>) | undefined;
  /** Asked before each PSYNC. Without it every server may be asked at any time. */
  syncs?: SyncGate | undefined;
  /** Where it is given, the server's wait before a diskless save is skipped, and kept in mind here meanwhile. Default: the server waits. */
  syncDelay?: SyncDelayRecorder | undefined;
}

export interface BackupResult {
  manifest: Manifest;
  summary: RdbSummary;
  method: CaptureMethod;
  /** Who the data was read from. */
  node: SourceNode;
  /** Null after a SCAN. */
  replication: { id: string; offset: bigint } | null;
  plainBytes: bigint;
  storedBytes: bigint;
  /** Hex, of the plain bytes: of the file that a download gives. */
  sha256: string;
}

/**
 * Takes one backup: asks whether the server is the expected one and the store takes data, receives the RDB as a replica, walks every
 * record and computes its CRC while the bytes flow, writes the archive, and seals it only when all of it was right. Until it
 * resolves there is no archive; when it fails, nothing of it is left in the store.
 *
 * Where a replica is preferred it is read in the server's place once it is proven to be one and has all that the server had when this
 * began; whatever goes wrong with it before the archive is sealed, the server itself is read instead, and a notice says why.
 *
 * Fails as `openControl`, `capture` and `Store` do; CONFLICT when another server answers at the address.
 */
export const runBackup = async (plan: BackupPlan, deps: BackupDeps, signal: AbortSignal, onProgress: OnProgress): Promise<BackupResult> => {
  onProgress({ kind: 'phase', phase: 'PREPARING' });
  const startedAt = deps.clock.now();
  const begun = performance.now();
  const server = await meetServer(plan, deps, signal);
  await checkRoom(deps.store, server.usedMemoryBytes);
  // An earlier attempt of this backup may have died between its data and its manifest.
  if ((await deps.store.stat(manifestKey(plan.backupId))) === null) await removeAttempts(deps.store, plan.backupId, plan.attempt ?? 1);
  const replica = await replicaFor(plan, server, deps, signal, onProgress);
  if (replica === null) return take(plan, server, { node: server.node, startedAt }, deps, signal, onProgress);
  try {
    return await take(plan, server, { node: replica, startedAt }, deps, signal, onProgress);
  } catch (error) {
    const totalMs = (plan.limits?.totalMs ?? DEFAULT_SOURCE_LIMITS.totalMs) - (performance.now() - begun);
    if (signal.aborted || totalMs <= 0 || !isFaultOfSource(error)) throw error;
    onProgress({ kind: 'notice', ...notUsed([error]) });
    onProgress({ kind: 'phase', phase: 'PREPARING' });
    return take({ ...plan, limits: { ...plan.limits, totalMs } }, server, { node: server.node, startedAt }, deps, signal, onProgress);
  }
};

/** From one server into one archive. */
const take = async (plan: BackupPlan, server: Met, { node, startedAt }: { node: SourceNode; startedAt: Date }, deps: BackupDeps, signal: AbortSignal, onProgress: OnProgress): Promise<BackupResult> => {
  const archive = await createArchive(deps.store, { backupId: plan.backupId, attempt: plan.attempt, keys: deps.keys, codec: deps.codec, walk: true, threads: deps.threads, signal });
  let disconnected: Promise<void> | undefined;
  let attempt: SyncAttempt | undefined;
  let sealed = false;
  try {
    const onSync = (begun: SyncAttempt): void => {
      attempt = begun;
    };
    const captured = await capture(plan, sourceAt(node, plan, server), archive, { ...deps, onSync }, signal, onProgress);
    disconnected = captured.closed;
    onProgress({ kind: 'phase', phase: 'VERIFYING' });
    const summary = await archive.content();
    if (signal.aborted) throw abortReason(signal);
    await deps.assertOwned?.();
    onProgress({ kind: 'phase', phase: 'SEALING' });
    const manifest = await archive.seal({
      rdb: summary,
      coverage: server.coverage,
      replication: captured.replication,
      backup: { projectId: plan.projectId, name: plan.name, trigger: plan.trigger },
      source: {
        instanceId: plan.source.instanceId, instanceName: plan.source.instanceName, engine: plan.source.engine, version: server.node.version,
        runId: plan.source.runId, address: { host: plan.endpoint.host, port: plan.endpoint.port }, node,
      },
      capture: { method: captured.method, consistency: consistencyOf(captured.method) },
      startedAt,
      completedAt: deps.clock.now(),
      createdBy: { software: 'snapback', version: plan.softwareVersion },
    }, deps.assertOwned);
    sealed = true;
    const [artifact] = manifest.artifacts;
    return {
      manifest, summary, method: captured.method, node, replication: captured.replication,
      plainBytes: artifact.plainSize, storedBytes: artifact.storedSize, sha256: artifact.plainSha256,
    };
  } catch (error) {
    await archive.abort().catch((cause: unknown) => {
      // The first fault is the one to report; what is left is unsealed and falls to the store's sweep.
      deps.log.error('an unfinished archive could not be removed', { backupId: plan.backupId, cause: String(cause) });
    });
    throw error;
  } finally {
    await disconnected;
    await attempt?.end(sealed);
  }
};

/** What a source can be blamed for; another one may do better. */
const FAULTS_OF_SOURCES: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'CONNECT_FAILED', 'TARGET_NOT_ALLOWED', 'AUTH_FAILED', 'PERMISSION_MISSING', 'ENGINE_UNSUPPORTED', 'CONFLICT', 'SOURCE_DISCONNECTED', 'PROTOCOL_ERROR', 'TOO_SLOW',
  'TRUNCATED', 'CORRUPT', 'UNSUPPORTED_FORMAT', 'RATE_LIMITED', 'INSTANCE_BUSY',
]);
const isFaultOfSource = (error: unknown): error is DomainError => error instanceof DomainError && FAULTS_OF_SOURCES.has(error.code);

const notUsed = (refusals: readonly DomainError[]): { code: string; message: string } => ({
  code: 'REPLICA_NOT_USED', message: `No replica is read, but the master itself: ${refusedBecause(refusals)}`,
});

/** The replica to read, proven; null where the server itself is to be read. */
const replicaFor = async (plan: BackupPlan, server: Met, deps: BackupDeps, signal: AbortSignal, onProgress: OnProgress): Promise<SourceNode | null> => {
  // A replica that was registered as such is read as it is. And what is read key by key is read where its keys are: see CaptureSource.
  if (plan.sourcePreference !== 'PREFER_REPLICA' || server.node.role !== 'MASTER' || plan.method === 'SCAN') return null;
  const candidates = plan.replica ? [plan.replica] : server.announced;
  if (candidates.length === 0) return null;
  const { replica, refusals } = await findReplica(plan.endpoint, server.master, deps, { candidates, allows: plan.allows, signal });
  if (replica === null) onProgress({ kind: 'notice', ...notUsed(refusals) });
  else onProgress({ kind: 'notice', code: 'REPLICA_SOURCE', message: `The replica ${addressOf(replica)} is read in place of its master; it has everything that the master had when the backup began.` });
  return replica;
};

const sourceAt = (node: SourceNode, { endpoint, source }: BackupPlan, { master, databases, keys, node: own }: Met): CaptureSource => {
  const what = { engine: source.engine, node, databases, keys };
  if (node === own || master.replicationId === null) return { ...what, endpoint };
  return { ...what, endpoint: { ...endpoint, host: node.host, port: node.port }, history: { replicationId: master.replicationId, offset: master.replicationOffset ?? 0n } };
};

interface Met {
  /** The registered server. */
  node: SourceNode;
  /** The same, as its replicas are measured by it. */
  master: MasterFacts;
  announced: readonly HostPort[];
  usedMemoryBytes: bigint;
  keys: bigint;
  databases: readonly DatabaseCount[];
  coverage: Coverage;
}

/** Looks who answers at the address, over a connection of its own that is closed again. */
const meetServer = async (plan: BackupPlan, deps: BackupDeps, signal: AbortSignal): Promise<Met> => {
  const address = addressOf(plan.endpoint);
  const control = await openControl(plan.endpoint, deps, { signal });
  try {
    const info = await control.info();
    const facts = infoFacts(address, info);
    if (facts.runId !== plan.source.runId) {
      throw new DomainError('CONFLICT', `At ${address} answers another server than expected: run_id ${facts.runId}, not ${plan.source.runId}.`, {
        hint: 'The server was restarted or replaced since it was last probed: probe the instance and try again.',
        retryable: true,
      });
    }
    let { coverage } = plan.source;
    if (coverage.kind === 'SHARD') {
      const nodes = await optional(control.call('CLUSTER', 'NODES'));
      if (typeof nodes === 'string') coverage = { kind: 'SHARD', slots: slotsOfMyself(nodes) };
    }
    const { host, port } = plan.endpoint;
    const { role, runId, version, usedMemoryBytes, keys, databases } = facts;
    return { node: { host, port, role, runId, version, behindBytes: null }, master: { ...facts, address }, announced: announcedReplicas(info), usedMemoryBytes, keys, databases, coverage };
  } finally {
    control.close();
  }
};

/** An RDB is smaller than the memory it came from, and compressed more so: a quarter is asked for, to refuse only what cannot work. */
const checkRoom = async (store: Store, usedMemoryBytes: bigint): Promise<void> => {
  const health = await store.check();
  if (!health.writable) {
    throw health.problem ?? new DomainError('STORAGE_IO', `The store ${store.location} takes no data.`, { hint: 'Check the store.', retryable: true });
  }
  const needed = usedMemoryBytes / 4n;
  if (health.freeBytes !== null && health.freeBytes < needed) {
    throw new DomainError('STORAGE_FULL', `The store ${store.location} has ${health.freeBytes} bytes free; this backup may need ${needed} or more.`, {
      hint: 'Free some space, or delete old backups.',
    });
  }
};
