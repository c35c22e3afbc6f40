import { performance } from 'node:perf_hooks';
import { DomainError } from '../../domain/errors.js';

/** What a source may cost us. All times in milliseconds, all sizes in bytes. */
export interface SourceLimits {
  /** Connect, TLS, AUTH, PING and every REPLCONF together, until PSYNC is sent. Passed: CONNECT_FAILED. */
  handshakeMs: number;
  /** Between two bytes of any kind; keep-alive newlines count as bytes. Passed: TOO_SLOW. */
  idleMs: number;
  /** From PSYNC to the payload's first byte: the server's whole save, on disk-based sources. Passed: TOO_SLOW. */
  snapshotMs: number;
  /** The payload's rate over each `rateWindowMs`, measured only while we read at full speed. Below: TOO_SLOW. */
  minBytesPerSecond: number;
  rateWindowMs: number;
  /** The whole transfer. Passed: TOO_SLOW. */
  totalMs: number;
  /** The payload; a larger announced length is refused at once. Passed: LIMIT_EXCEEDED. */
  maxBytes: bigint;
}

/** A diskless source stalls for up to its repl-timeout (60 s) when another replica that takes the same save is slow. */
export const DEFAULT_SOURCE_LIMITS: SourceLimits = {
  handshakeMs: 10_000,
  idleMs: 90_000,
  snapshotMs: 60 * 60_000,
  minBytesPerSecond: 16 * 1024,
  rateWindowMs: 90_000,
  totalMs: 12 * 60 * 60_000,
  maxBytes: 1n << 40n,
};

/** Payload bytes over the limit, or an announcement of them. */
export const checkSize = (address: string, bytes: bigint, limits: SourceLimits): void => {
  if (bytes <= limits.maxBytes) return;
  throw new DomainError('LIMIT_EXCEEDED', `The RDB of ${address} has ${bytes} bytes or more; at most ${limits.maxBytes} are taken.`, {
    hint: 'Raise the limit for backup sizes if this server really holds that much.',
  });
};

/**
 * Watches a transfer by a monotonic clock and calls `expire` once when a limit is passed. `stop` ends the watch.
 * While `paused` (we ourselves do not read) neither idle time nor rate is held against the source.
 */
export class TransferWatch {
  private readonly startedAt = performance.now();
  private lastByteAt = this.startedAt;
  private payloadSince: number | undefined;
  private windowAt = this.startedAt;
  private windowBytes = 0;
  private windowSpoilt = false;
  private readonly timer: NodeJS.Timeout;

  constructor(
    private readonly address: string,
    private readonly limits: SourceLimits,
    private readonly paused: () => boolean,
    private readonly expire: (error: DomainError) => void,
  ) {
    const tick = Math.min(1_000, Math.max(5, Math.min(limits.idleMs, limits.snapshotMs, limits.rateWindowMs, limits.totalMs) / 8));
    this.timer = setInterval(() => this.check(performance.now()), tick);
  }

  /** Bytes of any kind arrived. */
  received(): void {
    this.lastByteAt = performance.now();
  }

  /** Payload bytes arrived. */
  receivedPayload(bytes: number): void {
    if (this.payloadSince === undefined) {
      this.payloadSince = performance.now();
      this.windowAt = this.payloadSince;
    }
    this.windowBytes += bytes;
  }

  stop(): void {
    clearInterval(this.timer);
  }

  private check(now: number): void {
    const error = this.judge(now);
    if (!error) return;
    this.stop();
    this.expire(error);
  }

  private judge(now: number): DomainError | undefined {
    const { limits } = this;
    if (this.paused()) {
      this.lastByteAt = now;
      this.windowSpoilt = true;
    }
    if (now - this.startedAt > limits.totalMs) return this.tooSlow(`needed longer than ${limits.totalMs} ms in all`);
    if (now - this.lastByteAt > limits.idleMs) return this.tooSlow(`sent nothing for ${limits.idleMs} ms`);
    if (this.payloadSince === undefined) {
      return now - this.startedAt > limits.snapshotMs ? this.tooSlow(`did not begin to send its RDB within ${limits.snapshotMs} ms`) : undefined;
    }
    if (now - this.windowAt < limits.rateWindowMs) return undefined;
    const rate = (this.windowBytes * 1_000) / (now - this.windowAt);
    const slow = !this.windowSpoilt && rate < limits.minBytesPerSecond;
    this.windowAt = now;
    this.windowBytes = 0;
    this.windowSpoilt = false;
    return slow ? this.tooSlow(`sent ${Math.round(rate)} bytes a second over ${limits.rateWindowMs} ms; at least ${limits.minBytesPerSecond} are expected`) : undefined;
  }

  private tooSlow(what: string): DomainError {
    return new DomainError('TOO_SLOW', `${this.address} ${what}.`, {
      hint: 'Check the load of the server and of the network, or use a replica as the source.',
      retryable: true,
    });
  }
}
