import { DomainError, type ErrorCode } from '../../../domain/errors.js';
import { type RdbSummary } from '../../rdb/summary.js';
import { type OpeningPlan } from '../opening/opening.js';
import { type SealingPlan } from './sealing.js';

/** To the thread. `stream` is one archive; `frame` numbers its frames, whose memory both sides see. */
export type Order = { stream: number } & (
  | { kind: 'open'; plan: SealingPlan }
  | { kind: 'frame'; frame: number; memory: SharedArrayBuffer }
  | { kind: 'look'; frame: number; filled: number }
  | { kind: 'push'; frame: number; filled: number; last: boolean }
  /** Counts in the digest of the object, and is written on the other side. */
  | { kind: 'pass'; bytes: Uint8Array }
  | { kind: 'summary' }
  | { kind: 'digests' }
  /** A stream that opens blocks instead: it is told nothing but `unseal` and `close`. */
  | { kind: 'read'; plan: OpeningPlan }
  /** The memory is a frame's that holds a stored block; it is to hold the plain one. */
  | { kind: 'unseal'; block: number; memory: SharedArrayBuffer; storedLength: number; plainLength: number; raw: boolean }
  /** Answered by `closed` when nothing of the stream is under way any more. */
  | { kind: 'close' }
);

/** How far a walk is. */
export interface Walked {
  bytes: bigint;
  keys: bigint;
}

/** From the thread; in the order of the orders, but for blocks that are opened. */
export type Answer = { stream: number } & (
  | { kind: 'walked'; walked: Walked }
  /** The frame holds a stored block, from its beginning. */
  | { kind: 'stored'; frame: number; bytes: number; storedLength: number; walked: Walked }
  | { kind: 'summary'; summary: RdbSummary }
  | { kind: 'digests'; plainSha256: string; storedSha256: string }
  | { kind: 'opened'; block: number }
  | { kind: 'damaged'; block: number; what: string; cause: string | undefined }
  | { kind: 'fault'; fault: Fault }
  | { kind: 'closed' }
);

/** An error, so that it can be sent. */
export interface Fault {
  code: ErrorCode;
  message: string;
  hint: string | undefined;
  retryable: boolean;
  details: DomainError['details'];
  cause: string | undefined;
}

export const toFault = (error: unknown): Fault =>
  error instanceof DomainError
    ? { code: error.code, message: error.message, hint: error.hint, retryable: error.retryable, details: error.details, cause: error.cause === undefined ? undefined : String(error.cause) }
    : { code: 'INTERNAL', message: 'A block could not be sealed or opened.', hint: undefined, retryable: true, details: {}, cause: error instanceof Error ? (error.stack ?? error.message) : String(error) };

export const fromFault = ({ code, message, ...more }: Fault): DomainError => new DomainError(code, message, more);
