import { DomainError } from '../../../domain/errors.js';
import { type ConflictRule } from '../../../domain/restore-options.js';
import { Crc64 } from '../../rdb/crc64.js';
import { surelyNeedsMore } from '../../rdb/functions.js';
import { hasFunctions } from '../../rdb/transfer.js';
import { hasServerApi, rdbVersionWrittenBy, type ServerVersion } from '../../rdb/versions.js';
import { ValueReader } from '../../rdb/values/value-reader.js';
import { ReplyError } from '../../resp.js';
import { type Ledger } from './ledger.js';
import { type NodePipeline } from './node-pipeline.js';
import { refusalOf } from './refusals.js';
import { type Reply } from './reply-parser.js';

const word = (text: string): Buffer => Buffer.from(text, 'latin1');
const FUNCTION = word('FUNCTION');

/** @param stored opcode and string, as in an RDB */
const codeOf = (stored: Buffer): string => new ValueReader(stored.subarray(1)).string().toString('latin1');

/** A library's name, from the first line of its code; null where it says none. */
const libraryName = (stored: Buffer): string | null => /^#![^\n]*\bname=([A-Za-z0-9_]+)/.exec(codeOf(stored))?.[1] ?? null;

/** Libraries without those that the target refuses for sure. @param source who wrote them; what a server without `server` has loaded does without it */
export const acceptableLibraries = (libraries: readonly Buffer[], target: ServerVersion, source: ServerVersion | null): Buffer[] => {
  if (!hasFunctions(target)) return [];
  if (hasServerApi(target) || (source !== null && !hasServerApi(source))) return [...libraries];
  return libraries.filter((library) => !surelyNeedsMore(codeOf(library)));
};

/** What FUNCTION RESTORE takes: records as they stand in an RDB, the version, and the CRC-64 of all before. */
const functionPayload = (stored: Buffer, { engine, version }: ServerVersion): Buffer => {
  const payload = Buffer.alloc(stored.length + 10);
  stored.copy(payload);
  payload.writeUInt16LE(rdbVersionWrittenBy(engine, version).version, stored.length);
  const crc = new Crc64();
  crc.update(payload.subarray(0, stored.length + 2));
  crc.writeTo(payload, stored.length + 2);
  return payload;
};

const namesIn = (reply: Reply): Set<string> => {
  const names = new Set<string>();
  for (const library of Array.isArray(reply) ? reply : []) {
    if (!Array.isArray(library)) continue;
    const at = library.findIndex((field) => Buffer.isBuffer(field) && field.toString('latin1') === 'library_name');
    const name = library[at + 1];
    if (at >= 0 && Buffer.isBuffer(name)) names.add(name.toString('latin1'));
  }
  return names;
};

/** Libraries of the backup that a node has already. Fails where it may not be asked. */
export const presentLibraries = async (node: NodePipeline, libraries: readonly Buffer[]): Promise<string[]> => {
  const reply = await node.call([FUNCTION, word('LIST')]);
  if (reply instanceof ReplyError) throw refusalOf(node.address, reply) ?? new DomainError('TARGET_BLOCKED', `${node.address} answered FUNCTION LIST with: ${reply.text}`);
  const there = namesIn(reply);
  return libraries.map(libraryName).filter((name): name is string => name !== null && there.has(name));
};

/** Loads libraries into one node, by the rule for conflicts. Returns how many. Those that a node refuses are failures of the ledger. */
export const restoreFunctions = async (node: NodePipeline, libraries: readonly Buffer[], target: ServerVersion, onConflict: ConflictRule, ledger: Ledger): Promise<number> => {
  let restored = 0;
  for (const library of libraries) {
    const reply = await node.call([FUNCTION, word('RESTORE'), functionPayload(library, target), word(onConflict === 'REPLACE' ? 'REPLACE' : 'APPEND')]);
    if (reply === 'OK') {
      restored += 1;
      ledger.touched = true;
    } else if (!(reply instanceof ReplyError)) throw new DomainError('PROTOCOL_ERROR', `${node.address} answered FUNCTION RESTORE with something that is no reply to it.`);
    // "Library … already exists" has no word of its own.
    else if (onConflict === 'REPLACE' || !/already exists/i.test(reply.text)) ledger.refusedFor(node, `function library ${libraryName(library) ?? ''}`, reply);
  }
  return restored;
};
