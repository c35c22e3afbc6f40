import { abortReason, type DomainError } from '../../../domain/errors.js';
import { type Endpoint, type Log, type Permit } from '../../ports.js';
import { type ReceivedRdb, type ReceiveOptions } from '../../source/replication.js';
import { fromFault, toFault, type About, type OfTransfer } from './messages.js';
import { type SealingStream } from './threads.js';

export interface ReceivingDeps {
  permit: Permit;
  log: Log;
}

/** `receiveRdb` on the thread that seals; what arrives is the archive's from the beginning. `onTaken` is told when more has been taken, not too often. */
export type Receive = (endpoint: Endpoint, deps: ReceivingDeps, options: ReceiveOptions & { onTaken: () => void }, signal: AbortSignal) => Promise<ReceivedRdb>;

type Outcome = { received: Omit<ReceivedRdb, 'closed'> } | { error: unknown };

/** This side of a transfer that another thread takes: answers what it asks, and hears how it ends. */
export class Receiving {
  private readonly outcome: Promise<Outcome>;
  private conclude: (outcome: Outcome) => void = () => undefined;
  private readonly closed: Promise<void>;
  private disconnect: () => void = () => undefined;
  /** What went wrong here, and is what it fails with there. */
  private own: { error: unknown } | undefined;
  /** What it is about to do for a server is done or undone before anybody is told of the end. */
  private asking: Promise<void> | undefined;

  constructor(private readonly stream: SealingStream, private readonly deps: ReceivingDeps, private readonly options: Parameters<Receive>[2], private readonly signal: AbortSignal) {
    this.outcome = new Promise((resolve) => {
      this.conclude = resolve;
    });
    this.closed = new Promise((resolve) => {
      this.disconnect = resolve;
    });
  }

  async from(endpoint: Endpoint): Promise<ReceivedRdb> {
    const { onEvent: _event, beforeSync: _before, onTaken: _taken, ...plan } = this.options;
    const stop = (): void => this.stream.send({ kind: 'stop' });
    this.stream.send({ kind: 'receive', endpoint, plan });
    this.signal.addEventListener('abort', stop, { once: true });
    if (this.signal.aborted) stop();
    try {
      const outcome = await this.outcome;
      await this.asking;
      if ('received' in outcome && this.own === undefined) return { ...outcome.received, closed: this.closed };
      if (this.signal.aborted) throw abortReason(this.signal);
      throw this.own === undefined && 'error' in outcome ? outcome.error : this.own?.error;
    } finally {
      this.signal.removeEventListener('abort', stop);
    }
  }

  hear(answer: OfTransfer): void {
    switch (answer.kind) {
      case 'question':
        this.hearOf(answer);
        return;
      case 'event':
        this.tell(() => this.options.onEvent?.(answer.event));
        return;
      case 'taken':
        this.tell(this.options.onTaken);
        return;
      case 'logged':
        this.deps.log[answer.level](answer.message, answer.fields);
        return;
      case 'received':
        this.conclude({ received: answer.received });
        return;
      case 'notReceived':
        this.conclude({ error: fromFault(answer.fault) });
        this.disconnect();
        return;
      case 'disconnected':
        this.disconnect();
    }
  }

  /** The thread is gone, and its connections with it. */
  lost(error: DomainError): void {
    this.conclude({ error });
    this.disconnect();
  }

  private hearOf({ question, about }: Extract<OfTransfer, { kind: 'question' }>): void {
    const replying = this.reply(question, about);
    // A name that nobody resolves is waited for by nobody.
    if (about.kind === 'sync') this.asking = replying;
  }

  private async reply(question: number, about: About): Promise<void> {
    try {
      const addresses = about.kind === 'addresses' ? await this.deps.permit({ host: about.host, port: about.port }) : [];
      if (about.kind === 'sync') await this.options.beforeSync?.();
      this.stream.send({ kind: 'reply', question, addresses, fault: null });
    } catch (error) {
      this.own ??= { error };
      this.stream.send({ kind: 'reply', question, addresses: [], fault: toFault(error) });
    }
  }

  /** What a listener throws ends the transfer, as it would where nothing lies in between. */
  private tell(listener: () => void): void {
    try {
      listener();
    } catch (error) {
      this.own ??= { error };
      this.stream.send({ kind: 'stop' });
    }
  }
}
