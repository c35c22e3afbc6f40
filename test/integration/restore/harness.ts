import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createDial, ALLOW_EVERYTHING } from '../../../server/security/dial.js';
import { openControl } from '../../../server/engine/control.js';
import { type Endpoint, type EngineProgress, type Log } from '../../../server/engine/ports.js';
import { RdbReader } from '../../../server/engine/rdb/reader.js';
import { receiveRdb } from '../../../server/engine/source/replication.js';
import { type RestoreDeps, type RestoreFailure, type RestorePlanFacts, type RestoreReport, runRestore, type UndoRecord } from '../../../server/engine/restore.js';
import { inspectTarget, type LinkPlace, type TargetFindings } from '../../../server/engine/target/check.js';
import { type RdbFacts, type RdbSource } from '../../../server/engine/target/source.js';
import { type RestoreTimes } from '../../../server/engine/target/times.js';
import { type RedisServer } from '../../kit/redis.js';

export const dial = createDial(ALLOW_EVERYTHING);
export const silent: Log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

/** Short enough for tests, long enough for a busy machine. */
export const TIMES: Partial<RestoreTimes> = { linkMs: 60_000, reconnectMs: 20_000, pollMs: 25, sourceStallMs: 60_000, pingMs: 200, loadStallMs: 60_000, appendOnlyRetryMs: 3_000 };

export const endpointOf = (server: RedisServer): Endpoint => ({
  host: server.host, port: server.port, ...(server.password === undefined ? {} : { password: server.password }),
  ...(server.tls === undefined ? {} : { tls: { ca: readFileSync(server.tls.caFile, 'utf8') } }),
});

/** An RDB held in memory, with the facts a manifest has. */
export interface Rdb {
  bytes: Buffer;
  facts: RdbFacts;
}

export const rdbOf = (bytes: Buffer, server?: RedisServer): Rdb => {
  const reader = new RdbReader();
  reader.push(bytes);
  return {
    bytes,
    facts: { summary: reader.finish(), sha256: createHash('sha256').update(bytes).digest('hex'), source: server ? { engine: server.engine, version: server.version } : null },
  };
};

/** What the server saves now. */
export const takeRdb = async (server: RedisServer): Promise<Rdb> => {
  const client = server.client();
  try {
    await client.save();
  } finally {
    client.disconnect();
  }
  return rdbOf(readFileSync(join(server.dir, 'dump.rdb')), server);
};

export interface SourceHooks {
  pieceBytes?: number;
  /** Awaited before the piece that starts at or after this byte. May throw. */
  before?: { byte: number; act: () => Promise<void> | void; /** Only in the nth reading of the source; default 1. */ reading?: number };
}

export const sourceOf = (rdb: Rdb, { pieceBytes = 16 * 1024, before }: SourceHooks = {}): RdbSource => {
  let readings = 0;
  return {
    facts: rdb.facts,
    read: async function* () {
      readings += 1;
      let acted = readings !== (before?.reading ?? 1);
      for (let at = 0; at < rdb.bytes.length; at += pieceBytes) {
        if (before && !acted && at >= before.byte) {
          acted = true;
          await before.act();
        }
        yield rdb.bytes.subarray(at, at + pieceBytes);
      }
    },
  };
};

/** A PRE_RESTORE backup that is thrown away: what it does to the target is what a real one does. */
export const safetyBackupOf = (server: RedisServer) => async (signal: AbortSignal): Promise<{ replicationOffset: bigint }> => {
  const { offset } = await receiveRdb(endpointOf(server), { dial, log: silent }, { engine: server.engine, version: server.version }, signal, () => undefined);
  return { replicationOffset: offset };
};

export const inspect = async (server: RedisServer, rdb: Rdb, endpoint: RestorePlanFacts['endpoint'] = endpointOf(server), link?: LinkPlace): Promise<TargetFindings> => {
  const control = await openControl(endpoint, { dial, log: silent });
  try {
    return await inspectTarget(control, rdb.facts, { safetyBackup: true, pauseWrites: true, disklessLoad: false, link });
  } finally {
    control.close();
  }
};

export interface RunOptions {
  plan?: Partial<RestorePlanFacts>;
  deps?: Partial<RestoreDeps>;
  times?: Partial<RestoreTimes>;
  signal?: AbortSignal;
  onProgress?: (progress: EngineProgress) => void;
}

export interface Ran {
  report: RestoreReport | undefined;
  failure: RestoreFailure | undefined;
  records: UndoRecord[];
  phases: string[];
  notices: string[];
}

/** A whole restore; its failure is returned, not thrown. */
export const restoreInto = async (server: RedisServer, source: RdbSource, options: RunOptions = {}): Promise<Ran> => {
  const info = await infoOf(server);
  const ran: Ran = { report: undefined, failure: undefined, records: [], phases: [], notices: [] };
  const plan: RestorePlanFacts = {
    endpoint: endpointOf(server), runId: info['run_id'] ?? '', version: info['redis_version'] ?? '', pauseWrites: true, acceptedWarnings: [],
    // What happens in the middle of an RDB is to happen in the middle of its transfer.
    readAheadBytes: 1,
    times: { ...TIMES, ...options.times }, ...options.plan,
  };
  const deps: RestoreDeps = {
    dial, log: silent, clock: { now: () => new Date() }, source,
    recorder: {
      beforeReplicaOf: async (record) => { ran.records.push(record); },
      pointOfNoReturn: async (record) => { ran.records.push(record); },
    },
    assertOwned: () => Promise.resolve(),
    ...options.deps,
  };
  try {
    ran.report = await runRestore(plan, deps, options.signal ?? new AbortController().signal, (progress) => {
      if (progress.kind === 'phase') ran.phases.push(progress.phase);
      if (progress.kind === 'notice') ran.notices.push(progress.code);
      options.onProgress?.(progress);
    });
  } catch (error) {
    ran.failure = error as RestoreFailure;
  }
  return ran;
};

export const infoOf = async (server: RedisServer): Promise<Record<string, string>> => {
  const text = await server.cli('INFO');
  return Object.fromEntries(text.split('\n').flatMap((line) => {
    const colon = line.indexOf(':');
    return colon > 0 ? [[line.slice(0, colon), line.slice(colon + 1).trim()]] : [];
  }));
};

/** That the server is a master and takes a write. Changes its data. */
export const takesWrites = async (server: RedisServer): Promise<boolean> => (await server.cli('SET', 'written-after', '1')) === 'OK';

export const deferred = <T = void>(): { promise: Promise<T>; resolve: (value: T) => void } => {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((done) => { resolve = done; });
  return { promise, resolve };
};
