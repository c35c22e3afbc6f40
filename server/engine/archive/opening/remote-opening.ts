import { BLOCK_HEADER_BYTES, TAG_BYTES } from '../layout.js';
import { type ObjectCursor } from '../object-cursor.js';
import { type Frame } from '../sealing/frame.js';
import { fromFault, type Answer } from '../sealing/messages.js';
import { type SealingStream, type SealingThreads } from '../sealing/threads.js';
import { BlockDamage, type StoredBlock } from './block.js';
import { type BlockMemory } from './block-memory.js';
import { type Opening, type OpeningPlan } from './opening.js';

interface Waiting {
  done(): void;
  fail(error: Error): void;
}

/** Opening on another thread. Here, frames are filled from the store; there, the stored bytes in a frame are replaced by the plain ones. */
export class RemoteOpening implements Opening {
  private readonly stream: SealingStream;
  private readonly waiting = new Map<number, Waiting>();
  private fault: Error | undefined;
  private next = 0;

  constructor(plan: OpeningPlan, private readonly memory: BlockMemory, threads: SealingThreads) {
    this.stream = threads.open({ onAnswer: (answer) => this.hear(answer), onGone: (error) => this.fail(error) });
    this.stream.send({ kind: 'read', plan });
  }

  async take(cursor: ObjectCursor, block: StoredBlock, part: string): Promise<() => Promise<Uint8Array>> {
    const frame = this.memory.take();
    frame.bytes.set(block.header);
    await cursor.takeInto(frame.bytes.subarray(BLOCK_HEADER_BYTES, BLOCK_HEADER_BYTES + block.storedLength + TAG_BYTES), part);
    return () => this.open(frame, block);
  }

  end(): void {
    if (this.fault === undefined) this.stream.send({ kind: 'close' });
    this.stream.end();
  }

  private async open(frame: Frame<SharedArrayBuffer>, { storedLength, plainLength, raw }: StoredBlock): Promise<Uint8Array> {
    if (this.fault !== undefined) throw this.fault;
    const block = this.next++;
    await new Promise<void>((done, fail) => {
      this.waiting.set(block, { done, fail });
      this.stream.send({ kind: 'unseal', block, memory: frame.memory, storedLength, plainLength, raw });
    });
    frame.filled = plainLength;
    return frame.plain;
  }

  private hear(answer: Answer): void {
    if (answer.kind === 'fault') return this.fail(fromFault(answer.fault));
    if (answer.kind !== 'opened' && answer.kind !== 'damaged') return;
    const waiting = this.waiting.get(answer.block);
    this.waiting.delete(answer.block);
    if (answer.kind === 'opened') waiting?.done();
    else waiting?.fail(new BlockDamage(answer.what, { cause: answer.cause }));
  }

  private fail(error: Error): void {
    this.fault ??= error;
    for (const { fail } of this.waiting.values()) fail(error);
    this.waiting.clear();
  }
}
