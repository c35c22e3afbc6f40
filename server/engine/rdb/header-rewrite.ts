import { FORMATS, LAST_COMMON_VERSION } from './format-table.js';
import { type RdbHeader, type RdbMagic } from './summary.js';
import { opcodeSince, typeSince } from './transfer.js';
import { canLoad, compareVersions, functionsSince, writtenBy, type LoadFacts, type LoadVerdict, type ServerVersion } from './versions.js';

/** Whether a server loads a whole file, and under which header: null is the file's own. */
export type WholeVerdict = { ok: true; header: RdbHeader | null } | Extract<LoadVerdict, { ok: false }>;

/** The oldest servers that are given a newer file under an older header. Sets and streams of newer ones have types of their own, which older ones lack. */
const OLDEST = '7.2';
/** All servers from there on load it, and what came with later formats none of them takes that refuses those. */
const COMMON: RdbHeader = { magic: 'REDIS', version: LAST_COMMON_VERSION };

/** In words, for those types that are in the way of anything. */
const TYPE_NAMES: Readonly<Record<RdbMagic, Readonly<Record<number, string>>>> = {
  REDIS: { 22: 'hashes whose fields expire', 23: 'hashes whose fields expire', 24: 'hashes whose fields expire', 25: 'hashes whose fields expire' },
  VALKEY: { 22: 'hashes whose fields expire' },
};
const OPCODE_NAMES: Readonly<Record<number, string>> = { 243: 'notes that only its own engine knows', 244: 'notes on slots' };

const listed = (codes: readonly number[], name: (code: number) => string | undefined): string =>
  [...new Set(codes.map((code) => name(code) ?? `what code ${code} stands for`))].join(' and ');

/**
 * What keeps a file from being loaded under another header, as the end of a sentence; undefined: nothing does. All of it is proved by the walk
 * that the summary comes from, and tried with the formats that real servers were measured with; what is neither is in the way.
 */
const obstacle = (facts: LoadFacts, target: ServerVersion, source: ServerVersion | null): string | undefined => {
  const reaches = (since: string | null | undefined): boolean => since != null && compareVersions(target.version, since) >= 0;
  if (compareVersions(target.version, OLDEST) < 0) return `servers before ${OLDEST} are given no newer file`;
  if (!FORMATS.some(({ magic, version, source: known }) => magic === facts.magic && version === facts.version && known === 'MEASURED')) return 'that was never tried with this format';
  if (facts.unknown !== null) return `what follows byte ${facts.unknown.offset} is not known here`;
  if (facts.modules.length > 0) return `it holds data of modules (${facts.modules.join(', ')})`;
  const types = facts.rdbTypes.filter((type) => !reaches(typeSince(type, facts.magic)?.[target.engine]));
  if (types.length > 0) return `it holds ${listed(types, (type) => TYPE_NAMES[facts.magic][type])}`;
  const opcodes = facts.opcodes.filter((opcode) => !reaches(opcodeSince(opcode, facts.magic)?.[target.engine]));
  if (opcodes.length > 0) return `it holds ${listed(opcodes, (opcode) => OPCODE_NAMES[opcode])}`;
  if (!reaches(functionsSince(facts, source)?.[target.engine])) return 'it holds functions that may use what the target has not got';
  return undefined;
};

/**
 * Whether a server loads a whole file, as it is or with nothing changed but its first nine bytes and the checksum. Asked before anything on the target
 * is touched: a server that meets in the middle what it does not know has lost its own data by then.
 *
 * @param source who wrote the file, where the caller knows better than the file's own notes.
 */
export const wholeVerdict = (
  facts: LoadFacts, target: ServerVersion & { modules?: readonly string[] | undefined }, source: ServerVersion | null = writtenBy(facts),
): WholeVerdict => {
  const asItIs = canLoad(facts, target, source);
  if (asItIs.ok) return { ok: true, header: null };
  const why = obstacle(facts, target, source);
  return why === undefined ? { ok: true, header: COMMON } : { ...asItIs, reason: `${asItIs.reason} Another header would not help: ${why}.` };
};

/** The first nine bytes of a file. */
export const headerBytes = ({ magic, version }: RdbHeader): Buffer => Buffer.from(magic + String(version).padStart(9 - magic.length, '0'), 'latin1');
