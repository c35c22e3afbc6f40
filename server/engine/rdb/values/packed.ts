/**
 * Elements of a blob that holds a whole small collection, or a part of a large one, read one after another. The element that `next` has come to
 * stands in the fields until the next call: nothing is allocated for those that nobody asks for.
 */
export abstract class Packed {
  /** Where the element's bytes stand in the blob; -1 for an integer. */
  protected from = -1;
  protected to = 0;
  /** The integer, unless it is wide. */
  protected small = 0;
  /** An integer of 64 bits, or null. */
  protected wide: bigint | null = null;

  /** @param corrupt makes the error for what is wrong in this blob */
  constructor(protected readonly blob: Buffer, protected readonly corrupt: (what: string) => Error) {}

  /** Goes on to the next element; false when there is none. Fails with CORRUPT. */
  abstract next(): boolean;

  /** The element as the server would give it: an integer as its decimal text. A string is a view of the blob. */
  bytes(): Buffer {
    return this.from < 0 ? Buffer.from(String(this.wide ?? this.small), 'latin1') : this.blob.subarray(this.from, this.to);
  }

  /** The integer, or undefined when the element is a string. */
  integer(): bigint | undefined {
    return this.from < 0 ? (this.wide ?? BigInt(this.small)) : undefined;
  }

  protected setString(from: number, to: number): void {
    if (to > this.blob.length) throw this.corrupt('an element reaches beyond its end');
    this.from = from;
    this.to = to;
  }

  protected setInteger(value: number): void {
    this.from = -1;
    this.wide = null;
    this.small = value;
  }

  protected setWide(value: bigint): void {
    this.from = -1;
    this.wide = value;
  }

  /** `size` bytes from `at` on must be there. */
  protected demand(at: number, size: number): void {
    if (at + size > this.blob.length) throw this.corrupt('it ends within an element');
  }
}
