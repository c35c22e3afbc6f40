import { codecFor } from '../codec/codec.js';
import { TAG_BYTES, type BlockSize, type CipherName, type CodecName } from '../layout.js';
import { type ObjectCursor } from '../object-cursor.js';
import { releaseMemory } from '../release-memory.js';
import { sealFor } from '../seal.js';
import { type SealingThreads } from '../sealing/threads.js';
import { expandBlock, unsealBlock, type StoredBlock } from './block.js';
import { type BlockMemory } from './block-memory.js';
import { RemoteOpening } from './remote-opening.js';

/** What turns stored blocks of one object into plain ones. */
export interface OpeningPlan {
  codec: CodecName;
  cipher: CipherName;
  blockSize: BlockSize;
  /** The object's 64 header bytes. */
  header: Uint8Array;
  /** 32 bytes; null with cipher none. */
  backupKey: Uint8Array | null;
}

/** Opens the blocks of one object, several at once. */
export interface Opening {
  /**
   * Takes what follows a block's header off the cursor; what is returned resolves with the plain bytes, which are the caller's. Both fail with
   * BlockDamage, or as the cursor does.
   * @param part what the block is called in messages
   */
  take(cursor: ObjectCursor, block: StoredBlock, part: string): Promise<() => Promise<Uint8Array>>;
  /** No more will be taken, and nobody waits for what has been. */
  end(): void;
}

/** Opening on the thread it is made on. */
const localOpening = ({ codec: name, cipher, header, backupKey }: OpeningPlan): Opening => {
  const seal = sealFor(cipher, header, backupKey);
  const codec = codecFor({ name });
  return {
    take: async (cursor, block, part) => {
      const content = unsealBlock(seal, block, await cursor.borrow(block.storedLength + TAG_BYTES, part));
      return async () => {
        const plain = Buffer.allocUnsafeSlow(block.plainLength);
        await expandBlock(codec, block, content, plain);
        releaseMemory(content);
        return plain;
      };
    },
    end: () => undefined,
  };
};

/** On a thread of its own where there are any, in memory that can be given back. */
export const createOpening = (plan: OpeningPlan, memory: BlockMemory, threads: SealingThreads | undefined): Opening =>
  threads === undefined ? localOpening(plan) : new RemoteOpening(plan, memory, threads);
