declare const WebAssembly: { Memory: new (size: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer } };

/** Whole pages of every size in use, and what a disk or a network file system likes to take at once. */
export const STAGE_BYTES = 1024 * 1024;
const WASM_PAGE = 64 * 1024;
/** Stages that wait for their next object; more than are usually written at a time. */
const KEPT = 4;

const kept: Uint8Array[] = [];

/**
 * Memory that begins on a page, which direct I/O asks for and an ArrayBuffer does not promise: V8 maps that of WebAssembly. Where that cannot be
 * had (a limit on addresses, a process without WebAssembly) it may begin anywhere, and writes from it go through the page cache.
 */
const takeStage = (): Uint8Array => {
  const left = kept.pop();
  if (left !== undefined) return left;
  const pages = STAGE_BYTES / WASM_PAGE;
  try {
    return new Uint8Array(new WebAssembly.Memory({ initial: pages, maximum: pages }).buffer);
  } catch {
    return new Uint8Array(STAGE_BYTES);
  }
};

/** Gathers what is written into pieces of one size that begin on a page. */
export class Staging {
  private readonly stage = takeStage();
  private filled = 0;

  /** Copies as much of `chunk` as there is room for; returns how much. */
  take(chunk: Uint8Array): number {
    const part = chunk.length > this.stage.length - this.filled ? chunk.subarray(0, this.stage.length - this.filled) : chunk;
    this.stage.set(part, this.filled);
    this.filled += part.length;
    return part.length;
  }

  get full(): boolean {
    return this.filled === this.stage.length;
  }

  /** Valid until `clear`. */
  get content(): Uint8Array {
    return this.stage.subarray(0, this.filled);
  }

  clear(): void {
    this.filled = 0;
  }

  /** The memory is the next one's: nothing may read it any more. */
  release(): void {
    if (kept.length < KEPT) kept.push(this.stage);
  }
}
