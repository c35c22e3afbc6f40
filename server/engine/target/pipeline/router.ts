import { setMaxListeners } from 'node:events';
import { addressOf } from '../../../domain/address.js';
import { abortReason, DomainError } from '../../../domain/errors.js';
import { Changes } from '../../changes.js';
import { type Dial, type Endpoint } from '../../ports.js';
import { ReplyError } from '../../resp.js';
import { pause } from '../waiting.js';
import { Batch, Unit } from './batch.js';
import { withAsking, withoutAsking } from './commands-in.js';
import { NodePipeline, type PipelineShared, type PipelineTimes, type Settle } from './node-pipeline.js';
import { refusalOf } from './refusals.js';
import { redirectIn, slotOf, slotOwners, SLOTS } from './slots.js';

/** Bytes on their way at most, over all connections. A target at full speed takes them in a twentieth of a second. */
const WINDOW_BYTES = 4 * 1024 * 1024;
/** Batches that are kept for reuse. */
const MOST_SPARE = 20;
/** A cluster that sends one key around so often is not going to come to rest. */
export const MOST_REDIRECTS = 64;
const TRY_AGAIN_MS = 100;
const LONGEST_TRY_AGAIN_MS = 2_000;
/** Units that wait for a slot to come to rest, before the writer does. */
const MOST_ASTRAY = 4_096;

/** Milliseconds before something is sent again that was sent back `times` times: slots that are on their way may take minutes. */
export const pauseBefore = (times: number): number => Math.min(TRY_AGAIN_MS * 2 ** (times - 1), LONGEST_TRY_AGAIN_MS);

export interface RouterOptions {
  endpoint: Endpoint;
  dial: Dial;
  times: PipelineTimes;
  signal: AbortSignal;
  cluster: boolean;
  /** The process that answers at the endpoint has to be this one. */
  expected?: { runId: string; version: string } | undefined;
  windowBytes?: number | undefined;
}

/**
 * Brings units to the server that they are for: the only one, or the master of the key's slot. Follows MOVED and ASK, and waits where a slot is in
 * the middle of its move. Holds the writer back while too much is on its way.
 */
export class Router implements PipelineShared {
  readonly changes = new Changes();
  inFlight = 0;
  bytesSent = 0;
  reconnects = 0;
  flightMs = 0;
  settle: Settle = () => undefined;
  failure: { error: unknown } | undefined;
  private readonly nodes = new Map<string, NodePipeline>();
  private readonly connecting = new Map<string, Promise<NodePipeline>>();
  private slots: NodePipeline[] | null = null;
  private readonly spare: Batch[] = [];
  /** Units that have been sent back and are not on their way again. */
  private astray = 0;
  private readonly first: NodePipeline;
  private readonly windowBytes: number;
  /** The signal, for as many as wait for their slots at once. */
  private readonly patience: AbortSignal;

  private constructor(private readonly options: RouterOptions) {
    this.windowBytes = options.windowBytes ?? WINDOW_BYTES;
    this.first = new NodePipeline(options.endpoint, this);
    this.patience = AbortSignal.any([options.signal]);
    setMaxListeners(0, this.patience);
  }

  get dial(): Dial {
    return this.options.dial;
  }

  get times(): PipelineTimes {
    return this.options.times;
  }

  get signal(): AbortSignal {
    return this.options.signal;
  }

  /** Connects: to the target, or to all masters of the cluster. Fails as `NodePipeline.connect`, and with TARGET_BLOCKED where slots have no master. */
  static async open(options: RouterOptions): Promise<Router> {
    const router = new Router(options);
    try {
      await router.connect();
      return router;
    } catch (error) {
      router.close();
      throw error;
    }
  }

  /** Of the endpoint. */
  get address(): string {
    return this.first.address;
  }

  /** Whether everything that was sent has been answered. */
  get isSettled(): boolean {
    return this.astray === 0 && this.all.every((node) => node.isAnswered);
  }

  get all(): readonly NodePipeline[] {
    return [...this.nodes.values()];
  }

  /** Where a key lives, `bytes[from, to)`. */
  nodeOf(bytes: Uint8Array, from: number, to: number): NodePipeline {
    if (this.slots === null) return this.first;
    return this.slots[slotOf(bytes, from, to)] as NodePipeline;
  }

  get isCluster(): boolean {
    return this.slots !== null;
  }

  /** Nothing where more may be written at once. */
  room(): Promise<void> | undefined {
    const hasRoom = (): boolean => this.inFlight < this.windowBytes && this.astray < MOST_ASTRAY;
    return hasRoom() && this.failure === undefined ? undefined : this.until(hasRoom);
  }

  /** Sends what has been written, and resolves when all of it has been answered. */
  async drained(): Promise<void> {
    const isDrained = (): boolean => {
      for (const node of this.nodes.values()) node.flush();
      return this.astray === 0 && this.all.every((node) => node.isIdle);
    };
    await this.until(isDrained);
  }

  /** After a failure: gives the server a moment to answer what is on its way, so that the counts are right. Never fails. */
  async settled(ms: number): Promise<void> {
    const deadline = performance.now() + ms;
    const signal = AbortSignal.timeout(ms);
    while (!this.all.every((node) => node.isIdle || !node.isAlive) && performance.now() < deadline) {
      await Promise.race([this.changes.next(), pause(20, signal).catch(() => undefined)]);
    }
  }

  fail(error: unknown): void {
    this.failure ??= { error };
    this.changes.tell();
  }

  assertSound(): void {
    if (this.failure !== undefined) throw this.failure.error;
    if (this.signal.aborted) throw abortReason(this.signal);
  }

  /** Takes an error that says where a unit belongs instead, or that it has to wait. False for other errors. */
  redirect(node: NodePipeline, batch: Batch, unit: number, reply: ReplyError): boolean {
    const redirect = redirectIn(reply.text, node.endpoint.host);
    if (redirect === null && reply.code !== 'TRYAGAIN') return false;
    if ((batch.tries[unit] as number) >= MOST_REDIRECTS) return false;
    const bytes = Buffer.from(batch.bytesOf(unit));
    const again = {
      kind: batch.kindOf(unit), note: batch.notes[unit] as number, tries: (batch.tries[unit] as number) + 1,
      bytes: batch.asking[unit] === 1 ? withoutAsking(bytes) : bytes,
      replies: batch.asking[unit] === 1 ? null : (batch.replies[unit] as number),
    };
    this.astray += 1;
    void this.follow(node, again, redirect).catch((error: unknown) => this.fail(error)).finally(() => {
      this.astray -= 1;
      this.changes.tell();
    });
    return true;
  }

  takeBatch(): Batch {
    return this.spare.pop() ?? new Batch();
  }

  giveBatch(batch: Batch): void {
    if (!batch.isReusable || this.spare.length >= MOST_SPARE) return;
    batch.clear();
    this.spare.push(batch);
  }

  close(): void {
    const why = this.failure?.error;
    for (const node of [this.first, ...this.nodes.values()]) node.close(why instanceof Error ? why : undefined);
  }

  /** The node that owns a slot, where the answer to a call says so. */
  async moved(slot: number, host: string, port: number): Promise<void> {
    if (this.slots !== null) this.slots[slot] = await this.node(host, port);
  }

  private async connect(): Promise<void> {
    const { endpoint, expected, cluster } = this.options;
    await this.first.connect(expected);
    this.nodes.set(this.first.address, this.first);
    if (!cluster) return;
    const reply = await this.first.call([Buffer.from('CLUSTER'), Buffer.from('SLOTS')]);
    if (reply instanceof ReplyError) throw refusalOf(this.first.address, reply) ?? new DomainError('TARGET_BLOCKED', `${this.first.address} answered CLUSTER SLOTS with: ${reply.text}`, { hint: 'Grant the user +cluster|slots.' });
    const owners = slotOwners(reply, endpoint.host);
    const slots = new Array<NodePipeline>(SLOTS);
    for (const { from, to, host, port } of owners) slots.fill(await this.node(host, port), from, to + 1);
    this.slots = slots;
    // The endpoint may be a replica, or a name for all nodes: commands for keys go to the masters by the addresses that the cluster gives.
    if (!owners.some(({ host, port }) => this.nodes.get(addressOf({ host, port })) === this.first)) {
      this.nodes.delete(this.first.address);
    }
  }

  /** The pipeline to a node by its address, opened where there is none yet: through the connect policy, as every address that a server names. */
  node(host: string, port: number): Promise<NodePipeline> {
    const key = addressOf({ host, port });
    const known = this.nodes.get(key);
    if (known !== undefined) return Promise.resolve(known);
    let opening = this.connecting.get(key);
    if (opening === undefined) {
      opening = (async () => {
        const node = new NodePipeline({ ...this.options.endpoint, host, port }, this);
        await node.connect();
        this.nodes.set(key, node);
        return node;
      })().finally(() => this.connecting.delete(key));
      this.connecting.set(key, opening);
    }
    return opening;
  }

  private async follow(
    from: NodePipeline, again: { kind: Unit; note: number; tries: number; bytes: Buffer; replies: number | null }, redirect: ReturnType<typeof redirectIn>,
  ): Promise<void> {
    let node = from;
    const free = redirect === null ? 0 : 2;
    if (again.tries > free) await pause(pauseBefore(again.tries - free), this.patience);
    if (redirect !== null) {
      node = await this.node(redirect.host, redirect.port);
      if (redirect.kind === 'MOVED' && this.slots !== null) this.slots[redirect.slot] = node;
    }
    const asked = withAsking(again.bytes);
    const group = again.kind === Unit.REPLACING_GROUP || again.kind === Unit.NEW_GROUP;
    const asking = redirect?.kind === 'ASK';
    const bytes = asking ? asked.bytes : again.bytes;
    const plain = again.replies ?? (group ? asked.replies - 1 : asked.replies / 2);
    const batch = node.batchFor(bytes.length);
    const unit = batch.unit(again.kind, asking ? asked.replies : plain, again.note, asking);
    batch.tries[unit] = again.tries;
    batch.raw(bytes);
    node.flush();
  }

  private async until(reached: () => boolean): Promise<void> {
    for (;;) {
      this.assertSound();
      if (reached()) return;
      await this.changes.next();
    }
  }
}
