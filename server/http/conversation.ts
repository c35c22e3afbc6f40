import { randomUUID } from 'node:crypto';
import { type GraphQLFormattedError } from 'graphql';
import { type Message, MessageType, parseMessage, type SubscribeMessage } from 'graphql-ws';
import { type WebSocket } from 'ws';
import { DomainError } from '../domain/errors.js';
import { type Principal } from '../domain/principal.js';
import { checkSdk } from '../domain/sdk.js';
import { type Guard } from '../graphql/guard.js';
import { type Answers, type Live } from '../graphql/live.js';
import { type EdgeLog, logFaults } from '../graphql/mask.js';
import { type Places } from './places.js';
import { type WatchAccess } from './ports.js';

/** Close codes after which a client may come again. graphql-ws clients give up for good at 4401, 4500 and 1011, so these are never sent. */
export const FORBIDDEN = 4403;
export const RESTARTING = 1012;
export const TRY_LATER = 1013;
/** One that was shut out may take so long to say that it has heard. */
const LINGER_MS = 1_000;
const BAD_MESSAGE = 4400;
const WRONG_PROTOCOL = 4406;
const INIT_TIMEOUT = 4408;
const ALREADY_SUBSCRIBED = 4409;
const TOO_MANY_INITS = 4429;

export interface ConversationDeps {
  guard: Guard;
  live: Live;
  log: EdgeLog;
  watchAccess: WatchAccess;
  places: Places;
  initTimeoutMs: number;
  maxOperations: number;
  maxBufferedBytes: number;
}

type Params = { authorization?: unknown; Authorization?: unknown; sdk?: unknown };

const credentialOf = (params: Params | undefined): string | undefined => {
  const value = params?.authorization ?? params?.Authorization;
  return typeof value === 'string' ? value : undefined;
};

/** A subscription of this socket; without `answers` until it has begun. */
interface Running {
  answers?: Answers;
  over?: true;
}

/**
 * One socket that speaks graphql-transport-ws (https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md). Written here and not left to the
 * package, which would execute and serialise each event anew for each socket.
 */
export class Conversation {
  private readonly socketId = randomUUID();
  private readonly running = new Map<string, Running>();
  private initTimer: NodeJS.Timeout | undefined;
  private greeted = false;
  private params: Params | undefined;
  private access: ReturnType<WatchAccess> | undefined;
  private leaveKey: (() => void) | undefined;
  private gone = false;
  /** Subscriptions that there was no room for. */
  private refused = 0;
  /** Answers that wait for the client to take them, while it is not listened to. */
  private untaken = 0;

  /** @param from the address it came from */
  constructor(private readonly socket: WebSocket, private readonly from: string | undefined, private readonly deps: ConversationDeps) {
    // A frame that is too big or malformed: ws has answered with the matching code already; 'close' follows. Also of a socket that is refused here: an
    // error that nobody takes would end the node.
    socket.on('error', (error) => deps.log.info('A WebSocket was closed by an error', { socketId: this.socketId, error }));
    if (socket.protocol !== 'graphql-transport-ws') {
      socket.close(WRONG_PROTOCOL, 'Subprotocol not acceptable');
      return;
    }
    this.initTimer = setTimeout(() => socket.close(INIT_TIMEOUT, 'Connection initialisation timeout'), deps.initTimeoutMs);
    socket.on('message', (data: Buffer) => this.receive(String(data)));
    socket.once('close', () => this.end());
  }

  private receive(text: string): void {
    if (this.gone || this.socket.readyState !== this.socket.OPEN) return;
    let message: Message;
    try {
      message = parseMessage(text);
    } catch {
      this.socket.close(BAD_MESSAGE, 'Invalid message received');
      return;
    }
    switch (message.type) {
      case MessageType.ConnectionInit:
        if (this.params) this.socket.close(TOO_MANY_INITS, 'Too many initialisation requests');
        else this.greet(message.payload ?? {}).catch((error: unknown) => this.failed(error));
        return;
      case MessageType.Ping:
        this.send(JSON.stringify({ type: MessageType.Pong, payload: message.payload }));
        return;
      case MessageType.Pong:
        return;
      case MessageType.Subscribe:
        this.subscribe(message).catch((error: unknown) => this.failed(error));
        return;
      case MessageType.Complete:
        this.forget(message.id);
        return;
      default:
        this.socket.close(BAD_MESSAGE, `Unexpected message of type ${message.type} received`);
    }
  }

  private async greet(params: Params): Promise<void> {
    this.params = params;
    clearTimeout(this.initTimer);
    let caller: Principal;
    try {
      caller = await this.deps.guard.authenticate(credentialOf(params), this.from);
    } catch (error) {
      if (!(error instanceof DomainError && error.code === 'UNAUTHENTICATED')) throw error;
      this.socket.close(FORBIDDEN, 'Forbidden');
      return;
    }
    // A client may have left meanwhile: then nobody would end the watch.
    if (this.gone) return;
    const leave = this.deps.places.of(caller.keyId);
    if (!leave) {
      this.socket.close(TRY_LATER, 'Too many sockets of this key');
      return;
    }
    this.leaveKey = leave;
    this.access = this.deps.watchAccess(caller, () => this.shutOut());
    this.greeted = true;
    this.send(JSON.stringify({ type: MessageType.ConnectionAck }));
  }

  private async subscribe({ id, payload }: SubscribeMessage): Promise<void> {
    const { deps } = this;
    if (!this.greeted) {
      this.socket.close(FORBIDDEN, 'Unauthorised');
      return;
    }
    if (this.running.has(id)) {
      this.socket.close(ALREADY_SUBSCRIBED, `Subscriber for ${id.slice(0, 64)} already exists`);
      return;
    }
    const requestId = randomUUID();
    if (this.running.size >= deps.maxOperations) {
      this.refused += 1;
      if (this.refused > deps.maxOperations) this.socket.close(TRY_LATER, 'Too many subscriptions');
      this.sendErrors(id, [new DomainError('LIMIT_EXCEEDED', `A socket carries at most ${deps.maxOperations} subscriptions at once.`)], requestId);
      return;
    }
    const running: Running = {};
    this.running.set(id, running);
    let begun: Awaited<ReturnType<Live['begin']>>;
    try {
      checkSdk(this.params?.sdk);
      begun = await deps.live.begin(await deps.guard.authenticate(credentialOf(this.params), this.from), payload, requestId);
    } catch (error) {
      begun = { errors: [error], begun: false };
    }
    if ('answers' in begun) {
      if (running.over) await begun.answers.return?.();
      else {
        running.answers = begun.answers;
        await this.pass(id, running, begun.answers, requestId);
      }
      return;
    }
    if (running.over) return;
    this.running.delete(id);
    if (begun.begun) {
      await this.give(id, JSON.stringify({ errors: this.masked(begun.errors, requestId) }));
      this.send(JSON.stringify({ id, type: MessageType.Complete }));
    } else this.sendErrors(id, begun.errors, requestId);
  }

  /** Hands on what comes, no faster than the client takes it: what it leaves waits in the feed, which bounds it. */
  private async pass(id: string, running: Running, answers: Answers, requestId: string): Promise<void> {
    // Ids are the client's own; nothing is to be escaped in those that all of them make.
    const head = `{"id":${JSON.stringify(id)},"type":"next","payload":`;
    try {
      for (;;) {
        const { value, done } = await answers.next();
        if (running.over) return;
        if (done === true) break;
        const holds = this.access?.holds() ?? false;
        if (!(holds === true || (holds !== false && (await holds)))) this.shutOut();
        // One that is closing takes nothing more: its source is not to be emptied for it.
        if (this.socket.readyState !== this.socket.OPEN) this.forget(id);
        if (running.over) return;
        if (this.socket.bufferedAmount < this.deps.maxBufferedBytes) this.send(`${head}${value}}`);
        else await this.taken(`${head}${value}}`);
      }
      this.send(JSON.stringify({ id, type: MessageType.Complete }));
    } catch (error) {
      if (running.over) return;
      if (error instanceof DomainError && error.code === 'TOO_SLOW') this.socket.close(TRY_LATER, 'Events are not taken');
      else this.sendErrors(id, [error], requestId);
    } finally {
      if (this.running.get(id) === running) this.running.delete(id);
    }
  }

  private async give(id: string, payload: string): Promise<void> {
    const holds = await this.access?.holds();
    if (holds === true) this.send(`{"id":${JSON.stringify(id)},"type":"next","payload":${payload}}`);
    else this.shutOut();
  }

  /** Whoever does not take the answers is not listened to until it does: it could ask for more than there is memory. */
  private send(text: string): void {
    const { socket } = this;
    if (socket.readyState !== socket.OPEN) return;
    if (socket.bufferedAmount < this.deps.maxBufferedBytes) return socket.send(text);
    this.untaken += 1;
    socket.pause();
    socket.send(text, () => {
      this.untaken -= 1;
      if (this.untaken === 0) socket.resume();
    });
  }

  /** Sends, and waits until the kernel has it. */
  private taken(text: string): Promise<void> {
    return new Promise((resolve) => {
      if (this.socket.readyState === this.socket.OPEN) this.socket.send(text, () => resolve());
      else resolve();
    });
  }

  private masked(errors: readonly unknown[], requestId: string): readonly GraphQLFormattedError[] {
    logFaults(this.deps.log, errors, requestId, { transport: 'websocket' });
    return errors.map((error) => this.deps.guard.mask(error, requestId));
  }

  private sendErrors(id: string, errors: readonly unknown[], requestId: string): void {
    this.send(JSON.stringify({ id, type: MessageType.Error, payload: this.masked(errors, requestId) }));
  }

  /** Not 4401: the client may come again, with a new credential or with what its old one still grants. Nothing more is sent. */
  private shutOut(): void {
    const { socket } = this;
    socket.close(FORBIDDEN, 'The credential has expired, was revoked or grants something else now');
    // A client that takes nothing would keep it open until ws gives up, after half a minute.
    const timer = setTimeout(() => socket.terminate(), LINGER_MS);
    socket.once('close', () => clearTimeout(timer));
    this.forgetAll();
  }

  private failed(error: unknown): void {
    logFaults(this.deps.log, [error], this.socketId, { transport: 'websocket' });
    this.socket.close(TRY_LATER, 'Try again later');
  }

  private forget(id: string): void {
    const running = this.running.get(id);
    if (!running) return;
    this.running.delete(id);
    running.over = true;
    running.answers?.return?.().catch((error: unknown) => logFaults(this.deps.log, [error], this.socketId, { transport: 'websocket' }));
  }

  private forgetAll(): void {
    for (const id of [...this.running.keys()]) this.forget(id);
  }

  private end(): void {
    this.gone = true;
    clearTimeout(this.initTimer);
    this.access?.end();
    this.leaveKey?.();
    this.forgetAll();
  }
}
