import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { DomainError } from '../../../domain/errors.js';
import { type Answer, type Envelope, type Order } from './messages.js';

/** One archive on one thread. */
export interface SealingStream {
  /** @param moved memory that is not seen here any more */
  send(order: Order, moved?: ArrayBuffer[]): void;
  /** It will not be heard any more. */
  end(): void;
}

export interface Listener {
  onAnswer(answer: Answer): void;
  /** The thread is gone, and with it all it was about. */
  onGone(error: DomainError): void;
}

/** More would only take turns. */
const MOST = 4;

/**
 * Threads on which RDBs are received, and blocks are walked, hashed, compressed and sealed, and opened again, so that the main one answers callers and renews leases meanwhile; and so that the
 * garbage of that work (megabytes outside of the heap) is not collected with the whole service's heap. They are started when
 * needed, and stay; they do not keep the process alive.
 */
export class SealingThreads {
  private readonly threads: Thread[] = [];
  private next = 0;

  private readonly most: number;
  private readonly workerData: unknown;

  /** @param entry the built `data-thread.js`, which is handed `workerData` */
  constructor(private readonly entry: URL, { most = Math.min(MOST, availableParallelism()), workerData = null }: { most?: number; workerData?: unknown } = {}) {
    this.most = most;
    this.workerData = workerData;
  }

  open(listener: Listener): SealingStream {
    const stream = this.next++;
    const thread = this.idlest();
    thread.listeners.set(stream, listener);
    return {
      send: (said, moved) => thread.worker.postMessage({ stream, said } satisfies Envelope<Order>, moved),
      end: () => void thread.listeners.delete(stream),
    };
  }

  async close(): Promise<void> {
    await Promise.all(this.threads.splice(0).map(({ worker }) => worker.terminate()));
  }

  private idlest(): Thread {
    const [idlest] = [...this.threads].sort((a, b) => a.listeners.size - b.listeners.size);
    return idlest !== undefined && (idlest.listeners.size === 0 || this.threads.length >= this.most) ? idlest : this.start();
  }

  private start(): Thread {
    // Nothing of the service's settings is any of its business.
    const worker = new Worker(this.entry, { env: {}, name: 'data', workerData: this.workerData });
    const thread: Thread = { worker, listeners: new Map() };
    let cause: unknown;
    worker.on('message', ({ stream, said }: Envelope<Answer>) => thread.listeners.get(stream)?.onAnswer(said));
    worker.on('error', (error) => {
      cause = error;
    });
    worker.on('exit', (code) => {
      const at = this.threads.indexOf(thread);
      if (at >= 0) this.threads.splice(at, 1);
      const gone = new DomainError('INTERNAL', `A data thread has ended (code ${String(code)}).`, { hint: 'Try again.', retryable: true, cause });
      for (const listener of [...thread.listeners.values()]) listener.onGone(gone);
    });
    worker.unref();
    this.threads.push(thread);
    return thread;
  }
}

interface Thread {
  worker: Worker;
  listeners: Map<number, Listener>;
}
