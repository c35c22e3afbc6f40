import { type RdbSummary } from './summary.js';
import { hasFieldExpiry, hasFunctions, hasStreamCounters, hasStreams, takesModule, transferOf, type TransferTarget } from './transfer.js';
import { writtenBy, type ServerVersion } from './versions.js';

/** What a restore key by key may have to leave behind. Stable: callers accept losses by these names. */
export const LOSS_NAMES = [
  'FIELD_TTL', 'FUNCTIONS', 'STREAMS', 'STREAM_METADATA', 'MODULES', 'MODULE_AUX', 'KEY_METADATA', 'UNKNOWN_CONTENT', 'NAN_SCORES', 'PENDING_ENTRIES',
] as const;
export type LossName = (typeof LOSS_NAMES)[number];

export interface Loss {
  name: LossName;
  /** What is left behind, and what becomes of the rest, as sentences. */
  what: string;
  /** How many keys it concerns, where the file's summary tells. */
  keys?: bigint;
}

/** What of a file's summary decides. */
export type LossFacts = Pick<RdbSummary, 'magic' | 'rdbTypes' | 'opcodes' | 'types' | 'functions' | 'modules' | 'hasHashFieldTtl' | 'unknown' | 'aux'>;

const MODULE = 7;
const FUNCTION = 245;
const MODULE_AUX = 247;
const KEY_METADATA = 243;

const ENGINE_NAME = { REDIS: 'Redis', VALKEY: 'Valkey' } as const;
const keysOf = (facts: LossFacts, type: RdbSummary['types'][number]['type']): { keys?: bigint } => {
  const keys = facts.types.find((count) => count.type === type)?.keys;
  return keys === undefined ? {} : { keys };
};

/**
 * What a restore key by key (payloads of RESTORE, and commands where the target does not know a type) cannot bring to a target; empty when all
 * of it gets there. Two more losses are in the values only and told as they are met: NAN_SCORES and PENDING_ENTRIES. How recently or often a key was used
 * (LRU and LFU) is not counted: it is not data, and RESTORE has no place for it before 5.0.
 *
 * @param source who wrote the file, where the caller knows better than the file's own notes.
 */
export const lossesFor = (facts: LossFacts, target: TransferTarget, source: ServerVersion | null = writtenBy(facts)): Loss[] => {
  const server = `${ENGINE_NAME[target.engine]} ${target.version}`;
  const losses: Loss[] = [];
  if (facts.hasHashFieldTtl && !hasFieldExpiry(target)) {
    losses.push({ name: 'FIELD_TTL', what: `Fields of hashes cannot expire on ${server} (Redis 7.4, Valkey 9.0): fields that have not expired yet stay for good.` });
  }
  if (facts.opcodes.includes(FUNCTION) && !hasFunctions(target)) {
    losses.push({ name: 'FUNCTIONS', what: `${server} has no functions (7.0): ${facts.functions} libraries are left out.` });
  }
  const streams = facts.rdbTypes.filter((type) => type === 15 || type === 19 || type === 21);
  if (streams.length > 0 && !hasStreams(target)) {
    losses.push({ name: 'STREAMS', what: `${server} has no streams (5.0): they are left out.`, ...keysOf(facts, 'STREAM') });
  } else if (streams.some((type) => transferOf(type, facts.magic, target).by === 'COMMANDS')) {
    const counters = hasStreamCounters(target) ? '' : ', how many entries were ever added and read by each group, and the highest deleted ID';
    losses.push({
      name: 'STREAM_METADATA',
      what: `${target.commandsOnly === true ? 'Streams are not sent as they are' : `${server} does not load these streams as they are`}; their entries, groups, consumers and pending entries are made anew. Left out: when each consumer was last seen and active${counters}.`,
    });
  }
  losses.push(...moduleLosses(facts, target, source));
  if (facts.unknown !== null) {
    losses.push({ name: 'UNKNOWN_CONTENT', what: `From byte ${facts.unknown.offset} on the file cannot be read here (unknown ${facts.unknown.kind.toLowerCase()} ${facts.unknown.code}): everything behind it is left out.` });
  }
  return losses;
};

const moduleLosses = function* (facts: LossFacts, target: TransferTarget, source: ServerVersion | null): Generator<Loss> {
  const lost = facts.rdbTypes.includes(MODULE) ? facts.modules.filter((module) => !takesModule(module, target, source)) : [];
  if (lost.length > 0) {
    const why = target.commandsOnly === true ? 'and no command makes them'
      : target.modules === undefined ? 'whose modules could not be listed' : 'which lacks the module or has an older one';
    yield {
      name: 'MODULES', what: `Data of module types ${lost.join(', ')} is left out: the target is ${ENGINE_NAME[target.engine]} ${target.version}, ${why}.`,
      ...(lost.length === facts.modules.length ? keysOf(facts, 'MODULE') : {}),
    };
  }
  if (facts.opcodes.includes(MODULE_AUX)) {
    yield { name: 'MODULE_AUX', what: 'What modules keep beside the keys, such as definitions of search indexes, travels only in a whole file.' };
  }
  if (facts.magic === 'REDIS' && facts.opcodes.includes(KEY_METADATA)) {
    yield { name: 'KEY_METADATA', what: 'What modules have attached to keys (Redis 8.6) travels only in a whole file.' };
  }
};
