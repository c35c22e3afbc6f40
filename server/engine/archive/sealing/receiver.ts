import { DomainError } from '../../../domain/errors.js';
import { type Dial, type Endpoint, type Log, type Permit } from '../../ports.js';
import { receiveRdb, type DirectSink, type Sink } from '../../source/replication.js';
import { fromFault, toFault, type About, type Answer, type ReceivePlan, type Reply } from './messages.js';

/** Makes the way out of a thread, which asks for the addresses that may be dialled. */
export type MakeDial = (permit: Permit) => Dial;

interface Question {
  resolve: (addresses: readonly string[]) => void;
  reject: (error: DomainError) => void;
}

/** The other end of a `Receiving`: one transfer, on the thread. */
export class Receiver {
  private readonly stopping = new AbortController();
  private readonly questions = new Map<number, Question>();
  private asked = 0;
  private readonly log: Log;

  constructor(private readonly makeDial: MakeDial, private readonly answer: (answer: Answer) => void) {
    const log = (level: keyof Log) => (message: string, fields: Record<string, unknown> = {}): void => this.answer({ kind: 'logged', level, message, fields });
    this.log = { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') };
  }

  /** Never rejects: what becomes of it is answered. */
  async receive(endpoint: Endpoint, plan: ReceivePlan, faulted: AbortSignal, { sink, direct }: { sink: Sink; direct: DirectSink }, onEnd: () => void): Promise<void> {
    const dial = this.makeDial(({ host, port }) => this.ask({ kind: 'addresses', host, port }));
    try {
      const { closed, ...received } = await receiveRdb(endpoint, { dial, log: this.log }, {
        ...plan,
        beforeSync: async () => void (await this.ask({ kind: 'sync' })),
        onEvent: (event) => this.answer({ kind: 'event', event }),
      }, AbortSignal.any([this.stopping.signal, faulted]), sink, direct);
      // Whoever hears of it knows by then how much it was.
      onEnd();
      this.answer({ kind: 'received', received });
      await closed;
      this.answer({ kind: 'disconnected' });
    } catch (error) {
      onEnd();
      this.answer({ kind: 'notReceived', fault: toFault(error, 'What a server sent could not be taken.') });
    }
  }

  hear({ question, addresses, fault }: Reply): void {
    const asked = this.questions.get(question);
    this.questions.delete(question);
    if (fault === null) asked?.resolve(addresses);
    else asked?.reject(fromFault(fault));
  }

  stop(): void {
    this.stopping.abort(new DomainError('INTERRUPTED', 'The transfer was stopped.', { retryable: true }));
  }

  private ask(about: About): Promise<readonly string[]> {
    const question = this.asked++;
    return new Promise((resolve, reject) => {
      this.questions.set(question, { resolve, reject });
      this.answer({ kind: 'question', question, about });
    });
  }
}
