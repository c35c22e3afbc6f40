import { DomainError } from '../domain/errors.js';
import { type Log } from '../engine/ports.js';
import { type Database, type DueNotice, type Webhook } from '../services/ports.js';

export interface OutboxTimes {
  /** How often each node looks for notices that are due. */
  everyMs: number;
  /** Longer than an attempt can take: a node that dies keeps its notices for so long. */
  leaseMs: number;
  /** The wait after the first attempt that failed; it doubles from there. */
  firstWaitMs: number;
  /** Longest wait between two attempts. */
  maxWaitMs: number;
  /** Attempts in all; then the notice is given up. */
  attempts: number;
}

/** 10 s, 20 s, 40 s … an hour: 33 attempts take a day. */
export const OUTBOX_TIMES: OutboxTimes = { everyMs: 1_000, leaseMs: 60_000, firstWaitMs: 10_000, maxWaitMs: 3_600_000, attempts: 33 };

/** Sent at the same time by one node; a receiver that hangs holds up no more than these. */
const BATCH = 8;

/** The wait after an attempt that failed, with a tenth by chance, so that what failed together does not come back together. @param attempt from 1 */
export const waitAfter = (attempt: number, { firstWaitMs, maxWaitMs }: Pick<OutboxTimes, 'firstWaitMs' | 'maxWaitMs'>, chance: number = Math.random()): number =>
  Math.round(Math.min(maxWaitMs, firstWaitMs * 2 ** (attempt - 1)) * (1 - chance / 10));

export interface OutboxDeps {
  db: Pick<Database, 'read'>;
  webhook: Webhook;
  log: Log;
  times?: OutboxTimes | undefined;
}

export interface Outbox {
  start(): void;
  /** Breaks off what is under way, which is then due again at once, for whatever node. */
  stop(): Promise<void>;
}

const STOPPED = new DomainError('INTERRUPTED', 'The service is being stopped.', { retryable: true });

/**
 * Delivers notices at least once: a node that dies after the receiver's answer and before it could write that down has it sent again, under the
 * same id. On any number of nodes at once.
 */
export const createOutbox = ({ db, webhook, log, times = OUTBOX_TIMES }: OutboxDeps): Outbox => {
  const stopping = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<void> | undefined;
  let inTrouble = false;

  const failed = async (notice: DueNotice, error: unknown): Promise<void> => {
    const { id, kind, attempt } = notice;
    const fields = { noticeId: id, kind, attempt, host: webhook.host, error: String(error), ...(error instanceof DomainError && error.hint !== undefined ? { hint: error.hint } : {}) };
    if (stopping.signal.aborted) {
      await db.read.notices.settle(notice, { state: 'PENDING', waitMs: 0 });
    } else if (attempt >= times.attempts) {
      if (await db.read.notices.settle(notice, { state: 'GIVEN_UP' })) log.error('A notice could not be delivered to the webhook and is given up.', fields);
    } else {
      const waitMs = waitAfter(attempt, times);
      const ours = await db.read.notices.settle(notice, { state: 'PENDING', waitMs });
      // A receiver that is away for hours is told of once for each notice, not with each attempt.
      if (ours) log[attempt === 1 ? 'warn' : 'debug']('A notice could not be delivered to the webhook; it is sent again.', { ...fields, waitMs });
    }
  };

  const deliver = async (notice: DueNotice): Promise<void> => {
    try {
      await webhook.send(notice, stopping.signal);
    } catch (error) {
      await failed(notice, error);
      return;
    }
    await db.read.notices.settle(notice, { state: 'DELIVERED' });
    log.debug('A notice was delivered.', { noticeId: notice.id, kind: notice.kind, attempt: notice.attempt });
  };

  /** @returns whether there may be more */
  const pass = async (): Promise<boolean> => {
    const due = await db.read.notices.claim(BATCH, times.leaseMs);
    const settled = await Promise.allSettled(due.map(deliver));
    const fault = settled.find((one) => one.status === 'rejected');
    if (fault) throw fault.reason;
    return due.length === BATCH;
  };

  const run = async (): Promise<void> => {
    try {
      while (!stopping.signal.aborted && (await pass()));
      inTrouble = false;
    } catch (error) {
      log[inTrouble ? 'debug' : 'warn']('The outbox of notices cannot be read or written; what is in it is sent later.', { error: String(error) });
      inTrouble = true;
    }
  };

  const plan = (): void => {
    if (stopping.signal.aborted) return;
    timer = setTimeout(() => {
      running = run().finally(plan);
    }, times.everyMs);
  };

  return {
    start() {
      running = run().finally(plan);
    },
    async stop() {
      stopping.abort(STOPPED);
      clearTimeout(timer);
      await running;
      webhook.close();
    },
  };
};
