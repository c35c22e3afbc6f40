import { addressOf } from '../../../domain/address.js';
import { DomainError } from '../../../domain/errors.js';
import { type Changes } from '../../changes.js';
import { type Dial, type Endpoint } from '../../ports.js';
import { ReplyError } from '../../resp.js';
import { pause } from '../waiting.js';
import { Batch, BATCH_BYTES, commandBytes, Unit } from './batch.js';
import { DataLink, LinkLost, type LinkTimes } from './data-link.js';
import { type Reply } from './reply-parser.js';

/** Looks at what a unit has been answered: one reply, or as many as it was owed. Called in order, before the unit is forgotten. */
export type Settle = (node: NodePipeline, batch: Batch, unit: number, replies: Reply | Reply[]) => void;

export interface PipelineTimes extends LinkTimes {
  /** A server that cannot be reached any more is tried again for so long. */
  reconnectMs: number;
}

/** What all connections of a restore have in common. */
export interface PipelineShared {
  readonly dial: Dial;
  readonly times: PipelineTimes;
  readonly signal: AbortSignal;
  /** Told of replies, of room, of ends. */
  readonly changes: Changes;
  /** Bytes that have been handed over and not been answered, over all connections. */
  inFlight: number;
  bytesSent: number;
  reconnects: number;
  /** How long a command has lately taken from when it was written until it was answered, in milliseconds. */
  flightMs: number;
  settle: Settle;
  /** The first failure ends everything. */
  fail(error: unknown): void;
  readonly failure: { error: unknown } | undefined;
  /** Throws what has ended everything, if anything has. */
  assertSound(): void;
  takeBatch(): Batch;
  giveBatch(batch: Batch): void;
}

/** Connecting again cannot help: the server answers, and says no. */
const FINAL: ReadonlySet<string> = new Set(['AUTH_FAILED', 'PERMISSION_MISSING', 'TARGET_NOT_ALLOWED', 'PROTOCOL_ERROR', 'TARGET_STATE_UNKNOWN', 'INTERNAL']);
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 2_000;
/** Connections lost one after the other without a single answer in between. */
const MOST_FRUITLESS = 5;

/**
 * One server's connection, and the commands that are on their way over it. What has not been answered when the connection breaks is sent again, in
 * the same order, over a new one to the same process of the same server; whether it had been done is not known then (`Batch.sentAgain`).
 */
export class NodePipeline {
  readonly address: string;
  /** What the next command that is written will meet. */
  database = 0;
  private answeredDatabase = 0;
  private readonly queue: Batch[] = [];
  private current: Batch | undefined;
  private gathered: Reply[] = [];
  /** Replies that belong to no unit. */
  private uncounted = 0;
  private link: DataLink | undefined;
  private runId = '';
  private version = '';
  private fruitless = 0;
  /** The connection that `alone` has handed over; batches wait for its end. */
  private lent: DataLink | undefined;
  private lentReplies: Reply[] = [];
  private lentWaiter: { done: (reply: Reply) => void; fail: (lost: LinkLost) => void } | undefined;
  private closed = false;

  constructor(readonly endpoint: Endpoint, private readonly shared: PipelineShared) {
    this.address = addressOf(endpoint);
  }

  /** @param expected the process that it has to be, where that is known. Fails as `DataLink.open`, or with CONFIRMATION_REQUIRED for another process. */
  async connect(expected?: { runId: string; version: string }): Promise<void> {
    const link = await DataLink.open(this.endpoint, this.shared, this.shared.times, this.shared.signal);
    const { runId, version } = link.identity;
    if (expected !== undefined && (expected.runId !== runId || expected.version !== version)) {
      link.close();
      throw new DomainError('CONFIRMATION_REQUIRED', `${this.address} is not the server that was planned for: it was restarted, upgraded or replaced.`, { hint: 'Make a new plan and confirm that.' });
    }
    this.runId = runId;
    this.version = version;
    this.use(link);
  }

  /** The batch that has room for `bytes` more. Written to at once, in one go with `unit`. */
  batchFor(bytes: number): Batch {
    if (this.current?.hasRoom(bytes) === true) return this.current;
    this.flush();
    this.current = bytes > BATCH_BYTES ? new Batch(bytes) : this.shared.takeBatch();
    return this.current;
  }

  /** Makes what is written next meet this database. */
  select(database: number): void {
    if (this.database === database) return;
    const args = [Buffer.from('SELECT'), Buffer.from(String(database))];
    const batch = this.batchFor(commandBytes(args));
    batch.unit(Unit.SELECT, 1, database);
    batch.command(args);
    this.database = database;
  }

  /** One command, in order with all others. Resolves with its reply, also an error. Fails with what ends the restore. */
  call(args: readonly Uint8Array[]): Promise<Reply> {
    const batch = this.batchFor(commandBytes(args));
    const unit = batch.unit(Unit.CALL, 1);
    batch.command(args);
    const reply = new Promise<Reply>((done, fail) => {
      batch.callers.set(unit, (answer) => {
        if (answer instanceof Error) fail(answer);
        else done(answer);
      });
    });
    this.flush();
    return reply;
  }

  /** Sends what has been written. */
  flush(): void {
    const { current, shared } = this;
    if (current === undefined || current.units === 0) return;
    this.current = undefined;
    this.queue.push(current);
    shared.inFlight += current.used;
    this.sendBatch(current);
  }

  get isIdle(): boolean {
    return this.queue.length === 0 && (this.current === undefined || this.current.units === 0);
  }

  /** Whether nothing has been sent that was not answered. */
  get isAnswered(): boolean {
    return this.queue.length === 0 && this.lent === undefined;
  }

  get isAlive(): boolean {
    return this.link?.alive === true;
  }

  /**
   * Hands the connection over, once all has been answered, for what is too large to be kept until it is answered. `work` begins anew when the
   * connection is lost: it writes with `write`, and has to take the reply to each of its commands with `reply`.
   */
  async alone<T>(work: (way: { write(bytes: Uint8Array): Promise<void>; reply(): Promise<Reply> }) => Promise<T>): Promise<T> {
    for (;;) {
      await this.idle();
      const link = this.link;
      if (link?.alive !== true) {
        await this.change();
        continue;
      }
      this.lent = link;
      this.lentReplies = [];
      try {
        const result = await work({
          write: (bytes) => {
            this.shared.bytesSent += bytes.length;
            return link.write(bytes) && link.alive ? Promise.resolve() : link.drained();
          },
          reply: () => this.lentReply(link),
        });
        this.fruitless = 0;
        return result;
      } catch (error) {
        if (!(error instanceof LinkLost)) {
          // Half a command is on its way, or a reply that nobody waits for: this connection is of no more use.
          link.end(new DomainError('CONNECT_FAILED', `The connection to ${this.address} was given up in the middle of a command.`, { retryable: true }));
          throw error;
        }
      } finally {
        this.lent = undefined;
        this.lentWaiter = undefined;
        // What came meanwhile. Over a new connection it has been sent already.
        if (this.link === link) for (const batch of this.queue) this.sendBatch(batch);
      }
    }
  }

  /** @param why what calls that are not answered fail with */
  close(why?: Error): void {
    this.closed = true;
    this.link?.close();
    const gone = why ?? new DomainError('INTERRUPTED', `The connection to ${this.address} was closed.`);
    for (const batch of [...this.queue, ...(this.current === undefined ? [] : [this.current])]) {
      for (const [unit, told] of batch.callers) if (unit >= batch.done) told(gone);
      batch.callers.clear();
    }
  }

  private lentReply(link: DataLink): Promise<Reply> {
    return new Promise((done, fail) => {
      const reply = this.lentReplies.shift();
      if (reply !== undefined) done(reply);
      else if (link.ended !== undefined) fail(link.ended);
      else this.lentWaiter = { done, fail };
    });
  }

  private async idle(): Promise<void> {
    this.flush();
    while (!this.isIdle) {
      await this.change();
      this.flush();
    }
  }

  private async change(): Promise<void> {
    this.shared.assertSound();
    await this.shared.changes.next();
    this.shared.assertSound();
  }

  private use(link: DataLink): void {
    this.link = link;
    link.onReply = this.take;
    link.onEnd = (lost) => {
      this.lentWaiter?.fail(lost);
      this.lentWaiter = undefined;
      void this.recover(lost);
    };
    link.owed = () => this.queue.length > 0 || this.lent === link || this.uncounted > 0;
    if (link.ended !== undefined) link.onEnd(link.ended);
  }

  private sendBatch(batch: Batch): void {
    if (this.link?.alive !== true || this.link === this.lent) return;
    this.send(batch.bytes.subarray(batch.starts[batch.done], batch.used));
    batch.sent = true;
  }

  private send(bytes: Uint8Array): void {
    this.shared.bytesSent += bytes.length;
    this.link?.write(bytes);
  }

  private readonly take = (reply: Reply): void => {
    if (this.uncounted > 0) {
      this.uncounted -= 1;
      if (reply instanceof ReplyError) this.shared.fail(new DomainError('TARGET_BLOCKED', `${this.address} no longer lets this restore select its database: ${reply.text}`));
      return;
    }
    if (this.link === this.lent) {
      const waiter = this.lentWaiter;
      this.lentWaiter = undefined;
      if (waiter === undefined) this.lentReplies.push(reply);
      else waiter.done(reply);
      return;
    }
    const batch = this.queue[0];
    if (batch === undefined) throw new DomainError('PROTOCOL_ERROR', `${this.address} answered more than it was asked.`, { hint: 'Something between here and the server mixes up connections.' });
    const unit = batch.done;
    const owed = batch.replies[unit] as number;
    if (owed === 1) this.answered(batch, unit, reply);
    else {
      this.gathered.push(reply);
      if (this.gathered.length < owed) return;
      const all = this.gathered;
      this.gathered = [];
      this.answered(batch, unit, all);
    }
    batch.done = unit + 1;
    if (batch.done < batch.units) return;
    this.queue.shift();
    this.fruitless = 0;
    this.shared.flightMs = this.shared.flightMs * 0.75 + (performance.now() - batch.begunAt) * 0.25;
    this.shared.inFlight -= batch.used;
    this.shared.giveBatch(batch);
    this.shared.changes.tell();
  };

  private answered(batch: Batch, unit: number, replies: Reply | Reply[]): void {
    const kind = batch.kindOf(unit);
    if (kind === Unit.CALL) batch.callers.get(unit)?.(replies);
    else if (kind === Unit.SELECT && !(replies instanceof ReplyError)) this.answeredDatabase = batch.notes[unit] as number;
    else this.shared.settle(this, batch, unit, replies);
  }

  private async recover(lost: LinkLost): Promise<void> {
    const { shared } = this;
    const before = this.link?.identity.clientId ?? null;
    this.gathered = [];
    this.uncounted = 0;
    try {
      if (this.closed || shared.failure !== undefined) return;
      if (!lost.why.retryable) throw lost.why;
      this.fruitless += 1;
      if (this.fruitless > MOST_FRUITLESS) throw lost.why;
      const link = await this.reconnect(lost.why);
      shared.reconnects += 1;
      // The server may still have commands of the old connection before it, which would be done after those of the new one.
      if (before !== null) await link.ask('CLIENT', 'KILL', 'ID', String(before));
      this.resume(link);
    } catch (error) {
      if (error instanceof LinkLost && shared.failure === undefined) void this.recover(error);
      else shared.fail(error instanceof LinkLost ? error.why : error);
    }
  }

  private async reconnect(lost: DomainError): Promise<DataLink> {
    const { shared } = this;
    const deadline = performance.now() + shared.times.reconnectMs;
    for (let wait = FIRST_PAUSE_MS; ; wait = Math.min(wait * 2, LONGEST_PAUSE_MS)) {
      await pause(wait, shared.signal);
      try {
        const link = await DataLink.open(this.endpoint, shared, shared.times, shared.signal);
        if (link.identity.runId === this.runId && link.identity.version === this.version) return link;
        link.close();
        throw new DomainError('TARGET_STATE_UNKNOWN', `${this.address} was restarted or replaced in the middle of the restore.`, {
          hint: 'What it kept of the keys that it had acknowledged depends on its persistence. Look at it, then restore again, or undo with the safety backup.',
        });
      } catch (error) {
        if (!(error instanceof DomainError) || FINAL.has(error.code) || shared.signal.aborted) throw error;
        if (performance.now() >= deadline) throw new DomainError('CONNECT_FAILED', `${lost.message} It could not be reached again within ${shared.times.reconnectMs} ms: ${error.message}`, { hint: error.hint ?? lost.hint ?? 'Check the target.', retryable: true, cause: error });
      }
    }
  }

  /** Sends again what has not been answered. */
  private resume(link: DataLink): void {
    if (link.ended !== undefined) throw link.ended;
    if (this.closed) {
      link.close();
      return;
    }
    this.use(link);
    if (this.answeredDatabase !== 0) {
      this.uncounted = 1;
      this.send(Buffer.from(`*2\r\n$6\r\nSELECT\r\n$${String(this.answeredDatabase).length}\r\n${this.answeredDatabase}\r\n`));
    }
    for (const batch of this.queue) {
      if (batch.sent) batch.sentAgain = batch.units;
      this.sendBatch(batch);
    }
    this.shared.changes.tell();
  }
}
