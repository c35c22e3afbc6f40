import { DomainError, type ErrorCode } from '../../../domain/errors.js';
import { type RdbSummary } from '../../rdb/summary.js';
import { type Endpoint, type Log } from '../../ports.js';
import { type ReceivedRdb, type ReceiveEvent, type ReceiveOptions } from '../../source/replication.js';
import { type OpeningPlan } from '../opening/opening.js';
import { type SealingPlan } from './sealing.js';

/** What `receiveRdb` is told, but for what it calls back. */
export type ReceivePlan = Omit<ReceiveOptions, 'onEvent' | 'beforeSync'>;

/** What a thread has to ask for in the middle of a transfer: where a host may be dialled, and whether the server may be asked to save. */
export type About = { kind: 'addresses'; host: string; port: number } | { kind: 'sync' };

export interface Reply {
  question: number;
  addresses: readonly string[];
  fault: Fault | null;
}

/** Between the threads, of one archive. What is said is an object within: copying its fields into a new one with the number, for each message, took longer than sending it. */
export interface Envelope<Said> {
  stream: number;
  said: Said;
}

/** To the thread. `frame` numbers the archive's frames: those made here, whose memory both sides see, from 0 on; stored blocks of what was received there, whose memory goes to and fro, from -1 down. */
export type Order =
  | { kind: 'open'; plan: SealingPlan }
  | { kind: 'frame'; frame: number; memory: SharedArrayBuffer }
  | { kind: 'look'; frame: number; filled: number }
  | { kind: 'push'; frame: number; filled: number; last: boolean }
  /** Counts in the digest of the object, and is written on the other side. */
  | { kind: 'pass'; bytes: Uint8Array }
  /** What comes from there is taken, and no frame is pushed before that has ended. */
  | { kind: 'receive'; endpoint: Endpoint; plan: ReceivePlan }
  | ({ kind: 'reply' } & Reply)
  /** Of a transfer; without effect when it has ended. */
  | { kind: 'stop' }
  /** A block of what was received there has been written, or has not and will not be: then its memory stays here, where a write that was given up may go on reading it. */
  | { kind: 'written'; frame: number; outcome: { memory: ArrayBuffer } | { fault: Fault } }
  /** What was received is all. Answered by `ended` when all of it has been written. */
  | { kind: 'end' }
  | { kind: 'summary' }
  | { kind: 'digests' }
  /** A stream that opens blocks instead: it is told nothing but `unseal` and `close`. */
  | { kind: 'read'; plan: OpeningPlan }
  /** The memory is a frame's that holds a stored block; it is to hold the plain one. */
  | { kind: 'unseal'; block: number; memory: SharedArrayBuffer; storedLength: number; plainLength: number; raw: boolean }
  /** Answered by `closed` when nothing of the stream is under way any more. */
  | { kind: 'close' };

/** How far a walk is. */
export interface Walked {
  bytes: bigint;
  keys: bigint;
}

/** From the thread; in the order of the orders, but for blocks that are opened. */
export type Answer =
  | { kind: 'walked'; walked: Walked }
  /** The frame holds a stored block, from its beginning. The memory is of one that is not known here. */
  | { kind: 'stored'; frame: number; memory: ArrayBuffer | null; bytes: number; storedLength: number; walked: Walked }
  | { kind: 'question'; question: number; about: About }
  | { kind: 'event'; event: ReceiveEvent }
  /** Bytes received by now. */
  | { kind: 'taken'; taken: bigint; walked: Walked }
  | { kind: 'logged'; level: keyof Log; message: string; fields: Record<string, unknown> }
  | { kind: 'received'; received: Omit<ReceivedRdb, 'closed'> }
  | { kind: 'notReceived'; fault: Fault }
  /** The connection of what was received is gone. */
  | { kind: 'disconnected' }
  | { kind: 'ended' }
  | { kind: 'summary'; summary: RdbSummary }
  | { kind: 'digests'; plainSha256: string; storedSha256: string | null }
  | { kind: 'opened'; block: number }
  | { kind: 'damaged'; block: number; what: string; cause: string | undefined }
  | { kind: 'fault'; fault: Fault }
  | { kind: 'closed' };

/** What is said of a transfer. */
export type OfTransfer = Extract<Answer, { kind: 'question' | 'event' | 'taken' | 'logged' | 'received' | 'notReceived' | 'disconnected' }>;

/** An error, so that it can be sent. */
export interface Fault {
  code: ErrorCode;
  message: string;
  hint: string | undefined;
  retryable: boolean;
  details: DomainError['details'];
  cause: string | undefined;
}

/** @param what failed, where it did for no reason that anybody foresaw */
export const toFault = (error: unknown, what = 'A block could not be sealed or opened.'): Fault =>
  error instanceof DomainError
    ? { code: error.code, message: error.message, hint: error.hint, retryable: error.retryable, details: error.details, cause: error.cause === undefined ? undefined : String(error.cause) }
    : { code: 'INTERNAL', message: what, hint: undefined, retryable: true, details: {}, cause: error instanceof Error ? (error.stack ?? error.message) : String(error) };

export const fromFault = ({ code, message, ...more }: Fault): DomainError => new DomainError(code, message, more);
