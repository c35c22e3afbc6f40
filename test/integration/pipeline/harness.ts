import { DEFAULT_RESTORE_OPTIONS, type RestoreOptions } from '../../../server/domain/restore-options.js';
import { type Endpoint, type EngineProgress } from '../../../server/engine/ports.js';
import { inspectSelection, type PipelineFailure, type PipelineFindings, type PipelineReport, type PipelineRestoreDeps, runPipelineRestore } from '../../../server/engine/restore-pipeline.js';
import { type RdbSource } from '../../../server/engine/target/source.js';
import { type RestoreTimes } from '../../../server/engine/target/times.js';
import { type RedisServer } from '../../kit/redis.js';
import { dial, endpointOf, infoOf, silent, TIMES, type Rdb } from '../restore/harness.js';

export interface SourceHooks {
  pieceBytes?: number;
  /** Awaited before the piece that starts at or after this byte, in the second reading, which is the one that writes. */
  before?: { byte: number; act: () => Promise<void> | void; reading?: number };
}

/** An RDB in memory that is lent piece by piece, as an archive does. */
export const lentSource = (rdb: Rdb, { pieceBytes = 64 * 1024, before }: SourceHooks = {}): RdbSource & { readings: () => number } => {
  let readings = 0;
  return {
    facts: rdb.facts,
    readings: () => readings,
    read: async function* ({ start = 0n, end = BigInt(rdb.bytes.length) }) {
      if (start === 0n) readings += 1;
      let acted = start !== 0n || readings !== (before?.reading ?? 2);
      for (let at = Number(start); at < Number(end); at += pieceBytes) {
        if (before && !acted && at >= before.byte) {
          acted = true;
          await before.act();
        }
        const lent = Buffer.from(rdb.bytes.subarray(at, Math.min(Number(end), at + pieceBytes)));
        yield lent;
        lent.fill(0xee);
      }
    },
  };
};

export interface PipelineOptions extends Partial<RestoreOptions> {
  endpoint?: Endpoint;
  takenAt?: Date;
  times?: Partial<RestoreTimes>;
  deps?: Partial<PipelineRestoreDeps>;
  acceptedWarnings?: string[];
  runId?: string;
  signal?: AbortSignal;
  onProgress?: (progress: EngineProgress) => void;
}

export interface PipelineRan {
  report: PipelineReport;
  failure: PipelineFailure | undefined;
  phases: string[];
}

const planOf = async (server: RedisServer, { endpoint, takenAt = new Date(), times, acceptedWarnings = [], runId, ...options }: PipelineOptions) => {
  const info = await infoOf(server);
  const { deps: _deps, signal: _signal, onProgress: _onProgress, ...chosen } = options;
  return {
    endpoint: endpoint ?? endpointOf(server), runId: runId ?? info['run_id'] ?? '', version: server.version, acceptedWarnings, takenAt,
    options: { ...DEFAULT_RESTORE_OPTIONS, ...chosen }, times: { ...TIMES, ...times },
  };
};

/** A whole restore by pipeline; its failure is returned, not thrown. */
export const pipelineInto = async (server: RedisServer, source: RdbSource, options: PipelineOptions = {}): Promise<PipelineRan> => {
  const phases: string[] = [];
  const deps: PipelineRestoreDeps = { dial, log: silent, source, assertOwned: () => Promise.resolve(), ...options.deps };
  try {
    const report = await runPipelineRestore(await planOf(server, options), deps, options.signal ?? new AbortController().signal, (progress) => {
      if (progress.kind === 'phase') phases.push(progress.phase);
      options.onProgress?.(progress);
    });
    return { report, failure: undefined, phases };
  } catch (error) {
    return { report: (error as PipelineFailure).report, failure: error as PipelineFailure, phases };
  }
};

export const inspectInto = async (server: RedisServer, source: RdbSource, options: PipelineOptions = {}): Promise<PipelineFindings> =>
  inspectSelection({ ...(await planOf(server, options)), safetyBackup: false }, { dial, log: silent, source }, options.signal ?? new AbortController().signal, (progress) => options.onProgress?.(progress));
