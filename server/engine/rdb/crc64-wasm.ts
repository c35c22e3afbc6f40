/**
 * The inner loop of a CRC-64 as WebAssembly. Only few of a piece's bytes go through tables. The others are divided by a sparse multiple of the
 * polynomial instead, which leaves the same remainder: x^(8 * 3375) + x^(8 * 2771) + … + 1 has eight terms, all at whole bytes, so that each byte of the quotient is
 * seven earlier ones and its own of the message, joined; sixteen at once, and none waits for the one before it. Chorba does so for CRC-32, in zlib-ng. The module is put together here, instruction by instruction, so that it can be read where it is used.
 */

/** How far back the bytes lie that make a byte of the quotient; the last is the degree of the multiple, in bytes. Found by searching: no shorter one with eight terms turned up. */
const BACK = [604, 1542, 2918, 3137, 3169, 3189, 3375] as const;
/** Bytes of one round of the loop; none of them may need another of the same round. */
const STEP = 32;
/** Bytes that the division leaves, a multiple of the step: no fewer than its degree. */
const REST = 3_392;
/** Divided at once; with what lies behind it, it stays in the first cache. */
const PART = 16 * 1024;
/** Fewer bytes are not worth it. */
export const LEAST_BYTES = 8 * 1024;

// Memory: what a byte contributes when 7, 6, … 0 bytes follow it; the quotient's last bytes; the part that is divided; the remainder.
const TABLE_BYTES = 8 * 256 * 8;
const LAST_AT = TABLE_BYTES;
const PART_AT = LAST_AT + REST;
const REST_AT = PART_AT + PART;
const PAGES = Math.ceil((REST_AT + REST) / (64 * 1024));

const unsigned = (value: number): number[] => (value < 128 ? [value] : [(value & 127) | 128, ...unsigned(value >>> 7)]);
const signed = (value: number): number[] => (value >= -64 && value < 64 ? [value & 127] : [(value & 127) | 128, ...signed(value >> 7)]);
const sized = (bytes: readonly number[]): number[] => [...unsigned(bytes.length), ...bytes];
const text = (value: string): number[] => sized([...Buffer.from(value)]);
const section = (id: number, ...entries: number[][]): number[] => [id, ...sized([...unsigned(entries.length), ...entries.flat()])];

// https://webassembly.github.io/spec/core/binary/instructions.html
const I32 = 0x7f, I64 = 0x7e, EMPTY = 0x40;
const get = (local: number): number[] => [0x20, ...unsigned(local)];
const set = (local: number): number[] => [0x21, ...unsigned(local)];
const i32 = (value: number): number[] => [0x41, ...signed(value)];
const i64 = (value: number): number[] => [0x42, ...signed(value)];
const load64 = (offset: number): number[] => [0x29, 3, ...unsigned(offset)];
const store64 = (offset: number): number[] => [0x37, 3, ...unsigned(offset)];
const load128 = (offset: number): number[] => [0xfd, 0x00, 0, ...unsigned(offset)];
const store128 = (offset: number): number[] => [0xfd, 0x0b, 0, ...unsigned(offset)];
const XOR128 = [0xfd, 0x51], MOVE = [0xfc, 0x0a, 0, 0], FILL = [0xfc, 0x0b, 0];
const ADD32 = 0x6a, AND32 = 0x71, SHL32 = 0x74, LESS32 = 0x49, XOR64 = 0x85, SHR64 = 0x88, WRAP = 0xa7, LOOP = 0x03, BRANCH_IF = 0x0d, END = 0x0b;

/** A loop over memory: `AT` goes from `from` to `UNTIL`, which is more, by `step`. */
const walk = (from: number, until: readonly number[], step: number, body: readonly number[]): number[] => [
  ...i32(from), ...set(AT), ...until, ...set(UNTIL),
  LOOP, EMPTY, ...body, ...get(AT), ...i32(step), ADD32, ...set(AT), ...get(AT), ...get(UNTIL), LESS32, BRANCH_IF, 0, END,
];
/** One step of the division, `AT` being REST before the bytes that are divided: what stands at `to` is joined with the quotient's earlier bytes. */
const divide = (to: number): number[] =>
  [0, 16].flatMap((lane) => [
    ...get(AT), ...get(AT), ...load128(to + lane), ...BACK.flatMap((back) => [...get(AT), ...load128(REST - back + lane), ...XOR128]), ...store128(to + lane),
  ]);
/** The offset in a table of what byte `index` of `local` selects. */
const select = (local: number, index: number): number[] =>
  [...(index === 0 ? [...get(local), WRAP, ...i32(3), SHL32] : [...get(local), ...i64(index * 8 - 3), SHR64, WRAP]), ...i32(255 * 8), AND32];
/** All eight bytes of `local`, looked up in the tables and joined. */
const lookUp = (local: number): number[] =>
  Array.from({ length: 8 }, (_, index) => [...select(local, index), ...load64(index * 256 * 8), ...(index === 0 ? [] : [XOR64])]).flat();

// Locals of both functions: the CRC comes first, or the length in the second place.
const CRC = 0, BYTES = 1, AT = 2, UNTIL = 3;

/** `(crc, bytes)`: divides so many of the part, a multiple of STEP, in their place. The CRC of what came before counts for the first eight. */
const DIVIDE = [
  ...i32(PART_AT), ...i32(PART_AT), ...load64(0), ...get(CRC), XOR64, ...store64(0),
  ...walk(LAST_AT, [...i32(LAST_AT), ...get(BYTES), ADD32], STEP, divide(REST)),
  ...i32(LAST_AT), ...i32(LAST_AT), ...get(BYTES), ADD32, ...i32(REST), ...MOVE,
  END,
];
/** `(0, 0) => crc`, with the message's last bytes at REST_AT: what the quotient leaves there, and the CRC of that. Ends the division. */
const FINISH = [
  ...i32(PART_AT), ...i32(0), ...i32(REST), ...FILL,
  ...walk(LAST_AT, i32(LAST_AT + REST), STEP, divide(REST_AT - LAST_AT)),
  ...i32(LAST_AT), ...i32(0), ...i32(REST), ...FILL,
  ...walk(REST_AT, i32(REST_AT + REST), 8, [...get(CRC), ...get(AT), ...load64(0), XOR64, ...set(CRC), ...lookUp(CRC), ...set(CRC)]),
  ...get(CRC),
  END,
];

const MODULE = Uint8Array.from([
  ...Buffer.from('\0asm'), 1, 0, 0, 0,
  ...section(1, [0x60, 2, I64, I32, 0], [0x60, 2, I64, I32, 1, I64]),
  ...section(3, [0], [1]),
  ...section(5, [0, ...unsigned(PAGES)]),
  ...section(7, [...text('memory'), 2, 0], [...text('divide'), 0, 0], [...text('finish'), 0, 1]),
  ...section(10, ...[DIVIDE, FINISH].map((code) => sized([1, 2, I32, ...code]))),
]);

interface Exports {
  memory: { buffer: ArrayBuffer };
  divide: (crc: bigint, bytes: number) => void;
  finish: (crc: bigint, bytes: number) => bigint;
}
/** Node's; its types come with the browser's only. */
declare const WebAssembly: { Module: new (bytes: Uint8Array) => object; Instance: new (module: object) => { exports: unknown } };

/** Goes on from `crc` over as many whole steps of `bytes`, at least LEAST_BYTES, as there are; gives the CRC and the bytes that it did not take. */
export type LongCrc64 = (crc: bigint, bytes: Uint8Array) => { crc: bigint; rest: Uint8Array };

/** Undefined on processors without vectors (x86 before SSE4.1). */
const instantiate = (): Exports | undefined => {
  try {
    return new WebAssembly.Instance(new WebAssembly.Module(MODULE)).exports as Exports;
  } catch {
    return undefined;
  }
};

/**
 * @param lo low and high halves of a byte's contribution: `[following * 256 + byte]`
 * @returns null where this processor cannot
 */
export const compileCrc64 = (lo: Int32Array, hi: Int32Array): LongCrc64 | null => {
  const made = instantiate();
  if (made === undefined) return null;
  const { memory, divide, finish } = made;
  const table = new DataView(memory.buffer);
  for (let index = 0; index < 8; index++) {
    for (let byte = 0; byte < 256; byte++) {
      const at = (index * 256 + byte) * 8;
      table.setInt32(at, lo[(7 - index) * 256 + byte] ?? 0, true);
      table.setInt32(at + 4, hi[(7 - index) * 256 + byte] ?? 0, true);
    }
  }
  const part = new Uint8Array(memory.buffer, PART_AT, PART);
  const remainder = new Uint8Array(memory.buffer, REST_AT, REST);
  return (crc, bytes) => {
    const end = bytes.length - bytes.length % STEP;
    const quotient = end - REST;
    for (let at = 0; at < quotient; at += PART) {
      const length = Math.min(PART, quotient - at);
      part.set(bytes.subarray(at, at + length));
      divide(at === 0 ? crc : 0n, length);
    }
    remainder.set(bytes.subarray(quotient, end));
    return { crc: BigInt.asUintN(64, finish(0n, 0)), rest: bytes.subarray(end) };
  };
};
