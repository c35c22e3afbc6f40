import { readlinkSync } from 'node:fs';
import { setPriority } from 'node:os';
import { basename } from 'node:path';
import { type MessagePort } from 'node:worker_threads';
import { BlockOpener } from '../opening/block-opener.js';
import { BlockPipeline } from './block-pipeline.js';
import { Filling } from './filling.js';
import { Frame } from './frame.js';
import { fromFault, toFault, type Answer, type Envelope, type Order } from './messages.js';
import { Receiver, type MakeDial } from './receiver.js';
import { type SealingPlan } from './sealing.js';
import { YoungGarbage } from './young-garbage.js';

/*
 * What runs on a thread of `SealingThreads`: the pipelines of the archives that are written, the transfers that fill them, and the openers of those that
 * are read. It holds no store; what is to be written goes back.
 */

/** What is moved is not seen here any more. */
type Tell = (answer: Answer, moved?: ArrayBuffer[]) => void;

type OrderInStream = Exclude<Order, { kind: 'open' | 'read' }>;

/** A third of the weight that others have (read: Linux, sched_prio_to_weight). */
const NICENESS = 5;
const GARBAGE_LIMIT = 16 * 1024 * 1024;
/** How far a transfer is, at most so often. */
const TELL_EVERY_MS = 100;

class Stream {
  private readonly pipeline: BlockPipeline;
  private readonly frames = new Map<number, Frame>();
  private readonly numbers = new Map<Frame, number>();
  /** The block of what was received that is being written: they go one by one. */
  private unwritten: { frame: number; resolve: (order: Extract<Order, { kind: 'written' }>) => void } | undefined;
  private received = 0;
  private readonly filling: Filling;
  private readonly receiver: Receiver;
  private receiving: Promise<void> | undefined;
  private faulted = false;

  constructor(private readonly plan: SealingPlan, makeDial: MakeDial, private readonly garbage: YoungGarbage, private readonly answer: Tell) {
    this.pipeline = new BlockPipeline(plan, { write: (bytes, frame) => this.handBack(bytes.length, frame) });
    this.filling = new Filling(this.pipeline);
    this.receiver = new Receiver(makeDial, answer);
    this.pipeline.faulted.addEventListener('abort', () => this.fail(this.pipeline.faulted.reason));
  }

  take(order: OrderInStream): void {
    this.obey(order).catch((error: unknown) => this.fail(error));
  }

  private async obey(order: OrderInStream): Promise<void> {
    switch (order.kind) {
      case 'frame': {
        const frame = new Frame(this.plan.blockSize, order.memory);
        this.frames.set(order.frame, frame);
        this.numbers.set(frame, order.frame);
        return;
      }
      case 'look':
        this.pipeline.look(this.filled(order));
        this.answer({ kind: 'walked', walked: this.pipeline.walked });
        return;
      case 'push':
        return this.pipeline.push(this.filled(order), order.last);
      case 'receive':
        this.receiving = this.receive(order);
        return;
      case 'reply':
        this.receiver.hear(order);
        return;
      case 'stop':
        this.receiver.stop();
        return;
      case 'written':
        if (this.unwritten?.frame !== order.frame) throw new RangeError(`Block ${String(order.frame)} is not being written.`);
        this.unwritten.resolve(order);
        this.unwritten = undefined;
        return;
      case 'end':
        await this.filling.end();
        await this.pipeline.drain();
        this.answer({ kind: 'ended' });
        return;
      case 'pass':
        this.pipeline.pass(order.bytes);
        return;
      case 'summary':
        this.answer({ kind: 'summary', summary: await this.pipeline.summary() });
        return;
      case 'digests':
        this.answer({ kind: 'digests', ...(await this.pipeline.digests()) });
        return;
      case 'unseal':
        throw new RangeError('A stream that seals opens nothing.');
      case 'close':
        this.receiver.stop();
        await this.receiving;
        await this.pipeline.settle();
        this.answer({ kind: 'closed' });
    }
  }

  private receive({ endpoint, plan }: Extract<Order, { kind: 'receive' }>): Promise<void> {
    let toldAt = -Infinity;
    const tell = (): void => this.answer({ kind: 'taken', taken: this.filling.bytes, walked: this.pipeline.walked });
    const progress = (): void => {
      const now = performance.now();
      if (now - toldAt < TELL_EVERY_MS) return;
      toldAt = now;
      tell();
    };
    // Over TLS, each piece comes in memory of its own.
    const took = (bytes: number): void => {
      if (endpoint.tls) this.garbage.add(bytes);
    };
    return this.receiver.receive(endpoint, plan, this.pipeline.faulted, {
      sink: async (piece) => {
        await this.filling.write(piece);
        took(piece.length);
        progress();
      },
      direct: {
        take: (piece) => {
          const taken = this.filling.take(piece);
          took(taken);
          return taken;
        },
        look: () => {
          this.filling.look();
          progress();
        },
      },
    }, tell);
  }

  /** Hands a stored block back to be written. Waits for that where the frame is to be filled here again. */
  private async handBack(bytes: number, frame: Frame | undefined): Promise<void> {
    if (frame === undefined) throw new RangeError('Nothing but blocks is written from here.');
    // Nothing else is left: LZ4 has memory of its own, and what a cipher has made is given back at once.
    if (this.plan.codec.name === 'brotli') this.garbage.add(this.plan.blockSize);
    const stored = (number: number, memory: ArrayBuffer | null): Answer => ({ kind: 'stored', frame: number, memory, bytes, storedLength: this.pipeline.storedLengths.at(-1) ?? 0, walked: this.pipeline.walked });
    const known = this.numbers.get(frame);
    if (known !== undefined) return this.answer(stored(known, null));
    const mine = frame as Frame<ArrayBuffer>;
    const number = -1 - this.received++;
    const { outcome } = await new Promise<Extract<Order, { kind: 'written' }>>((resolve) => {
      this.unwritten = { frame: number, resolve };
      this.answer(stored(number, mine.memory), [mine.memory]);
    });
    if ('fault' in outcome) throw fromFault(outcome.fault);
    mine.giveMemory(outcome.memory);
  }

  private filled({ frame: number, filled }: { frame: number; filled: number }): Frame {
    const frame = this.frames.get(number);
    if (frame === undefined) throw new RangeError(`Frame ${String(number)} was not given.`);
    frame.filled = filled;
    return frame;
  }

  /** The first one counts. */
  private fail(error: unknown): void {
    if (this.faulted) return;
    this.faulted = true;
    this.answer({ kind: 'fault', fault: toFault(error) });
  }
}

/** Steps back behind the thread that answers callers and renews leases, and behind servers on the same machine. Linux has priorities for threads; elsewhere all are equal. */
const stepBack = (): void => {
  try {
    setPriority(Number(basename(readlinkSync('/proc/thread-self'))), NICENESS);
  } catch {
    // No /proc, or no right: it is slower for callers, and right all the same.
  }
};

/** To be called on the thread, once. */
export const serveOrders = (port: MessagePort, makeDial: MakeDial): void => {
  stepBack();
  const garbage = new YoungGarbage(GARBAGE_LIMIT);
  const streams = new Map<number, Stream | BlockOpener>();
  const obey = ({ stream, said: order }: Envelope<Order>): void => {
    if (order.kind !== 'open' && order.kind !== 'read') return streams.get(stream)?.take(order);
    const answer: Tell = (said, moved) => {
      port.postMessage({ stream, said } satisfies Envelope<Answer>, moved);
      if (said.kind === 'closed') streams.delete(stream);
    };
    streams.set(stream, order.kind === 'open' ? new Stream(order.plan, makeDial, garbage, answer) : new BlockOpener(order.plan, garbage, answer));
  };
  // One order in a turn of the loop: what has been collected is given back in between, and a port that is never empty would not let go of it.
  const orders: Envelope<Order>[] = [];
  const next = (): void => {
    const order = orders.shift();
    if (order === undefined) return;
    if (orders.length > 0) setImmediate(next);
    obey(order);
  };
  port.on('message', (order: Envelope<Order>) => {
    if (orders.push(order) === 1) setImmediate(next);
  });
};
