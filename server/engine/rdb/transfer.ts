import { OPCODE_SINCE_REDIS, TYPE_SINCE_REDIS, TYPE_SINCE_VALKEY, type Since } from './format-table.js';
import { type LossName } from './losses.js';
import { type RdbMagic } from './summary.js';
import { compareVersions, hasBundledModules, hasModule, rdbVersionWrittenBy, type ServerVersion } from './versions.js';

/** A server that values are sent to. */
export type TransferTarget = ServerVersion & {
  /** Names from `MODULE LIST`; absent when they could not be read. */
  modules?: readonly string[] | undefined;
  /** Nothing is to be sent as a payload. */
  commandsOnly?: boolean | undefined;
};

/** How a value gets into a server key by key: as the payload of a RESTORE that ends in `version`, as the commands that make it, or not at all. */
export type Transfer = { by: 'PAYLOAD'; version: number } | { by: 'COMMANDS' } | { by: 'LOSS'; loss: LossName };

export interface TransferHints {
  /** For type 7: the name of the module data type (`moduleTypeOf`). Without it module data is never sent. */
  module?: string | undefined;
  /** Who wrote the value; decides about data of the modules that come with Redis 8. */
  source?: ServerVersion | null | undefined;
}

const MODULE = 7;
const STREAMS: ReadonlySet<number> = new Set([15, 19, 21]);
const RESTORE_SINCE = '2.6';
const STREAMS_SINCE = '5.0';

/** From 22 on the two engines have given the same numbers to different types. */
export const typeSince = (rdbType: number, magic: RdbMagic): Since | undefined =>
  (magic === 'VALKEY' && rdbType >= 22 ? TYPE_SINCE_VALKEY : TYPE_SINCE_REDIS)[rdbType];

const reaches = (target: ServerVersion, since: string | null): boolean => since !== null && compareVersions(target.version, since) >= 0;

/** Hashes with fields that expire on their own: Redis 7.4, Valkey 9.0. */
export const hasFieldExpiry = ({ engine, version }: ServerVersion): boolean =>
  compareVersions(version, { REDIS: '7.4', VALKEY: '9.0' }[engine]) >= 0;

export const hasStreams = (target: ServerVersion): boolean => target.engine === 'VALKEY' || reaches(target, STREAMS_SINCE);

export const hasFunctions = (target: ServerVersion): boolean => target.engine === 'VALKEY' || reaches(target, '7.0');

/** Entries ever added to a stream and read by its groups, and its highest deleted ID; set by options of XSETID and XGROUP CREATE. */
export const hasStreamCounters = (target: ServerVersion): boolean => target.engine === 'VALKEY' || reaches(target, '7.0');

/** Whether a server takes a value of that module data type, written by `source`, without ending itself over it. */
export const takesModule = (module: string, target: TransferTarget, source: ServerVersion | null): boolean => {
  if (target.commandsOnly === true || !hasModule(module, target.modules)) return false;
  if (!hasBundledModules({ modules: [module] }, source)) return true;
  return source !== null && source.engine === target.engine && compareVersions(target.version, source.version) >= 0;
};

/**
 * How a value of an RDB type, from a file with that magic word, gets into a server. Asked once per type and target, not per key.
 *
 * A payload ends in the version that the target itself writes: servers before 4.0 take no other, later ones take every lower one, too; the
 * bytes of a value mean the same under all versions. Module data goes only where the module is known to be: servers up to 6.0 end themselves
 * over a payload whose module they lack (rdbLoadObject).
 */
export const transferOf = (rdbType: number, magic: RdbMagic, target: TransferTarget, { module, source = null }: TransferHints = {}): Transfer => {
  const since = typeSince(rdbType, magic);
  if (since === undefined) return { by: 'LOSS', loss: 'UNKNOWN_CONTENT' };
  const payload: Transfer = { by: 'PAYLOAD', version: rdbVersionWrittenBy(target.engine, target.version).version };
  const loads = reaches(target, since[target.engine]) && reaches(target, RESTORE_SINCE);
  if (rdbType === MODULE) return loads && module !== undefined && takesModule(module, target, source) ? payload : { by: 'LOSS', loss: 'MODULES' };
  if (loads && target.commandsOnly !== true) return payload;
  return STREAMS.has(rdbType) && !hasStreams(target) ? { by: 'LOSS', loss: 'STREAMS' } : { by: 'COMMANDS' };
};

export const opcodeSince = (opcode: number, magic: RdbMagic): Since | undefined => {
  // A slot import in progress (Valkey 9) is no data, but no other server can pass over it.
  if (magic === 'VALKEY' && opcode === 243) return { REDIS: null, VALKEY: '9.0' };
  return OPCODE_SINCE_REDIS[opcode];
};
