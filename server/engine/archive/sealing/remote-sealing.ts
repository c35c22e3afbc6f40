import { Changes } from '../../changes.js';
import { type RdbSummary } from '../../rdb/summary.js';
import { type ObjectWriter } from '../../store/store.js';
import { Frame } from './frame.js';
import { fromFault, toFault, type Answer } from './messages.js';
import { Receiving, type Receive } from './receiving.js';
import { type Sealing, type SealingPlan } from './sealing.js';
import { type SealingStream, type SealingThreads } from './threads.js';

/** How long a walk may lag behind what a slow source has sent. */
const LOOK_EVERY_MS = 100;

type AnswerTo<Kind extends Answer['kind']> = Extract<Answer, { kind: Kind }>;

/** Sealing on another thread. Here, frames are filled and what comes back is written. */
export class RemoteSealing implements Sealing {
  readonly storedLengths: number[] = [];
  storedSize = 0n;
  taken = 0n;
  walked = { bytes: 0n, keys: 0n };
  private readonly stream: SealingStream;
  private readonly ending = new AbortController();
  private readonly frames = new Map<number, Frame<SharedArrayBuffer>>();
  private made = 0;
  private readonly free: Frame<SharedArrayBuffer>[] = [];
  private inFlight = 0;
  private writing: Promise<void> = Promise.resolve();
  private fault: { error: unknown } | undefined;
  private receiving: Receiving | undefined;
  private ended = false;
  private over = false;
  private closed = false;
  private readonly changes = new Changes();
  private summaryAnswer: AnswerTo<'summary'> | undefined;
  private digestsAnswer: AnswerTo<'digests'> | undefined;
  private lookedAt = -Infinity;
  private looking: NodeJS.Timeout | undefined;

  constructor(private readonly plan: SealingPlan, private readonly output: Pick<ObjectWriter, 'write'>, threads: SealingThreads) {
    this.stream = threads.open({
      onAnswer: (answer) => this.hear(answer),
      onGone: (error) => {
        this.closed = true;
        this.fail(error);
        this.receiving?.lost(error);
      },
    });
    this.stream.send({ kind: 'open', plan });
  }

  get faulted(): AbortSignal {
    return this.ending.signal;
  }

  readonly receive: Receive = (endpoint, deps, options, signal) => {
    this.assertWhole();
    this.receiving = new Receiving(this.stream, deps, options, signal);
    return this.receiving.from(endpoint);
  };

  async end(): Promise<void> {
    this.assertWhole();
    this.stream.send({ kind: 'end' });
    await this.until(() => this.ended);
  }

  take(): Frame {
    let frame = this.free.pop();
    if (frame === undefined) {
      frame = Frame.makeShared(this.plan.blockSize);
      this.frames.set(this.made, frame);
      this.stream.send({ kind: 'frame', frame: this.made++, memory: frame.memory });
    }
    frame.filled = 0;
    return frame;
  }

  look(frame: Frame): void {
    if (!this.plan.walk || this.looking !== undefined || this.over) return;
    const wait = this.lookedAt + LOOK_EVERY_MS - performance.now();
    const look = (): void => {
      this.looking = undefined;
      this.lookedAt = performance.now();
      this.stream.send({ kind: 'look', ...this.filled(frame) });
    };
    if (wait <= 0) look();
    else this.looking = setTimeout(look, wait);
  }

  async push(frame: Frame, last: boolean): Promise<void> {
    this.assertWhole();
    this.stopLooking();
    this.inFlight += 1;
    this.stream.send({ kind: 'push', ...this.filled(frame), last });
    await this.until(() => this.inFlight < this.plan.depth);
  }

  async drain(): Promise<void> {
    await this.until(() => this.inFlight === 0);
  }

  async settle(): Promise<void> {
    if (!this.over) {
      this.over = true;
      this.stopLooking();
      if (!this.closed) this.stream.send({ kind: 'close' });
    }
    while (!this.closed) await this.changes.next();
    this.stream.end();
    await this.writing;
  }

  async writeThrough(bytes: Uint8Array): Promise<void> {
    this.assertWhole();
    // A copy: of a part of a larger buffer, all of it would be sent.
    this.stream.send({ kind: 'pass', bytes: Uint8Array.from(bytes) });
    this.storedSize += BigInt(bytes.length);
    await this.output.write(bytes);
  }

  async summary(): Promise<RdbSummary> {
    this.stream.send({ kind: 'summary' });
    await this.until(() => this.summaryAnswer !== undefined);
    return (this.summaryAnswer as AnswerTo<'summary'>).summary;
  }

  async digests(): Promise<{ plainSha256: string; storedSha256: string | null }> {
    this.stream.send({ kind: 'digests' });
    await this.until(() => this.digestsAnswer !== undefined);
    const { plainSha256, storedSha256 } = this.digestsAnswer as AnswerTo<'digests'>;
    // All is written. The connection of what was received may take a moment longer, which nobody here has to wait for.
    void this.settle();
    return { plainSha256, storedSha256 };
  }

  private hear(answer: Answer): void {
    switch (answer.kind) {
      case 'walked':
        this.walked = answer.walked;
        return;
      case 'stored':
        this.walked = answer.walked;
        this.writing = this.writing.then(() => this.write(answer));
        return;
      case 'taken':
        this.taken = answer.taken;
        this.walked = answer.walked;
        this.receiving?.hear(answer);
        return;
      case 'question':
      case 'event':
      case 'logged':
      case 'received':
      case 'notReceived':
      case 'disconnected':
        this.receiving?.hear(answer);
        return;
      case 'ended':
        this.ended = true;
        break;
      case 'opened':
      case 'damaged':
        return;
      case 'summary':
        this.summaryAnswer = answer;
        break;
      case 'digests':
        this.digestsAnswer = answer;
        break;
      case 'fault':
        this.fail(fromFault(answer.fault));
        break;
      case 'closed':
        this.closed = true;
    }
    this.changes.tell();
  }

  /** Never rejects. */
  private async write({ frame: number, memory, bytes, storedLength }: AnswerTo<'stored'>): Promise<void> {
    const known = this.frames.get(number);
    const from = memory ?? known?.memory;
    if (from === undefined) return;
    try {
      this.assertWhole();
      await this.output.write(new Uint8Array(from, 0, bytes));
    } catch (error) {
      this.fail(error);
      // Whoever filled it there may be waiting for it.
      if (memory !== null) this.stream.send({ kind: 'written', frame: number, outcome: { fault: toFault(error) } });
      return;
    }
    this.storedLengths.push(storedLength);
    this.storedSize += BigInt(bytes);
    if (memory !== null) return this.stream.send({ kind: 'written', frame: number, outcome: { memory } }, [memory]);
    if (known === undefined) return;
    this.inFlight -= 1;
    this.free.push(known);
    this.changes.tell();
  }

  private filled(frame: Frame): { frame: number; filled: number } {
    for (const [number, known] of this.frames) if (known === frame) return { frame: number, filled: frame.filled };
    throw new RangeError('A frame of another pipeline.');
  }

  private stopLooking(): void {
    clearTimeout(this.looking);
    this.looking = undefined;
  }

  private fail(error: unknown): void {
    if (this.fault === undefined) {
      this.fault = { error };
      this.stopLooking();
      this.ending.abort(error);
    }
    this.changes.tell();
  }

  private assertWhole(): void {
    if (this.fault !== undefined) throw this.fault.error;
  }

  private async until(condition: () => boolean): Promise<void> {
    for (;;) {
      this.assertWhole();
      if (condition()) return;
      await this.changes.next();
    }
  }
}
