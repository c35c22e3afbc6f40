import { ENGINES, type Engine } from '../../domain/backup.js';
import { FORMATS, LAST_COMMON_VERSION, MODULE_OF_TYPE, OPCODE_SINCE_REDIS, TYPE_SINCE_REDIS, type Since } from './format-table.js';
import { type RdbHeader, type RdbSummary } from './summary.js';

/** A server's engine and version; `version` is `redis_version`, or `valkey_version` where INFO has it. */
export interface ServerVersion {
  engine: Engine;
  version: string;
}

/** Versions of one engine that load a file as it is. */
export interface LoadTarget {
  engine: Engine;
  minVersion: string;
  /** Null: every later version, as far as anybody knows. */
  maxVersion: string | null;
}

export type LoadVerdict = { ok: true } | { ok: false; code: 'VERSION_TOO_OLD' | 'UNSUPPORTED_FORMAT'; reason: string };

/** What of a summary decides who can load the file. */
export type LoadFacts = Pick<RdbSummary, 'magic' | 'version' | 'rdbTypes' | 'opcodes' | 'modules' | 'functionApi' | 'unknown' | 'aux'>;

const ENGINE_NAME: Readonly<Record<Engine, string>> = { REDIS: 'Redis', VALKEY: 'Valkey' };

/** Numbers of a version; what is no number ends it. A release candidate (`8.0.0-rc1`) ranks below its release. */
const parse = (version: string): { parts: number[]; candidate: boolean } => {
  const match = /^v?(\d+(?:\.\d+)*)(.*)$/.exec(version.trim());
  return { parts: (match?.[1] ?? '0').split('.').map(Number), candidate: /^-?(?:rc|alpha|beta|m\d)/i.test(match?.[2] ?? '') };
};

/** Negative when `a` is the older version, 0 when they are equal, positive when `a` is newer. Missing parts are 0. */
export function compareVersions(a: string, b: string): number {
  const left = parse(a);
  const right = parse(b);
  for (let at = 0; at < Math.max(left.parts.length, right.parts.length); at++) {
    const difference = (left.parts[at] ?? 0) - (right.parts[at] ?? 0);
    if (difference !== 0) return difference;
  }
  return Number(right.candidate) - Number(left.candidate);
}

/**
 * Header that a server writes. Versions newer than the table get the newest entry that is known ("at least this"),
 * versions older than it the oldest.
 */
export function rdbVersionWrittenBy(engine: Engine, version: string): RdbHeader {
  const rows = FORMATS.filter((row) => row.engine === engine);
  const row = rows.find(({ since }) => compareVersions(version, since) >= 0) ?? rows.at(-1);
  return { magic: row?.magic ?? 'REDIS', version: row?.version ?? LAST_COMMON_VERSION };
}

/** First version of `engine` that accepts the header; null: none; undefined: the header is not in the table. */
function headerSince(facts: LoadFacts, engine: Engine): string | null | undefined {
  const { magic, version } = facts;
  if (!FORMATS.some((row) => row.magic === magic && row.version >= version)) {
    return magic === engine ? undefined : null;
  }
  if (magic === 'REDIS' && engine === 'VALKEY') return version <= LAST_COMMON_VERSION ? '7.2' : null;
  if (magic === 'VALKEY' && engine === 'REDIS') return null;
  return FORMATS.filter((row) => row.engine === engine && row.magic === magic && row.version >= version).at(-1)?.since;
}

/**
 * Whether the file holds data of modules that come with Redis since 8. Their encodings change between patch releases under
 * one name and number: the vector sets of 8.0.6 end an 8.0.2 that loads them (redis/redis#14144).
 */
export function hasBundledModules(facts: Pick<RdbSummary, 'modules'>, source: ServerVersion | null): boolean {
  if (source === null) return facts.modules.includes('vectorset');
  return facts.modules.length > 0 && source.engine === 'REDIS' && compareVersions(source.version, '8.0.0-rc1') >= 0;
}

const FUNCTION = 245;
const SERVER_API_SINCE: Since = { REDIS: null, VALKEY: '8.0' };
const ANY: Since = { REDIS: '0', VALKEY: '0' };

/** Functions may know their server as `server`, too, and be in other languages than Lua, which modules bring. */
export const hasServerApi = ({ engine, version }: ServerVersion): boolean => {
  const since = SERVER_API_SINCE[engine];
  return since !== null && compareVersions(version, since) >= 0;
};

/**
 * First versions that load the libraries of a file, as far as their code decides; null: no version; undefined: nobody can tell. What a server
 * without `server` has loaded does without it, whatever words are in it.
 */
export function functionsSince(facts: Pick<RdbSummary, 'opcodes' | 'functionApi'>, source: ServerVersion | null): Since | undefined {
  if (!facts.opcodes.includes(FUNCTION) || facts.functionApi === 'REDIS') return ANY;
  if (source !== null && !hasServerApi(source)) return ANY;
  return facts.functionApi === 'SERVER' ? SERVER_API_SINCE : undefined;
}

/** First version of `engine` that loads header, types, opcodes, functions and bundled modules; null: none; undefined: nobody can tell. */
function loadsSince(facts: LoadFacts, engine: Engine, source: ServerVersion | null): string | null | undefined {
  const header = headerSince(facts, engine);
  if (header === null || header === undefined) return header;
  if (facts.unknown !== null) return undefined;
  const functions = functionsSince(facts, source)?.[engine];
  if (functions === null || functions === undefined) return functions;
  // Valkey's own formats have no type or opcode that came later than their header.
  if (facts.magic === 'VALKEY') return header;
  let since = compareVersions(functions, header) > 0 ? functions : header;
  const needs = [...facts.rdbTypes.map((code) => TYPE_SINCE_REDIS[code]), ...facts.opcodes.map((code) => OPCODE_SINCE_REDIS[code])];
  for (const need of needs) {
    if (need === undefined) return undefined;
    const first = need[engine];
    if (first === null) return null;
    if (compareVersions(first, since) > 0) since = first;
  }
  if (engine === 'REDIS' && hasBundledModules(facts, source)) {
    if (source === null) return undefined;
    if (compareVersions(source.version, since) > 0) since = source.version;
  }
  return since;
}

/** The server that wrote the file, from its own notes; null before RDB 7, which has none. */
export function writtenBy(facts: Pick<RdbSummary, 'aux' | 'magic'>): ServerVersion | null {
  const valkey = facts.aux['valkey-ver'];
  if (valkey !== undefined) return { engine: 'VALKEY', version: valkey };
  const redis = facts.aux['redis-ver'];
  return redis === undefined || facts.magic === 'VALKEY' ? null : { engine: 'REDIS', version: redis };
}

/**
 * Who loads the file unchanged, the source's family first. The source's own version and all later ones are always in:
 * newer servers load what older ones of their family wrote. Whether a server has the modules that the file needs is not
 * looked at here.
 */
export function loadsOn(facts: LoadFacts, source: ServerVersion): LoadTarget[] {
  const engines = [source.engine, ...ENGINES.filter((engine) => engine !== source.engine)];
  return engines.flatMap((engine) => {
    const since = loadsSince(facts, engine, source);
    if (engine !== source.engine) {
      return since === null || since === undefined ? [] : [{ engine, minVersion: since, maxVersion: null }];
    }
    const known = since !== null && since !== undefined && compareVersions(since, source.version) < 0;
    return [{ engine, minVersion: known ? since : source.version, maxVersion: null }];
  });
}

/**
 * Whether a server loads the file unchanged: asked before anything on the target is touched, since most servers flush
 * their data before they notice. Conservative: what cannot be told is refused, unless the target is of the family that
 * wrote the file and not older.
 *
 * @param target `modules`: names from `MODULE LIST`; absent when they could not be read, and then a file with module data
 *   is refused.
 * @param source who wrote the file, where the caller knows better than the file's own notes.
 */
export function canLoad(
  facts: LoadFacts, target: ServerVersion & { modules?: readonly string[] | undefined }, source: ServerVersion | null = writtenBy(facts),
): LoadVerdict {
  const server = `${ENGINE_NAME[target.engine]} ${target.version}`;
  const asNew = source !== null && source.engine === target.engine && compareVersions(target.version, source.version) >= 0;
  const since = asNew ? target.version : loadsSince(facts, target.engine, source);
  const format = `RDB ${facts.version} (${facts.magic})`;
  if (since === null) {
    return { ok: false, code: 'UNSUPPORTED_FORMAT', reason: `No version of ${ENGINE_NAME[target.engine]} loads ${format} with these types${facts.opcodes.includes(FUNCTION) ? ' and functions' : ''}.` };
  }
  if (since === undefined) {
    const origin = source === null ? 'the server that wrote it' : `${ENGINE_NAME[source.engine]} ${source.version}`;
    return {
      ok: false, code: 'UNSUPPORTED_FORMAT',
      reason: `${format} holds content that is not known here: only ${origin} or a newer one is sure to load it, ${server} is not.`,
    };
  }
  if (compareVersions(target.version, since) < 0) {
    return { ok: false, code: 'VERSION_TOO_OLD', reason: `${format} with these types needs ${ENGINE_NAME[target.engine]} ${since} or newer; the target is ${server}.` };
  }
  if (facts.functionApi === 'OTHER' && (source === null || hasServerApi(source))) {
    return { ok: false, code: 'UNSUPPORTED_FORMAT', reason: `The file holds functions for another engine than Lua; nobody can tell whether the target, ${server}, has it.` };
  }
  const missing = facts.modules.filter((type) => !hasModule(type, target.modules));
  if (missing.length > 0) {
    const why = target.modules === undefined ? 'whose modules could not be listed' : 'which lacks the module';
    return { ok: false, code: 'UNSUPPORTED_FORMAT', reason: `The file holds data of module types ${missing.join(', ')}; the target is ${server}, ${why}.` };
  }
  return { ok: true };
}

/** @param modules names from `MODULE LIST`; undefined when they could not be read */
export function hasModule(type: string, modules: readonly string[] | undefined): boolean {
  if (modules === undefined) return false;
  const accepted = [type, ...(MODULE_OF_TYPE.find(([pattern]) => pattern.test(type))?.[1] ?? [])].map((name) => name.toLowerCase());
  return modules.some((name) => accepted.includes(name.toLowerCase()));
}
