import { type Socket } from 'node:net';
import { DomainError } from '../../domain/errors.js';
import { RequestParser, type Request } from './request-parser.js';
import { sameSecret } from './undo-record.js';

/**
 * How the target shows that it is the target: by the `master_replid` it had just before (from Redis 4.0), or by the password that
 * only its `masterauth` holds (before 4.0, where `PSYNC` carries nothing).
 */
export type LinkProof = { kind: 'REPLICATION_ID'; replid: string } | { kind: 'PASSWORD'; password: string };

export type RefusalReason =
  /** From an address that is not the target's. */
  | 'STRANGER'
  /** Before the restore waits for the target, after it has come, or after the end. */
  | 'NOT_EXPECTED'
  | 'WRONG_PROOF'
  /** Another command than a replica sends, or bytes that are none. */
  | 'NO_REPLICA'
  /** It speaks no TLS where that is spoken, has no certificate of the right authority, or does not accept ours. */
  | 'TLS_FAILED'
  | 'TOO_SLOW'
  /** It left before its PSYNC. */
  | 'GONE'
  | 'TOO_MANY';

/** A connection that has proven nothing yet. */
export interface Refusable {
  /** Turns the peer away, unless it is past this step already. */
  cut(reason: RefusalReason): void;
}

interface Outcome {
  proven(): void;
  refused(reason: RefusalReason): void;
}

/** One connection up to its `PSYNC`. Nothing but `+PONG` and `+OK` is ever said to it. */
export class PeerHandshake implements Refusable {
  private readonly parser = new RequestParser();
  private readonly timer: NodeJS.Timeout;
  private password: string | undefined;
  private ended = false;

  constructor(private readonly socket: Socket, private readonly proof: LinkProof, ms: number, private readonly outcome: Outcome) {
    this.timer = setTimeout(() => this.cut('TOO_SLOW'), ms);
    socket.on('data', this.onData);
    socket.once('close', this.onClose);
  }

  cut(reason: RefusalReason): void {
    if (!this.end()) return;
    this.socket.destroy();
    this.outcome.refused(reason);
  }

  private end(): boolean {
    if (this.ended) return false;
    this.ended = true;
    clearTimeout(this.timer);
    this.socket.off('data', this.onData);
    this.socket.off('close', this.onClose);
    // Told once and forgotten; a string cannot be wiped, but nothing holds it any longer.
    this.password = undefined;
    return true;
  }

  private readonly onClose = (): void => this.cut('GONE');

  private readonly onData = (chunk: Buffer): void => {
    let requests: Request[];
    try {
      requests = this.parser.push(chunk);
    } catch (error) {
      if (!(error instanceof DomainError)) throw error;
      return this.cut('NO_REPLICA');
    }
    for (const request of requests) {
      if (this.ended) return;
      this.answer(request);
    }
  };

  private answer(request: Request): void {
    const [name = Buffer.alloc(0), ...args] = request;
    switch (name.toString('latin1').toUpperCase()) {
      case 'PING':
        this.socket.write('+PONG\r\n');
        return;
      case 'REPLCONF':
        this.socket.write('+OK\r\n');
        return;
      case 'AUTH':
        if (this.proof.kind === 'PASSWORD') this.password = args.at(-1)?.toString('utf8');
        this.socket.write('+OK\r\n');
        return;
      case 'PSYNC':
        if (!this.proves(args)) return this.cut('WRONG_PROOF');
        this.socket.pause();
        if (this.end()) this.outcome.proven();
        return;
      default:
        return this.cut('NO_REPLICA');
    }
  }

  private proves(args: readonly Buffer[]): boolean {
    if (args.length !== 2) return false;
    if (this.proof.kind === 'REPLICATION_ID') return sameSecret(args[0]?.toString('latin1') ?? '', this.proof.replid);
    return this.password !== undefined && sameSecret(this.password, this.proof.password);
  }
}
