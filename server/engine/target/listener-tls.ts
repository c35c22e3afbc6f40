import { type Socket } from 'node:net';
import { createServer, type TLSSocket } from 'node:tls';
import { type ListenerTls } from '../ports.js';
import { type Refusable, type RefusalReason } from './handshake.js';

/** Speaks TLS on connections that somebody else has accepted. */
export interface TlsDoor {
  /** Exactly one of the outcomes follows, `refused` after `ms` at the latest; then the connection is closed. */
  open(raw: Socket, ms: number, outcome: { opened(socket: TLSSocket): void; refused(reason: RefusalReason): void }): Refusable;
}

/** Both ends of a connection name it, also the one of them that is wrapped in TLS. */
const nameOf = ({ remoteAddress, remotePort }: Socket): string => `${remoteAddress ?? ''} ${String(remotePort)}`;

/**
 * Redis and Valkey present their own certificate when they dial a master that asks for one, and check the master's against their
 * `tls-ca-cert-file`, whatever name it is made out to (read: `src/tls.c`).
 */
export const createTlsDoor = ({ cert, key, ca }: ListenerTls): TlsDoor => {
  const waiting = new Map<string, (socket: TLSSocket) => void>();
  const server = createServer({ cert, key, minVersion: 'TLSv1.2', ...(ca === undefined ? {} : { ca, requestCert: true, rejectUnauthorized: true }) });
  server.on('tlsClientError', (_error, socket) => socket.destroy());
  server.on('secureConnection', (socket) => {
    socket.on('error', () => undefined);
    const opened = waiting.get(nameOf(socket));
    if (opened) opened(socket);
    else socket.destroy();
  });
  return {
    open(raw, ms, outcome) {
      const name = nameOf(raw);
      const end = (): boolean => {
        clearTimeout(timer);
        raw.off('close', onClose);
        return waiting.delete(name);
      };
      const cut = (reason: RefusalReason): void => {
        if (!end()) return;
        raw.destroy();
        outcome.refused(reason);
      };
      const onClose = (): void => cut('TLS_FAILED');
      const timer = setTimeout(() => cut('TOO_SLOW'), ms);
      waiting.set(name, (socket) => {
        if (end()) outcome.opened(socket);
      });
      raw.once('close', onClose);
      server.emit('connection', raw);
      return { cut };
    },
  };
};
