import { addressOf } from '../domain/address.js';
import { type CaptureMethod, consistencyOf, type Coverage, type DatabaseCount, type Engine, type Trigger } from '../domain/backup.js';
import { abortReason, DomainError, type ErrorCode } from '../domain/errors.js';
import { type ArchiveWriter, createArchive, type KeyRing, type Manifest, removeAttempts } from './archive/archive.js';
import { manifestKey } from './archive/layout.js';
import { openControl } from './control.js';
import { type Clock, type Dial, type Endpoint, type Log, type OnProgress } from './ports.js';
import { infoFacts, slotsOfMyself } from './probe/info-facts.js';
import { optional } from './probe/optional.js';
import { RdbReader } from './rdb/reader.js';
import { type RdbSummary } from './rdb/summary.js';
import { type SourceLimits } from './source/limits.js';
import { scanRdb } from './source/scan/scan.js';
import { receiveRdb, type Sink } from './source/replication.js';
import { type Store } from './store/store.js';

export interface BackupPlan {
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
  /** How to get at the data. REPLICATION (default) turns to SCAN by itself where the server refuses it before the first byte. */
  method?: CaptureMethod | undefined;
  /** Of a SCAN, per second. */
  scanKeysPerSecond?: number | undefined;
  limits?: Partial<SourceLimits> | undefined;
  /** Default true; false makes the server save to its own disk first. */
  acceptDiskless?: boolean | undefined;
  /** Folder for bytes of servers before 6.2 that come faster than they can be stored. */
  spillDirectory?: string | undefined;
}

export interface BackupDeps {
  dial: Dial;
  store: Store;
  /** Archives are written under a key of their own, wrapped by the current master key. */
  keys: KeyRing;
  clock: Clock;
  log: Log;
  /** Rejects when this work is no longer ours (the lease is lost). Awaited right before the archive is sealed, and before its manifest. */
  assertOwned?: (() => Promise<void>) | undefined;
}

export interface BackupResult {
  manifest: Manifest;
  summary: RdbSummary;
  method: CaptureMethod;
  /** Null after a SCAN. */
  replication: { id: string; offset: bigint } | null;
  plainBytes: bigint;
  storedBytes: bigint;
  /** Hex, of the plain bytes: of the file that a download gives. */
  sha256: string;
}

const PROGRESS_EVERY_MS = 100;

/**
 * Takes one backup: asks whether the server is the expected one and the store takes data, receives the RDB as a replica, walks every
 * record and computes its CRC while the bytes flow, writes the archive, and seals it only when all of it was right. Until it
 * resolves there is no archive; when it fails, nothing of it is left in the store.
 *
 * Fails as `openControl`, `receiveRdb`, `RdbReader` and `Store` do; CONFLICT when another server answers at the address;
 * CORRUPT when bytes follow the RDB's end.
 */
export const runBackup = async (plan: BackupPlan, deps: BackupDeps, signal: AbortSignal, onProgress: OnProgress): Promise<BackupResult> => {
  onProgress({ kind: 'phase', phase: 'PREPARING' });
  const startedAt = deps.clock.now();
  const server = await meetServer(plan, deps, signal);
  await checkRoom(deps.store, server.usedMemoryBytes);
  // An earlier attempt of this backup may have died between its data and its manifest.
  if ((await deps.store.stat(manifestKey(plan.backupId))) === null) await removeAttempts(deps.store, plan.backupId, plan.attempt ?? 1);
  const archive = await createArchive(deps.store, { backupId: plan.backupId, attempt: plan.attempt, keys: deps.keys, signal });
  let disconnected: Promise<void> | undefined;
  try {
    const reader = new RdbReader();
    const captured = await capture(plan, deps, signal, onProgress, { reader, archive, server });
    disconnected = captured.closed;
    onProgress({ kind: 'phase', phase: 'VERIFYING' });
    const summary = reader.finish();
    if (signal.aborted) throw abortReason(signal);
    await deps.assertOwned?.();
    onProgress({ kind: 'phase', phase: 'SEALING' });
    const manifest = await archive.seal({
      rdb: summary,
      coverage: server.coverage,
      replication: captured.replication,
      backup: { projectId: plan.projectId, name: plan.name, trigger: plan.trigger },
      source: {
        instanceId: plan.source.instanceId, instanceName: plan.source.instanceName, engine: plan.source.engine, version: server.version,
        runId: plan.source.runId, address: { host: plan.endpoint.host, port: plan.endpoint.port },
      },
      capture: { method: captured.method, consistency: consistencyOf(captured.method) },
      startedAt,
      completedAt: deps.clock.now(),
      createdBy: { software: 'snapback', version: plan.softwareVersion },
    }, deps.assertOwned);
    const [artifact] = manifest.artifacts;
    return {
      manifest, summary, method: captured.method, replication: captured.replication,
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
  }
};

interface Met {
  version: string;
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
    const facts = infoFacts(address, await control.info());
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
    return { version: facts.version, usedMemoryBytes: facts.usedMemoryBytes, keys: facts.keys, databases: facts.databases, coverage };
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

interface Flow {
  reader: RdbReader;
  archive: ArchiveWriter;
  server: Met;
}

interface Captured {
  method: CaptureMethod;
  replication: { id: string; offset: bigint } | null;
  /** The connection is gone. */
  closed?: Promise<void> | undefined;
}

/** What servers say that do not let themselves be replicated: they lack PSYNC, or the user lacks the right to it. */
const REFUSALS: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['ENGINE_UNSUPPORTED', 'PERMISSION_MISSING']);

const capture = async (plan: BackupPlan, deps: BackupDeps, signal: AbortSignal, onProgress: OnProgress, flow: Flow): Promise<Captured> => {
  const progress = new FlowProgress(flow, onProgress);
  const sink = sinkOf(plan, flow, progress);
  const { engine } = plan.source;
  const { version, databases } = flow.server;
  const scan = async (): Promise<Captured> => {
    await scanRdb(plan.endpoint, deps, { engine, version, databases, keysPerSecond: plan.scanKeysPerSecond, limits: plan.limits }, signal, sink);
    progress.report();
    return { method: 'SCAN', replication: null };
  };
  if (plan.method === 'SCAN') {
    onProgress({ kind: 'phase', phase: 'TRANSFERRING' });
    return scan();
  }
  try {
    return await replicate(plan, deps, signal, onProgress, { progress, sink });
  } catch (refusal) {
    if (flow.reader.bytes > 0n || !isRefusal(refusal)) throw refusal;
    onProgress({ kind: 'phase', phase: 'TRANSFERRING' });
    const scanned = await scan().catch((error: unknown) => {
      // Where that is refused too, the first refusal is the one to lift.
      throw flow.reader.bytes === 0n && isRefusal(error) ? refusal : error;
    });
    onProgress({ kind: 'notice', code: 'SCAN_FALLBACK', message: `${refusal.message} Its keys were read one by one instead: the backup is no point in time, and holds functions only where FUNCTION DUMP is allowed.` });
    return scanned;
  }
};

const isRefusal = (error: unknown): error is DomainError => error instanceof DomainError && REFUSALS.has(error.code);

const sinkOf = (plan: BackupPlan, { reader, archive }: Flow, progress: FlowProgress) => async (piece: Buffer): Promise<void> => {
  const taken = reader.push(piece);
  if (taken < piece.length) {
    throw new DomainError('CORRUPT', `${addressOf(plan.endpoint)} sent bytes behind the end of its RDB (byte ${reader.bytes}).`, {
      hint: 'Take the backup again; if it happens again, something between here and the server changes the bytes.',
      details: { offset: Number(reader.bytes) },
    });
  }
  await archive.write(piece);
  progress.now();
};

/** Tells how far the reader is, not too often. */
class FlowProgress {
  bytesTotal: bigint | null = null;
  private reportedAt = 0;

  constructor(private readonly flow: Flow, private readonly onProgress: OnProgress) {}

  now(): void {
    const now = performance.now();
    if (now - this.reportedAt < PROGRESS_EVERY_MS) return;
    this.reportedAt = now;
    this.report();
  }

  report(): void {
    const { reader, server } = this.flow;
    this.onProgress({ kind: 'amount', bytesDone: reader.bytes, bytesTotal: this.bytesTotal, keysDone: reader.keys, keysTotal: server.keys });
  }
}

const replicate = async (
  plan: BackupPlan, deps: BackupDeps, signal: AbortSignal, onProgress: OnProgress, { progress, sink }: { progress: FlowProgress; sink: Sink },
): Promise<Captured> => {
  const { engine, version } = plan.source;
  const received = await receiveRdb(
    plan.endpoint,
    deps,
    {
      engine, version, acceptDiskless: plan.acceptDiskless, limits: plan.limits, spillDirectory: plan.spillDirectory,
      onEvent: (event) => {
        if (event.kind === 'snapshotting') onProgress({ kind: 'phase', phase: 'SNAPSHOTTING' });
        else {
          progress.bytesTotal = event.length;
          onProgress({ kind: 'phase', phase: 'TRANSFERRING' });
        }
      },
    },
    signal,
    sink,
  );
  progress.report();
  return { method: 'REPLICATION', replication: { id: received.replicationId, offset: received.offset }, closed: received.closed };
};
