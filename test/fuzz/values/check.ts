import { DomainError } from '../../../server/domain/errors.js';
import { valueCommands, type ValueCommandsInput } from '../../../server/engine/rdb/commands/value-commands.js';
import { type RdbMagic } from '../../../server/engine/rdb/summary.js';
import { MAX_LZF_EXPANSION } from '../../../server/engine/rdb/limits.js';
import { pick, type Random } from '../rdb/random.js';

export interface ValueInput {
  rdbType: number;
  magic: RdbMagic;
  bytes: Buffer;
  /** A server wrote it: it must be accepted. */
  sound?: boolean;
}

const TARGETS: readonly ValueCommandsInput['target'][] = [
  { engine: 'REDIS', version: '2.8.24' }, { engine: 'REDIS', version: '5.0.14' }, { engine: 'REDIS', version: '7.0.15' }, { engine: 'REDIS', version: '8.0.2' }, { engine: 'VALKEY', version: '9.1.2' },
];
const NAMES = new Set(['SET', 'RPUSH', 'SADD', 'ZADD', 'HSET', 'HMSET', 'HPEXPIREAT', 'XADD', 'XSETID', 'XGROUP', 'XCLAIM', 'XDEL', 'XTRIM', 'XREADGROUP']);
const MOST_ARGUMENTS = 2 + 2 * 512;
const MOST_BYTES = 64 * 1024;
const KEY = Buffer.from('k');

/** Whether a command keeps within its bounds; entries of streams are as large as they are. */
const tooLarge = (command: readonly Buffer[], name: string): boolean => {
  if (name === 'XADD') return false;
  if (name === 'XCLAIM') return command.length > 11 + 512;
  if (command.length > MOST_ARGUMENTS + 3) return true;
  const bytes = command.slice(2).reduce((sum, { length }) => sum + length, 0);
  const elements = ['ZADD', 'HSET', 'HMSET'].includes(name) ? (command.length - 2) / 2 : command.length - 2;
  return name !== 'HPEXPIREAT' && elements > 1 && bytes > MOST_BYTES;
};

/** Makes the commands of a value for one of the targets: each within its bounds, no more of them than the value can hold, and nothing thrown but CORRUPT. */
export const checkValue = ({ rdbType, magic, bytes, sound = false }: ValueInput, random: Random): { kind: string; problem: string | undefined } => {
  const target = pick(TARGETS, random);
  const before = Buffer.from(bytes);
  // A byte of a compressed string is a few at most, and none of them makes more than two commands.
  const most = 100 + bytes.length * MAX_LZF_EXPANSION;
  let commands = 0;
  let kind = 'MADE';
  try {
    for (const command of valueCommands({ rdbType, magic, key: KEY, value: bytes, target, nowMs: 1_700_000_000_000, offset: 7 })) {
      commands += 1;
      const name = String(command[0]);
      if (!NAMES.has(name)) return { kind, problem: `command ${name}` };
      const keyAt = name === 'XGROUP' ? 2 : name === 'XREADGROUP' ? command.length - 2 : 1;
      if (command[keyAt]?.equals(KEY) !== true) return { kind, problem: `${name} is not for the key` };
      if (tooLarge(command, name)) return { kind, problem: `${name} with ${String(command.length)} arguments` };
      if (commands > most) return { kind, problem: `more than ${String(most)} commands of ${String(bytes.length)} bytes` };
    }
  } catch (error) {
    if (!(error instanceof DomainError) || error.code !== 'CORRUPT') throw error;
    const offset = error.details['offset'];
    if (typeof offset !== 'number' || offset < 7 || offset > 7 + bytes.length) return { kind, problem: `the offset ${String(offset)} lies outside of the value: ${error.message}` };
    kind = 'CORRUPT';
  }
  if (!before.equals(bytes)) return { kind, problem: 'the value was changed' };
  return { kind, problem: sound && kind !== 'MADE' ? 'a sound value was refused' : undefined };
};
