import { createServer, type Server, type Socket } from 'node:net';
import { DomainError } from '../../domain/errors.js';
import { addressOf } from '../../domain/address.js';
import { type ListenerTls } from '../ports.js';
import { PeerHandshake, type LinkProof, type Refusable, type RefusalReason } from './handshake.js';
import { createTlsDoor, type TlsDoor } from './listener-tls.js';
import { peerCheck, plainAddress } from './peers.js';
import { within } from './waiting.js';

export interface ListenerOptions {
  /** Numeric local address to bind: that of the control connection to the target, where nothing else is configured. */
  host: string;
  /** What the target is told to dial; default `host`. */
  advertisedHost?: string | undefined;
  /** Ports to choose from, inclusive; default: any free one. */
  ports?: { from: number; to: number } | undefined;
  /** Numeric addresses that may connect. Whoever else does is cut without a word. */
  peers: readonly string[];
  /** Ranges of further ones, such as `10.0.0.0/8`. */
  peerRanges?: readonly string[] | undefined;
  /** Set for targets that replicate over TLS: then nothing else is spoken. */
  tls?: ListenerTls | undefined;
  /** Time from a connection to its `PSYNC`, in milliseconds; over TLS, the TLS handshake has as much for itself. */
  handshakeMs: number;
  /** Told of the port once it is listened on; the answer is called once it is not any more. */
  holdPort?: ((port: number) => () => void) | undefined;
  /** Told of everything that was turned away. */
  onRefused?: ((reason: RefusalReason, address: string) => void) | undefined;
}

/** The one replica that has proven itself. Its socket is paused and has no listeners but ours for errors. */
export interface ProvenPeer {
  socket: Socket;
}

/**
 * A listener for one restore. Until `expect` is called it turns everybody away; then the first peer with the proof gets the link
 * and everybody else is turned away again. It keeps its port until `close`, also when its work is done: a target still following
 * `host:port` would otherwise load whatever somebody else offered there.
 */
export interface RestoreListener {
  /** What to put into `REPLICAOF`. */
  readonly host: string;
  readonly port: number;
  readonly refused: number;
  /**
   * Waits for the peer with the proof. May be called once. Fails with TARGET_UNREACHABLE_BACK when nobody came within `ms`, with
   * PROTOCOL_ERROR when those who came had a wrong proof, or with the signal's reason.
   */
  expect(proof: LinkProof, options: { ms: number; signal: AbortSignal }): Promise<ProvenPeer>;
  /** Cuts every connection, the link too, and gives the port back. */
  close(): Promise<void>;
}

/** Unproven connections held at once; one more pushes the oldest out, so that idle strangers cannot keep the target away. */
const MAX_UNPROVEN = 16;
const MAX_WRONG_PROOFS = 64;
/** Large enough that one block of the archive fits, so that sending needs one wait per block at most. */
const BUFFER_BYTES = 1024 * 1024;

/** What a connection goes through: TLS first, where that is spoken. Exactly one of the outcomes follows. */
const receive = (
  raw: Socket, { door, proof, ms }: { door: TlsDoor | undefined; proof: LinkProof; ms: number },
  outcome: { proven(socket: Socket): void; refused(reason: RefusalReason): void },
): Refusable => {
  const hear = (socket: Socket): Refusable => new PeerHandshake(socket, proof, ms, { proven: () => outcome.proven(socket), refused: (reason) => outcome.refused(reason) });
  if (!door) return hear(raw);
  let step = door.open(raw, ms, {
    opened: (secure) => { step = hear(secure); },
    refused: (reason) => outcome.refused(reason),
  });
  return { cut: (reason) => step.cut(reason) };
};

const listenOn = (server: Server, host: string, port: number): Promise<void> =>
  new Promise((done, fail) => {
    server.once('error', fail);
    server.listen({ host, port, exclusive: true }, () => {
      server.off('error', fail);
      done();
    });
  });

const bind = async (server: Server, { host, ports }: ListenerOptions): Promise<void> => {
  const cannot = (cause: unknown): DomainError =>
    new DomainError('TARGET_UNREACHABLE_BACK', `No restore listener could be opened on ${host}${ports ? `, ports ${ports.from} to ${ports.to}` : ''}.`, {
      hint: 'Check that the address belongs to this machine and that the configured ports are free.',
      cause,
    });
  if (!ports) return listenOn(server, host, 0).catch((error: unknown) => { throw cannot(error); });
  let failure: unknown;
  for (let port = ports.from; port <= ports.to; port += 1) {
    try {
      return await listenOn(server, host, port);
    } catch (error) {
      failure = error;
    }
  }
  throw cannot(failure);
};

/** Opens the listener. Fails with TARGET_UNREACHABLE_BACK when the address or every port is taken. The caller closes it. */
export const openRestoreListener = async (options: ListenerOptions): Promise<RestoreListener> => {
  const mayConnect = peerCheck(options.peers, options.peerRanges);
  const door = options.tls && createTlsDoor(options.tls);
  const unproven = new Set<Refusable>();
  let refused = 0;
  let wrongProofs = 0;
  let failedTls = 0;
  let expected = false;
  let link: Socket | undefined;
  let waiting: { proof: LinkProof; done: (peer: ProvenPeer) => void; fail: (error: DomainError) => void } | undefined;

  const where = (): string => addressOf({ host: options.advertisedHost ?? options.host, port: portOf(server) });
  const wrongProof = (): DomainError =>
    new DomainError('PROTOCOL_ERROR', `${wrongProofs} connections to the restore listener ${where()} had a wrong proof; none of them got any data.`, {
      hint: 'The target\'s replication id has changed since it was read, or something else on its machine connects here. Make a new plan and try again.',
      retryable: true,
    });
  const nobodyCame = (ms: number): DomainError =>
    new DomainError('TARGET_UNREACHABLE_BACK', `The target did not connect to the restore listener ${where()} within ${ms} ms${refused > 0 ? ` (${refused} other connections were refused)` : ''}.`, {
      hint: failedTls > 0
        ? 'Somebody came, but the TLS handshake failed: the target must accept the certificate in REPLICATION_TLS_CERT (its tls-ca-cert-file), and its own one must be signed by REPLICATION_TLS_CA and made for clients too.'
        : 'The target must be able to dial this service: check firewalls and address translation between them, and the advertised host.',
      retryable: true,
    });

  const refuse = (reason: RefusalReason, address: string): void => {
    refused += 1;
    options.onRefused?.(reason, address);
    if (reason === 'TLS_FAILED') failedTls += 1;
    if (reason !== 'WRONG_PROOF') return;
    wrongProofs += 1;
    if (wrongProofs < MAX_WRONG_PROOFS) return;
    waiting?.fail(wrongProof());
    waiting = undefined;
  };

  const server = createServer({ highWaterMark: BUFFER_BYTES, noDelay: true }, (socket) => {
    socket.on('error', () => undefined);
    const address = plainAddress(socket.remoteAddress ?? '');
    const reason: RefusalReason | undefined = !mayConnect(address) ? 'STRANGER' : waiting === undefined ? 'NOT_EXPECTED' : undefined;
    if (reason !== undefined || waiting === undefined) {
      socket.destroy();
      refuse(reason ?? 'NOT_EXPECTED', address);
      return;
    }
    const [oldest] = unproven;
    if (unproven.size >= MAX_UNPROVEN && oldest) oldest.cut('TOO_MANY');
    const newcomer = receive(socket, { door, proof: waiting.proof, ms: options.handshakeMs }, {
      refused: (why) => {
        unproven.delete(newcomer);
        refuse(why, address);
      },
      proven: (proven) => {
        unproven.delete(newcomer);
        const winner = waiting;
        waiting = undefined;
        if (!winner) {
          proven.destroy();
          return refuse('NOT_EXPECTED', address);
        }
        link = proven;
        for (const other of [...unproven]) other.cut('NOT_EXPECTED');
        winner.done({ socket: proven });
      },
    });
    unproven.add(newcomer);
  });
  await bind(server, options);
  const release = options.holdPort?.(portOf(server));
  // An error of the listening socket itself (out of file handles) loses that connection only; the deadline of `expect` ends the wait.
  server.on('error', () => undefined);

  return {
    host: options.advertisedHost ?? options.host,
    port: portOf(server),
    get refused() {
      return refused;
    },
    expect: async (proof, { ms, signal }) => {
      if (expected) throw new DomainError('INTERNAL', 'A restore listener expects one peer, once.');
      expected = true;
      const arrival = new Promise<ProvenPeer>((done, fail) => {
        waiting = { proof, done, fail };
      });
      try {
        return await within(arrival, { ms, signal, late: () => (wrongProofs > 0 ? wrongProof() : nobodyCame(ms)) });
      } finally {
        waiting = undefined;
        for (const other of [...unproven]) other.cut('NOT_EXPECTED');
      }
    },
    close: () => {
      waiting?.fail(new DomainError('INTERRUPTED', 'The restore listener was closed before the target had come.'));
      waiting = undefined;
      for (const other of [...unproven]) other.cut('NOT_EXPECTED');
      link?.destroy();
      return new Promise((done) => {
        server.close(() => {
          release?.();
          done();
        });
      });
    },
  };
};

const portOf = (server: Server): number => {
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
};
