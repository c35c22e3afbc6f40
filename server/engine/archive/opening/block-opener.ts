import { codecFor, type Codec } from '../codec/codec.js';
import { BLOCK_HEADER_BYTES, type BlockSize } from '../layout.js';
import { releaseMemory } from '../release-memory.js';
import { sealFor, type Seal } from '../seal.js';
import { Frame } from '../sealing/frame.js';
import { toFault, type Answer, type Order } from '../sealing/messages.js';
import { type YoungGarbage } from '../sealing/young-garbage.js';
import { BlockDamage, expandBlock, unsealBlock } from './block.js';
import { type OpeningPlan } from './opening.js';

type Unseal = Extract<Order, { kind: 'unseal' }>;

/** The other end of a RemoteOpening: one object's blocks, on the thread. */
export class BlockOpener {
  private readonly seal: Seal;
  private readonly codec: Codec;
  private readonly blockSize: BlockSize;

  constructor({ codec, cipher, header, backupKey, blockSize }: OpeningPlan, private readonly garbage: YoungGarbage, private readonly answer: (answer: Answer) => void) {
    this.seal = sealFor(cipher, header, backupKey);
    this.codec = codecFor({ name: codec });
    this.blockSize = blockSize;
  }

  take(order: Exclude<Order, { kind: 'open' | 'read' }>): void {
    if (order.kind === 'close') this.answer({ kind: 'closed' });
    else if (order.kind === 'unseal') {
      const { block } = order;
      this.unseal(order).then(
        () => this.answer({ kind: 'opened', block }),
        (error: unknown) => this.answer(error instanceof BlockDamage
          ? { kind: 'damaged', block, what: error.message, cause: error.cause === undefined ? undefined : String(error.cause) }
          : { kind: 'fault', fault: toFault(error) }),
      );
    }
  }

  private async unseal({ memory, storedLength, plainLength, raw }: Unseal): Promise<void> {
    const frame = new Frame(this.blockSize, memory);
    const block = { header: frame.bytes.subarray(0, BLOCK_HEADER_BYTES), storedLength, plainLength, raw };
    const content = unsealBlock(this.seal, block, frame.bytes.subarray(BLOCK_HEADER_BYTES));
    await expandBlock(this.codec, block, content, frame.bytes.subarray(BLOCK_HEADER_BYTES, BLOCK_HEADER_BYTES + plainLength));
    releaseMemory(content);
    if (this.codec.name === 'brotli') this.garbage.add(plainLength);
  }
}
