import { type Notice, type NoticeKind } from '../../domain/notice.js';

/** The outbox: what the operator's webhook is told. */
export interface NoticeRepository {
  /** To be called in the transaction of the change it tells of. Waits for no lock. Without a webhook it does nothing. */
  append(notice: Notice): Promise<void>;
  /**
   * Takes notices that are due, the longest due first, each for one caller alone until `leaseMs` are over; then it is due again. Waits for
   * nobody: what another node is taking at this moment is left to it.
   */
  claim(limit: number, leaseMs: number): Promise<DueNotice[]>;
  /** What becomes of a notice after an attempt. false: another attempt has been made since, and nothing was changed. */
  settle(notice: Pick<DueNotice, 'id' | 'attempt'>, outcome: NoticeOutcome): Promise<boolean>;
  /** Notices that are to be delivered, now or later. */
  countPending(): Promise<number>;
  /** Removes at most so many that are older than 30 days, delivered or not. */
  forgetOld(limit: number): Promise<void>;
}

export interface DueNotice {
  id: string;
  kind: NoticeKind;
  /** As it is signed and sent. */
  body: string;
  /** 1 for the first. */
  attempt: number;
}

/** `PENDING`: due again after `waitMs`. */
export type NoticeOutcome = { state: 'DELIVERED' | 'GIVEN_UP' } | { state: 'PENDING'; waitMs: number };

/** The operator's receiver. */
export interface Webhook {
  /** Where it is, without anything that may be a secret. */
  readonly host: string;
  /** Resolves when the receiver has taken the notice, and otherwise rejects with a DomainError, within the time that is allowed or when `signal` fires. */
  send(notice: DueNotice, signal: AbortSignal): Promise<void>;
  close(): void;
}
