/** A command and its arguments. Views of the value among them: it must not be changed until they have been sent. */
export type Command = readonly Buffer[];

const MOST_ELEMENTS = 512;
const MOST_BYTES = 64 * 1024;

export const word = (text: string | number | bigint): Buffer => Buffer.from(String(text), 'latin1');

/**
 * Arguments of one command, gathered up to 512 elements or 64 KiB, whichever comes first. An element that is larger than that has a command of its own.
 */
export class Batch {
  private args: Buffer[];
  private elements = 0;
  private bytes = 0;

  /** @param head what every command begins with: its name and the key */
  constructor(private readonly head: readonly Buffer[]) {
    this.args = [...head];
  }

  /** Adds one element, of one or two arguments. Returns the command that was complete before it, or null. */
  add(first: Buffer, second?: Buffer): Command | null {
    const size = first.length + (second?.length ?? 0);
    const complete = this.elements >= MOST_ELEMENTS || (this.elements > 0 && this.bytes + size > MOST_BYTES) ? this.take() : null;
    this.args.push(first);
    if (second !== undefined) this.args.push(second);
    this.elements += 1;
    this.bytes += size;
    return complete;
  }

  /** The command with what has been added since the last one; null when that is nothing. */
  rest(): Command | null {
    return this.elements === 0 ? null : this.take();
  }

  private take(): Command {
    const { args } = this;
    this.args = [...this.head];
    this.elements = 0;
    this.bytes = 0;
    return args;
  }
}
