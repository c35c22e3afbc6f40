import { crc64 } from '../../server/engine/rdb/crc64.js';

export type Bytes = string | Uint8Array;

/** How a length is written; `auto` is what a server would choose. The others are legal for any value that fits. */
export type LengthForm = 'auto' | 6 | 14 | 32 | 64;

const raw = (bytes: Bytes): Buffer => (typeof bytes === 'string' ? Buffer.from(bytes) : Buffer.from(bytes));

export function lengthBytes(value: number | bigint, form: LengthForm = 'auto'): Buffer {
  const length = BigInt(value);
  const chosen = form !== 'auto' ? form : length < 64n ? 6 : length < 16_384n ? 14 : length < 2n ** 32n ? 32 : 64;
  if (chosen === 6) return Buffer.from([Number(length)]);
  if (chosen === 14) return Buffer.from([0x40 | Number(length >> 8n), Number(length & 255n)]);
  const bytes = Buffer.alloc(chosen === 32 ? 5 : 9);
  bytes[0] = chosen === 32 ? 0x80 : 0x81;
  if (chosen === 32) bytes.writeUInt32BE(Number(length), 1);
  else bytes.writeBigUInt64BE(BigInt.asUintN(64, length), 1);
  return bytes;
}

/** A plain string: length, then the bytes. */
export const stringBytes = (value: Bytes, form: LengthForm = 'auto'): Buffer => Buffer.concat([lengthBytes(raw(value).length, form), raw(value)]);

/** A string in the encoding that servers use for integers. */
export function integerBytes(value: number): Buffer {
  if (value >= -128 && value < 128) return Buffer.from([0xc0, value & 255]);
  const bytes = Buffer.alloc(value >= -32_768 && value < 32_768 ? 3 : 5);
  bytes[0] = bytes.length === 3 ? 0xc1 : 0xc2;
  if (bytes.length === 3) bytes.writeInt16LE(value, 1);
  else bytes.writeInt32LE(value, 1);
  return bytes;
}

/** LZF block for a run of one byte: a literal, then back references. `length` at least 4. */
export function lzfRun(byte: number, length: number): Buffer {
  const out: number[] = [0, byte];
  let left = length - 1;
  while (left >= 3) {
    // A reference leaves nothing, or at least the three bytes that the next one needs.
    let run = Math.min(left, 264);
    if (left - run > 0 && left - run < 3) run -= 3;
    if (run - 2 < 7) out.push((run - 2) << 5, 0);
    else out.push(7 << 5, run - 9, 0);
    left -= run;
  }
  if (left > 0) out.push(left - 1, ...Array<number>(left).fill(byte));
  return Buffer.from(out);
}

/** A compressed string. The lengths can lie. */
export const lzfBytes = (block: Uint8Array, expanded: number | bigint, stored: number | bigint = block.length): Buffer =>
  Buffer.concat([Buffer.from([0xc3]), lengthBytes(stored), lengthBytes(expanded), block]);

export function int64(value: bigint | number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)));
  return bytes;
}

export function float64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleLE(value);
  return bytes;
}

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

/** Id of a module data type: nine characters and a 10-bit encoding version. */
export function moduleId(name: string, encodingVersion = 0): bigint {
  let id = 0n;
  for (const character of name) id = (id << 6n) | BigInt(ALPHABET.indexOf(character));
  return (id << 10n) | BigInt(encodingVersion);
}

/** One value inside module data, in the order its opcodes are numbered. */
export type ModuleItem = { sint: bigint | number } | { uint: bigint | number } | { float: number } | { double: number } | { string: Bytes };

export function moduleItems(items: readonly ModuleItem[]): Buffer {
  const parts = items.map((item) => {
    if ('sint' in item) return Buffer.concat([lengthBytes(1), lengthBytes(BigInt.asUintN(64, BigInt(item.sint)))]);
    if ('uint' in item) return Buffer.concat([lengthBytes(2), lengthBytes(item.uint)]);
    if ('float' in item) {
      const bytes = Buffer.alloc(5);
      bytes[0] = 3;
      bytes.writeFloatLE(item.float, 1);
      return bytes;
    }
    if ('double' in item) return Buffer.concat([Buffer.from([4]), float64(item.double)]);
    return Buffer.concat([lengthBytes(5), stringBytes(item.string)]);
  });
  return Buffer.concat([...parts, lengthBytes(0)]);
}

export interface StreamShape {
  /** 1: type 15, 2: type 19, 3: type 21. */
  layout: 1 | 2 | 3;
  /** Listpacks of entries: opaque here, so a server will not load them. */
  nodes?: number;
  /** What the stream's head says; default: the number of nodes. */
  entries?: number;
  groups?: { name: string; pending: number; consumers: { name: string; pending: number }[] }[];
}

export function streamBytes({ layout, nodes = 1, entries = nodes, groups = [] }: StreamShape): Buffer {
  const id = Buffer.concat([int64(1), int64(2)]);
  const parts: Buffer[] = [lengthBytes(nodes)];
  for (let node = 0; node < nodes; node++) parts.push(stringBytes(id), stringBytes(Buffer.alloc(40, node)));
  parts.push(lengthBytes(entries), lengthBytes(1_700_000_000_000n), lengthBytes(0));
  if (layout > 1) for (let at = 0; at < 5; at++) parts.push(lengthBytes(at));
  parts.push(lengthBytes(groups.length));
  for (const group of groups) {
    parts.push(stringBytes(group.name), lengthBytes(1_700_000_000_000n), lengthBytes(0));
    // entries_read, unknown: -1 as an unsigned 64-bit length.
    if (layout > 1) parts.push(lengthBytes(2n ** 64n - 1n));
    parts.push(lengthBytes(group.pending));
    for (let at = 0; at < group.pending; at++) parts.push(id, int64(at), lengthBytes(1));
    parts.push(lengthBytes(group.consumers.length));
    for (const consumer of group.consumers) {
      parts.push(stringBytes(consumer.name), int64(1), ...(layout === 3 ? [int64(2)] : []), lengthBytes(consumer.pending));
      for (let at = 0; at < consumer.pending; at++) parts.push(id);
    }
  }
  return Buffer.concat(parts);
}

/** RIGHT: as computed. ZERO: as with `rdbchecksum no`. WRONG: one bit off. NONE: the file ends at the EOF opcode. */
export type Checksum = 'RIGHT' | 'ZERO' | 'WRONG' | 'NONE';

/**
 * Makes RDB files of any version by hand, also wrong ones. Calls append in order; `build` adds EOF opcode and checksum.
 * Strings, lists, sets and hashes in their plain forms load on every real server from 2.4 on.
 */
export class RdbBuilder {
  private readonly parts: Buffer[];

  /** @param version RDB version: 6 is Redis 2.8, 8 is 4.0, 11 is 7.2; 80 and up get Valkey's word unless `magic` says other. */
  constructor(readonly version: number, magic: 'REDIS' | 'VALKEY' = version >= 80 ? 'VALKEY' : 'REDIS') {
    this.parts = [Buffer.from(magic + String(version).padStart(magic === 'REDIS' ? 4 : 3, '0'))];
  }

  /** Appends bytes as they are. */
  raw(...bytes: (Bytes | number[])[]): this {
    for (const part of bytes) this.parts.push(Array.isArray(part) ? Buffer.from(part) : raw(part));
    return this;
  }

  aux(name: string, value: Bytes | number): this {
    return this.raw([250], stringBytes(name), typeof value === 'number' ? integerBytes(value) : stringBytes(value));
  }

  select(database: number): this {
    return this.raw([254], lengthBytes(database));
  }

  resize(keys: number, expiring: number): this {
    return this.raw([251], lengthBytes(keys), lengthBytes(expiring));
  }

  expireMs(at: bigint | number): this {
    return this.raw([252], int64(at));
  }

  expireSeconds(at: number): this {
    const bytes = Buffer.alloc(4);
    bytes.writeInt32LE(at);
    return this.raw([253], bytes);
  }

  idle(seconds: number): this {
    return this.raw([248], lengthBytes(seconds));
  }

  freq(value: number): this {
    return this.raw([249, value]);
  }

  func(code: string): this {
    return this.raw([245], stringBytes(code));
  }

  moduleAux(name: string, items: readonly ModuleItem[]): this {
    return this.raw([247], lengthBytes(moduleId(name)), moduleItems(items));
  }

  slotInfo(slot: number, keys: number, expiring: number): this {
    return this.raw([244], lengthBytes(slot), lengthBytes(keys), lengthBytes(expiring));
  }

  /** A key with a value given as stored bytes. */
  value(type: number, key: Bytes, ...stored: (Bytes | number[])[]): this {
    return this.raw([type], stringBytes(key)).raw(...stored);
  }

  string(key: Bytes, value: Bytes | number): this {
    return this.value(0, key, typeof value === 'number' ? integerBytes(value) : stringBytes(value));
  }

  /** Types 1 (list) and 2 (set); also 14, where each element is a ziplist. */
  collection(type: 1 | 2 | 14, key: Bytes, elements: readonly Bytes[]): this {
    return this.value(type, key, lengthBytes(elements.length), ...elements.map((element) => stringBytes(element)));
  }

  hash(key: Bytes, fields: Readonly<Record<string, Bytes>>): this {
    const entries = Object.entries(fields);
    return this.value(4, key, lengthBytes(entries.length), ...entries.flatMap(([field, value]) => [stringBytes(field), stringBytes(value)]));
  }

  /** Type 3: scores as text. */
  textSortedSet(key: Bytes, members: Readonly<Record<string, number>>): this {
    const entries = Object.entries(members).flatMap(([member, score]) => [stringBytes(member), textDouble(score)]);
    return this.value(3, key, lengthBytes(entries.length / 2), ...entries);
  }

  /** Type 5: scores as 8 bytes. */
  sortedSet(key: Bytes, members: Readonly<Record<string, number>>): this {
    const entries = Object.entries(members).flatMap(([member, score]) => [stringBytes(member), float64(score)]);
    return this.value(5, key, lengthBytes(entries.length / 2), ...entries);
  }

  stream(key: Bytes, shape: StreamShape): this {
    return this.value({ 1: 15, 2: 19, 3: 21 }[shape.layout], key, streamBytes(shape));
  }

  module(key: Bytes, name: string, items: readonly ModuleItem[]): this {
    return this.value(7, key, lengthBytes(moduleId(name, 1)), moduleItems(items));
  }

  /** Type 22 of Valkey 9: field, value, expiry in ms or -1. */
  valkeyTtlHash(key: Bytes, fields: readonly [field: string, value: Bytes, expiresAtMs: bigint][]): this {
    return this.value(22, key, lengthBytes(fields.length), ...fields.flatMap(([field, value, at]) => [stringBytes(field), stringBytes(value), int64(at)]));
  }

  /** Type 24 of Redis 7.4: smallest expiry, then per field its distance to that plus one (0: none). */
  redisTtlHash(key: Bytes, minExpire: bigint, fields: readonly [field: string, value: Bytes, ttl: number][]): this {
    return this.value(24, key, int64(minExpire), lengthBytes(fields.length), ...fields.flatMap(([field, value, ttl]) => [lengthBytes(ttl), stringBytes(field), stringBytes(value)]));
  }

  build(checksum: Checksum = this.version >= 5 ? 'RIGHT' : 'NONE'): Buffer {
    const body = Buffer.concat([...this.parts, Buffer.from([255])]);
    if (checksum === 'NONE') return body;
    const right = crc64(body);
    return Buffer.concat([body, int64({ RIGHT: right, ZERO: 0n, WRONG: right ^ 1n }[checksum])]);
  }
}

function textDouble(value: number): Buffer {
  if (Number.isNaN(value)) return Buffer.from([253]);
  if (!Number.isFinite(value)) return Buffer.from([value > 0 ? 254 : 255]);
  const text = Buffer.from(String(value));
  return Buffer.concat([Buffer.from([text.length]), text]);
}
