/**
 * The inner loop of a CRC-64 as WebAssembly, which has 64-bit integers: slice-by-8 over two neighbouring lanes at once, since each look-up waits for
 * the one before it. The module is put together here, instruction by instruction, so that it can be read where it is used.
 */

/** Bytes of one lane. */
const LANE = 8 * 1024;
/** Bytes are taken in blocks of this size: two lanes. */
export const BLOCK_BYTES = 2 * LANE;
/** Blocks that lie in the module's memory at once. */
const MOST_BLOCKS = 16;

// Memory: what a byte contributes when 7, 6, … 0 bytes follow it; what a CRC's bytes contribute when a lane follows; data.
const TABLE_BYTES = 8 * 256 * 8;
const SHIFT_AT = TABLE_BYTES;
const DATA_AT = 2 * TABLE_BYTES;
const PAGE = 64 * 1024;
const PAGES = Math.ceil((DATA_AT + MOST_BLOCKS * BLOCK_BYTES) / PAGE);

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
const ADD32 = 0x6a, SUB32 = 0x6b, AND32 = 0x71, SHL32 = 0x74, LESS32 = 0x49, XOR64 = 0x85, SHR64 = 0x88, WRAP = 0xa7, LOOP = 0x03, BRANCH_IF = 0x0d, END = 0x0b;

const CRC = 0, BLOCKS = 1, AT = 2, LANE_END = 3, SECOND = 4;

/** The offset in a table of what byte `index` of `local` selects. */
const select = (local: number, index: number): number[] =>
  [...(index === 0 ? [...get(local), WRAP, ...i32(3), SHL32] : [...get(local), ...i64(index * 8 - 3), SHR64, WRAP]), ...i32(255 * 8), AND32];
/** All eight bytes of `local`, looked up in the tables from `base` on and joined. */
const lookUp = (local: number, base: number): number[] =>
  Array.from({ length: 8 }, (_, index) => [...select(local, index), ...load64(base + index * 256 * 8), ...(index === 0 ? [] : [XOR64])]).flat();
const take = (local: number, offset: number): number[] =>
  [...get(local), ...get(AT), ...load64(offset), XOR64, ...set(local), ...lookUp(local, 0), ...set(local)];
const move = (bytes: number): number[] => [...get(AT), ...i32(bytes), ADD32, ...set(AT)];

/** `(crc, blocks) => crc`, over the data in memory. */
const BODY = [
  ...i32(DATA_AT), ...set(AT),
  LOOP, EMPTY,
  ...get(AT), ...i32(LANE), ADD32, ...set(LANE_END), ...i64(0), ...set(SECOND),
  LOOP, EMPTY,
  ...take(CRC, 0), ...take(SECOND, LANE), ...move(8),
  ...get(AT), ...get(LANE_END), LESS32, BRANCH_IF, 0,
  END,
  // The first lane's CRC as it is when the second has followed it; then what the second is by itself.
  ...lookUp(CRC, SHIFT_AT), ...get(SECOND), XOR64, ...set(CRC), ...move(LANE),
  ...get(BLOCKS), ...i32(1), SUB32, ...set(BLOCKS), ...get(BLOCKS), BRANCH_IF, 0,
  END,
  ...get(CRC),
  END,
];

const MODULE = Uint8Array.from([
  ...Buffer.from('\0asm'), 1, 0, 0, 0,
  ...section(1, [0x60, 2, I64, I32, 1, I64]),
  ...section(3, [0]),
  ...section(5, [0, ...unsigned(PAGES)]),
  ...section(7, [...text('memory'), 2, 0], [...text('run'), 0, 0]),
  ...section(10, sized([2, 2, I32, 1, I64, ...BODY])),
]);

interface Exports {
  memory: { buffer: ArrayBuffer };
  run: (crc: bigint, blocks: number) => bigint;
}
/** Node's; its types come with the browser's only. */
declare const WebAssembly: { Module: new (bytes: Uint8Array) => object; Instance: new (module: object) => { exports: unknown } };

/** Goes on from `crc` over as many whole blocks of `bytes` as there are. */
export type Crc64Blocks = (crc: bigint, bytes: Uint8Array) => bigint;

/**
 * @param lo low and high halves of a byte's contribution: `[following * 256 + byte]`
 * @param shifted the CRC of so many zero bytes behind a CRC
 */
export const compileCrc64 = (lo: Int32Array, hi: Int32Array, shifted: (crc: bigint, bytes: number) => bigint): Crc64Blocks => {
  const { memory, run } = new WebAssembly.Instance(new WebAssembly.Module(MODULE)).exports as Exports;
  const view = new DataView(memory.buffer);
  const bits = Array.from({ length: 64 }, (_, bit) => shifted(1n << BigInt(bit), LANE));
  for (let index = 0; index < 8; index++) {
    for (let byte = 0; byte < 256; byte++) {
      const at = (index * 256 + byte) * 8;
      view.setInt32(at, lo[(7 - index) * 256 + byte] ?? 0, true);
      view.setInt32(at + 4, hi[(7 - index) * 256 + byte] ?? 0, true);
      let shift = 0n;
      for (let bit = 0; bit < 8; bit++) if ((byte >> bit & 1) === 1) shift ^= bits[index * 8 + bit] ?? 0n;
      view.setBigUint64(SHIFT_AT + at, shift, true);
    }
  }
  const data = new Uint8Array(memory.buffer, DATA_AT, MOST_BLOCKS * BLOCK_BYTES);
  return (crc, bytes) => {
    let value = crc;
    for (let at = 0; at + BLOCK_BYTES <= bytes.length; ) {
      const blocks = Math.min(MOST_BLOCKS, Math.floor((bytes.length - at) / BLOCK_BYTES));
      data.set(bytes.subarray(at, at + blocks * BLOCK_BYTES));
      value = BigInt.asUintN(64, run(value, blocks));
      at += blocks * BLOCK_BYTES;
    }
    return value;
  };
};
