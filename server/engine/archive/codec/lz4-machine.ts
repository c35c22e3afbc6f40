import { LZ4_WASM } from './generated/lz4-wasm.js';

/** What wasm/lz4.ts exports. Numbers that its globals hold are places and sizes in its memory. */
interface Lz4Exports {
  memory: { readonly buffer: ArrayBuffer };
  PLAIN: { readonly value: number };
  STORED: { readonly value: number };
  MOST_PLAIN: { readonly value: number };
  MOST_STORED: { readonly value: number };
  compress(length: number): number;
  expand(storedLength: number, plainLength: number): number;
}

/** The types of Node 20 leave it out. */
declare const WebAssembly: {
  Module: new (bytes: Uint8Array) => object;
  Instance: new (module: object) => { readonly exports: unknown };
};

/** Room that a stored block leaves in front of it. */
const FRONT = 16;

/**
 * Compresses and expands blocks of at most a megabyte, one at a time, in memory that is used again for the next one: a native addon
 * allocates and zeroes its output for each block, and leaves it to the garbage collection.
 */
export class Lz4Machine {
  private static module: object | undefined;
  private readonly wasm = new WebAssembly.Instance((Lz4Machine.module ??= new WebAssembly.Module(Buffer.from(LZ4_WASM, 'base64')))).exports as Lz4Exports;
  private readonly bytes = Buffer.from(this.wasm.memory.buffer);
  private readonly plainAt = this.wasm.PLAIN.value;
  private readonly storedAt = this.wasm.STORED.value;
  private readonly mostPlain = this.wasm.MOST_PLAIN.value;
  private readonly mostStored = this.wasm.MOST_STORED.value;

  /** Where a block may be put that is to be compressed next, to spare its copy; each call of `expand` overwrites it. */
  readonly plain = this.bytes.subarray(this.plainAt, this.plainAt + this.mostPlain);

  /** Whether it lies where it is to be compressed. */
  holds(block: Uint8Array): boolean {
    return block.buffer === this.plain.buffer && block.byteOffset === this.plain.byteOffset;
  }

  /**
   * @param front so many bytes before the compressed block, at most 16, are the caller's
   * @returns them and the block; overwritten by the next call of either method
   */
  compress(block: Uint8Array, front: number): Buffer {
    if (block.length > this.mostPlain || front > FRONT) throw new RangeError(`LZ4 takes no block of ${String(block.length)} bytes.`);
    if (!this.holds(block)) this.bytes.set(block, this.plainAt);
    return this.bytes.subarray(this.storedAt - front, this.storedAt + this.wasm.compress(block.length));
  }

  /** Fills `into`. RangeError, and nothing there, for anything but a block of exactly that length. */
  expand(block: Uint8Array, into: Uint8Array): void {
    if (block.length > this.mostStored || into.length > this.mostPlain) throw malformed();
    this.bytes.set(block, this.storedAt);
    if (this.wasm.expand(block.length, into.length) === 0) throw malformed();
    into.set(this.bytes.subarray(this.plainAt, this.plainAt + into.length));
  }
}

const malformed = (): RangeError => new RangeError('The bytes are no LZ4 block of that length.');

let machine: Lz4Machine | undefined;

/** The one of this thread, for whoever is done with it when he returns. */
export const lz4Machine = (): Lz4Machine => (machine ??= new Lz4Machine());

/** Memory of WebAssembly is collected late. */
const idle: Lz4Machine[] = [];

/** One for as long as it is needed; `giveBack` makes it the next one's. */
export const borrowLz4Machine = (): Lz4Machine => idle.pop() ?? new Lz4Machine();
export const giveBackLz4Machine = (borrowed: Lz4Machine): void => void idle.push(borrowed);
