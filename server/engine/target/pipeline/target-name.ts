import { compileRename, type RestoreOptions } from '../../../domain/restore-options.js';

/** The name that a key of the backup gets on the target. One object for all of them. */
export class TargetName {
  /** Its first `length` bytes are the name. */
  bytes = Buffer.alloc(256);
  length = 0;
  private readonly rename: ReturnType<typeof compileRename>;

  constructor(options: Pick<RestoreOptions, 'keyPrefix'>) {
    this.rename = compileRename(options);
  }

  /** Takes a name as it is in the backup, `bytes[from, to)`. */
  take(bytes: Uint8Array, from: number, to: number): void {
    if (this.rename === null) {
      this.put(null, bytes, from, to);
      return;
    }
    const { prefix, from: rest } = this.rename(bytes, from, to);
    this.put(prefix, bytes, rest, to);
  }

  /** Takes a name as it is on the target. */
  use(name: Buffer): void {
    this.put(null, name, 0, name.length);
  }

  get view(): Buffer {
    return this.bytes.subarray(0, this.length);
  }

  /** Bytes that stay. */
  get copy(): Buffer {
    return Buffer.from(this.view);
  }

  private put(prefix: Uint8Array | null, bytes: Uint8Array, from: number, to: number): void {
    const start = prefix?.length ?? 0;
    const length = start + to - from;
    if (length > this.bytes.length) this.bytes = Buffer.alloc(length * 2);
    const name = this.bytes;
    if (prefix !== null) name.set(prefix, 0);
    for (let at = start, byte = from; byte < to; at++, byte++) name[at] = bytes[byte] as number;
    this.length = length;
  }
}
