import { randomBytes } from 'node:crypto';
import { type IncomingMessage, type Server, STATUS_CODES } from 'node:http';
import { type Duplex } from 'node:stream';
import { handleProtocols } from 'graphql-ws';
import { type WebSocket, WebSocketServer } from 'ws';
import { type Guard } from '../graphql/guard.js';
import { type Live } from '../graphql/live.js';
import { type EdgeLog } from '../graphql/mask.js';
import { Conversation, type ConversationDeps, RESTARTING } from './conversation.js';
import { originAllowed } from './origin.js';
import { type Places } from './places.js';
import { type WatchAccess } from './ports.js';

export interface SocketSettings {
  /** How long a client may take for its `connection_init`. Default 3,000 ms. */
  initTimeoutMs?: number | undefined;
  /** Between pings; a client that has not answered one by the next is cut. Default 12,000 ms. */
  pingMs?: number | undefined;
  /** Largest frame in bytes. Default 64 KiB. */
  maxFrameBytes?: number | undefined;
  /** Subscriptions at once on one socket; one that was refused as often is closed. Default 64. */
  maxOperations?: number | undefined;
  /** What one socket may leave untaken before it is waited for, in bytes. Default 64 KiB. */
  maxBufferedBytes?: number | undefined;
}

export interface SocketDeps extends SocketSettings {
  guard: Guard;
  live: Live;
  log: EdgeLog;
  watchAccess: WatchAccess;
  places: Places;
  path: string;
  /** Origins besides our own host that browsers may connect from, such as `https://dash.example.com`. */
  allowedOrigins: readonly string[];
}

const refuseUpgrade = (socket: Duplex, status: number): void => {
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
};

/** Cuts a client that has not answered a ping by the next: it is gone, or it has stopped reading. What it has to answer it can only have read. */
const keepAsking = (socket: WebSocket, everyMs: number): void => {
  let alive = true;
  let asked: Buffer | undefined;
  const timer = setInterval(() => {
    if (!alive) {
      // An answer may lie there that this process, having stood still, has not read yet.
      setImmediate(() => { if (!alive) socket.terminate(); });
      return;
    }
    alive = false;
    asked = randomBytes(8);
    socket.ping(asked);
  }, everyMs);
  socket.on('pong', (answer: Buffer) => {
    if (asked?.equals(answer)) alive = true;
  });
  socket.once('close', () => clearInterval(timer));
};

/**
 * graphql-transport-ws on the HTTP server's upgrades. Carries subscriptions only; every operation passes the guard that HTTP passes, with its key
 * checked anew, as it is for every event. `stop` closes all sockets with 1012, so that clients come back by themselves.
 */
export const makeSockets = (deps: SocketDeps): { attach(server: Server): void; count(): number; stop(graceMs: number): Promise<void> } => {
  const { places, pingMs = 12_000, guard, live, log, watchAccess } = deps;
  const conversation: ConversationDeps = {
    guard, live, log, watchAccess, places, initTimeoutMs: deps.initTimeoutMs ?? 3_000, maxOperations: deps.maxOperations ?? 64, maxBufferedBytes: deps.maxBufferedBytes ?? 64 * 1024,
  };
  const wss = new WebSocketServer({ noServer: true, maxPayload: deps.maxFrameBytes ?? 64 * 1024, perMessageDeflate: false, handleProtocols });
  let stopping = false;

  const onUpgrade = (req: IncomingMessage, socket: Duplex, head: Buffer): void => {
    socket.on('error', () => socket.destroy());
    const path = (req.url ?? '').split('?')[0];
    if (stopping) return refuseUpgrade(socket, 503);
    if (path !== deps.path) return refuseUpgrade(socket, 404);
    if (!originAllowed(req.headers, deps.allowedOrigins)) return refuseUpgrade(socket, 403);
    const leave = places.enter();
    if (!leave) return refuseUpgrade(socket, 503);
    socket.once('close', leave);
    wss.handleUpgrade(req, socket, head, (opened, { socket: { remoteAddress } }) => {
      keepAsking(opened, pingMs);
      void new Conversation(opened, remoteAddress, conversation);
    });
  };

  return {
    attach: (server) => void server.on('upgrade', onUpgrade),
    count: () => wss.clients.size,
    async stop(graceMs) {
      stopping = true;
      const gone = [...wss.clients].map((socket) => new Promise<void>((resolve) => {
        socket.once('close', () => resolve());
        socket.close(RESTARTING, 'Service restart');
      }));
      const timer = setTimeout(() => {
        for (const socket of wss.clients) socket.terminate();
      }, graceMs);
      await Promise.all(gone);
      clearTimeout(timer);
      wss.close();
    },
  };
};
