import { addressOf } from '../../domain/address.js';
import { type CaptureMethod, type DatabaseCount, type Engine } from '../../domain/backup.js';
import { DomainError, type ErrorCode } from '../../domain/errors.js';
import { type SourceNode } from '../../domain/source.js';
import { type ArchiveWriter } from '../archive/archive.js';
import { type Dial, type Endpoint, type Log, type OnProgress, type Permit, type SyncAttempt, type SyncGate } from '../ports.js';
import { type SourceLimits } from './limits.js';
import { receiveRdb, type ReceivedRdb, type ReceiveOptions, type Sink } from './replication.js';
import { scanRdb } from './scan/scan.js';
import { type SyncDelayRecorder } from './sync-delay/hold.js';
import { SyncDelaySkip } from './sync-delay/skip.js';

export interface CapturePlan {
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

/** Where the bytes come from. */
export interface CaptureSource {
  endpoint: Endpoint;
  engine: Engine;
  node: SourceNode;
  /** Of a replica: what it has to be in step with. It is never read key by key: in the middle of that, its master may replace all it has. */
  history?: { replicationId: string; offset: bigint } | undefined;
  databases: readonly DatabaseCount[];
  keys: bigint;
}

export interface Captured {
  method: CaptureMethod;
  /** Null after a SCAN. */
  replication: { id: string; offset: bigint } | null;
  /** The connection is gone. */
  closed?: Promise<void> | undefined;
}

export interface CaptureDeps {
  dial: Dial;
  /** Where it is given, an archive that seals on another thread takes what a server sends there. */
  permit?: Permit | undefined;
  log: Log;
  syncs?: SyncGate | undefined;
  /** Where it is given, the server's wait before a diskless save is skipped, and kept in mind here meanwhile. */
  syncDelay?: SyncDelayRecorder | undefined;
  /** Handed what the gate let begin, also when the capture fails then; whoever takes it ends it. */
  onSync: (attempt: SyncAttempt) => void;
}

const PROGRESS_EVERY_MS = 100;

/** What servers say that do not let themselves be replicated: they lack PSYNC, or the user lacks the right to it. */
const REFUSALS: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['ENGINE_UNSUPPORTED', 'PERMISSION_MISSING']);

/**
 * Takes the RDB of a server into an archive that walks it, piece by piece. Fails as `receiveRdb`, `scanRdb` and the archive do, also when that
 * finds a fault while the source says nothing, and as `syncs` refuses.
 */
export const capture = async (plan: CapturePlan, source: CaptureSource, archive: ArchiveWriter, deps: CaptureDeps, caller: AbortSignal, onProgress: OnProgress): Promise<Captured> => {
  const signal = AbortSignal.any([caller, archive.faulted]);
  const progress = new FlowProgress(source, archive, onProgress);
  const sink: Sink = async (piece) => {
    await archive.write(piece);
    progress.now();
  };
  const { engine, node: { version }, databases } = source;
  const scan = async (): Promise<Captured> => {
    await scanRdb(source.endpoint, deps, { engine, version, databases, keysPerSecond: plan.scanKeysPerSecond, limits: plan.limits }, signal, sink);
    progress.report();
    return { method: 'SCAN', replication: null };
  };
  if (plan.method === 'SCAN') {
    onProgress({ kind: 'phase', phase: 'TRANSFERRING' });
    return scan();
  }
  try {
    return await replicate(plan, source, { progress, sink, archive }, deps, signal, onProgress);
  } catch (refusal) {
    if (source.history || archive.plainBytes > 0n || !isRefusal(refusal)) throw refusal;
    onProgress({ kind: 'phase', phase: 'TRANSFERRING' });
    const scanned = await scan().catch((error: unknown) => {
      // Where that is refused too, the first refusal is the one to lift.
      throw archive.plainBytes === 0n && isRefusal(error) ? refusal : error;
    });
    onProgress({ kind: 'notice', code: 'SCAN_FALLBACK', message: `${refusal.message} Its keys were read one by one instead: the backup is no point in time, and holds functions only where FUNCTION DUMP is allowed.` });
    return scanned;
  }
};

const isRefusal = (error: unknown): error is DomainError => error instanceof DomainError && REFUSALS.has(error.code);

/** Tells how far it is, not too often. */
class FlowProgress {
  bytesTotal: bigint | null = null;
  private reportedAt = 0;

  constructor(private readonly source: Pick<CaptureSource, 'keys'>, private readonly archive: ArchiveWriter, private readonly onProgress: OnProgress) {}

  now(): void {
    const now = performance.now();
    if (now - this.reportedAt < PROGRESS_EVERY_MS) return;
    this.reportedAt = now;
    this.report();
  }

  report(): void {
    this.onProgress({ kind: 'amount', bytesDone: this.archive.plainBytes, bytesTotal: this.bytesTotal, keysDone: this.archive.walked.keys, keysTotal: this.source.keys });
  }
}

/**
 * Servers before 6.2 cannot be made to wait: what they gather for a replica that reads slowly counts against their output buffer limit. The thread that seals
 * may be busy with another archive; this one reads at once.
 */
const canWait = ({ engine, node: { version } }: CaptureSource): boolean => {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return engine === 'VALKEY' || major > 6 || (major === 6 && minor >= 2);
};

const replicate = async (
  plan: CapturePlan, source: CaptureSource, { progress, sink, archive }: { progress: FlowProgress; sink: Sink; archive: ArchiveWriter }, deps: CaptureDeps, signal: AbortSignal, onProgress: OnProgress,
): Promise<Captured> => {
  const { endpoint, engine, node, history } = source;
  const { permit, log } = deps;
  const there = permit && canWait(source) ? archive.receive : null;
  const receive = (options: ReceiveOptions): Promise<ReceivedRdb> =>
    there && permit ? there(endpoint, { permit, log }, { ...options, onTaken: () => progress.now() }, signal) : receiveRdb(endpoint, deps, options, signal, sink);
  // Without `capa eof` the server saves to its disk, and at once.
  const skip = deps.syncDelay && plan.acceptDiskless !== false ? new SyncDelaySkip(endpoint, node.runId, { ...deps, recorder: deps.syncDelay, onProgress }) : undefined;
  const received = await receive({
    engine, version: node.version, history, acceptDiskless: plan.acceptDiskless, limits: plan.limits, spillDirectory: plan.spillDirectory,
    beforeSync: async () => {
      const attempt = await deps.syncs?.begin({ runId: node.runId, address: addressOf(node) });
      if (attempt) deps.onSync(attempt);
      await skip?.begin(signal);
    },
    onEvent: (event) => {
      if (event.kind === 'snapshotting') onProgress({ kind: 'phase', phase: 'SNAPSHOTTING' });
      else if (event.kind === 'saving') skip?.saving();
      else {
        progress.bytesTotal = event.length;
        onProgress({ kind: 'phase', phase: 'TRANSFERRING' });
      }
    },
  }).finally(() => skip?.end());
  progress.report();
  return { method: 'REPLICATION', replication: { id: received.replicationId, offset: received.offset }, closed: received.closed };
};
