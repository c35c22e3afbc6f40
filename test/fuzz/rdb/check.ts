import { ENGINES } from '../../../server/domain/backup.js';
import { DomainError } from '../../../server/domain/errors.js';
import { readManifest } from '../../../server/engine/archive/archive.js';
import { blocksOf } from '../../../server/engine/archive/layout.js';
import { encodeManifest, rdbJson } from '../../../server/engine/archive/manifest.js';
import { canonicalJson } from '../../../server/engine/archive/canonical-json.js';
import { type RdbKeyEvent, type RdbSummary } from '../../../server/engine/rdb/summary.js';
import { RdbReader } from '../../../server/engine/rdb/reader.js';
import { canLoad, loadsOn, writtenBy } from '../../../server/engine/rdb/versions.js';
import { memoryStore } from '../../kit/memory-store.js';
import { type Random } from './random.js';

export const CHUNK_SIZES = [1, 7, 4096, 65_536, Infinity];
/** What the reader may say. Anything else is a fault of its own. */
const CODES = new Set(['CORRUPT', 'TRUNCATED', 'UNSUPPORTED_FORMAT', 'LIMIT_EXCEEDED']);

export type Walk = { summary: RdbSummary; keys: string } | { code: string; offset: unknown; message: string };

/** Reads a file in chunks, each a copy that is overwritten afterwards: the reader may keep nothing of it. */
const walk = (file: Buffer, chunk: () => number, onKey?: (key: RdbKeyEvent) => void): RdbSummary => {
  const reader = new RdbReader(onKey ? { onKey } : {});
  const lent = Buffer.allocUnsafe(file.length);
  for (let at = 0; at < file.length; ) {
    const piece = lent.subarray(0, Math.min(file.length - at, chunk()));
    file.copy(piece, 0, at);
    at += piece.length;
    const taken = reader.push(piece);
    piece.fill(0xee);
    if (taken < piece.length) break;
  }
  return reader.finish();
};

const outcomeOf = (file: Buffer, chunk: () => number, listening: boolean): Walk => {
  let keys = 0;
  let digest = 0;
  const onKey = ({ database, rdbType, expiresAtMs, key, name, nameBytes, offset, bytes, elements }: RdbKeyEvent): void => {
    keys += 1;
    for (const value of [database, rdbType, expiresAtMs ?? -1, offset, bytes, key?.length ?? -1, key?.[0] ?? -1, key?.at(-1) ?? -1, name.length, nameBytes, elements ?? -1]) digest = (Math.imul(digest, 31) + (value % 2 ** 31)) | 0;
  };
  try {
    const summary = walk(file, chunk, listening ? onKey : undefined);
    return { summary, keys: listening ? `${keys} ${digest}` : '' };
  } catch (error) {
    if (error instanceof DomainError && CODES.has(error.code)) return { code: error.code, offset: error.details['offset'], message: error.message };
    throw error;
  }
};

const spelled = (walked: Walk): string => ('summary' in walked ? canonicalJson(rdbJson(walked.summary)) + walked.keys : `${walked.code} ${String(walked.offset)} ${walked.message}`);

/** What can be walked can be kept: the summary goes through a manifest unchanged. */
const throughManifest = async (rdb: RdbSummary): Promise<string | undefined> => {
  const id = `bak_${'0'.repeat(26)}`;
  const { bytes } = encodeManifest(id, {
    object: 'rdb', kind: 'RDB', codec: 'none', cipher: 'none', blockSize: 262_144, blockCount: blocksOf(Number(rdb.bytes), 262_144), salt: '00'.repeat(16),
    plainSize: rdb.bytes, storedSize: 1n, plainSha256: '00'.repeat(32), storedSha256: '00'.repeat(32),
  }, {
    rdb, coverage: { kind: 'INSTANCE' }, replication: null, backup: { projectId: `prj_${'0'.repeat(26)}`, name: 'x', trigger: 'MANUAL' },
    source: { instanceId: `ins_${'0'.repeat(26)}`, instanceName: 'x', engine: 'REDIS', version: '1', runId: '0'.repeat(40), address: null, node: null },
    capture: { method: 'REPLICATION', consistency: 'POINT_IN_TIME' }, startedAt: new Date(0), completedAt: new Date(0), createdBy: { software: 'x', version: '1' },
  }, null);
  const kept = (await readManifest(memoryStore(new Map([[`backups/${id}/manifest`, bytes]])), id)).artifacts[0].rdb;
  return canonicalJson(rdbJson(kept)) === canonicalJson(rdbJson(rdb)) ? undefined : 'a manifest does not keep its summary';
};

export interface Checked {
  walk: Walk;
  /** What is wrong with the reader; undefined when nothing is. */
  problem: string | undefined;
}

/** Walks a file at every chunk size, listening and not, and asks everything that is asked of a summary. Throws what the reader breaks with. */
export const check = async (file: Buffer, random: Random): Promise<Checked> => {
  const whole = outcomeOf(file, () => Infinity, true);
  const expected = spelled(whole);
  const deaf = spelled('keys' in whole ? { ...whole, keys: '' } : whole);
  const sizes: [string, () => number][] = [...CHUNK_SIZES.map((size): [string, () => number] => [String(size), () => size]), ['random', () => 1 + random(300)]];
  for (const [name, chunk] of sizes) {
    if (spelled(outcomeOf(file, chunk, true)) !== expected) return { walk: whole, problem: `other results at chunk size ${name}` };
    if (spelled(outcomeOf(file, chunk, false)) !== deaf) return { walk: whole, problem: `other results at chunk size ${name} when nobody listens` };
  }
  if (!('summary' in whole)) return { walk: whole, problem: undefined };
  const { summary } = whole;
  if (summary.integrity === 'CHECKSUM_ONLY' && summary.checksum !== 'VALID') return { walk: whole, problem: 'unknown content and no checksum that vouches for it' };
  if (summary.unknown !== null && summary.integrity !== 'CHECKSUM_ONLY') return { walk: whole, problem: 'unknown content is called walked' };
  const source = writtenBy(summary) ?? { engine: 'REDIS' as const, version: '7.0.15' };
  for (const { engine, minVersion } of loadsOn(summary, source)) {
    const verdict = canLoad(summary, { engine, version: minVersion, modules: summary.modules }, source);
    // Modules go by names of their own.
    if (!verdict.ok && summary.modules.length === 0 && summary.functionApi !== 'OTHER') return { walk: whole, problem: `loadsOn says ${engine} ${minVersion}, canLoad says no: ${verdict.reason}` };
  }
  for (const engine of ENGINES) canLoad(summary, { engine, version: '9.9.9' }, source);
  return { walk: whole, problem: await throughManifest(summary) };
};
