import { randomUUID } from 'node:crypto';
import { type IncomingMessage, type Server, STATUS_CODES } from 'node:http';
import { type Duplex } from 'node:stream';
import { getOperationAST, GraphQLError, type GraphQLFormattedError, type GraphQLSchema, OperationTypeNode } from 'graphql';
import { handleProtocols, makeServer, type SubscribePayload } from 'graphql-ws';
import { type WebSocket, WebSocketServer } from 'ws';
import { DomainError } from '../domain/errors.js';
import { makeContext } from '../graphql/context.js';
import { type Guard } from '../graphql/guard.js';
import { type EdgeLog, logFaults } from '../graphql/mask.js';
import { type Services } from '../services/api.js';
import { type WatchAccess } from './ports.js';

export interface SocketDeps {
  schema: GraphQLSchema;
  guard: Guard;
  services: Services;
  log: EdgeLog;
  watchAccess: WatchAccess;
  path: string;
  /** Origins besides our own host that browsers may connect from, such as `https://dash.example.com`. */
  allowedOrigins: readonly string[];
  /** How long a client may take for its `connection_init`. Default 3,000 ms. */
  initTimeoutMs?: number | undefined;
  /** Between pings; a client that has not answered one by the next is cut. Default 12,000 ms. */
  pingMs?: number | undefined;
  /** Largest frame in bytes. Default 64 KiB. */
  maxFrameBytes?: number | undefined;
  /** Subscriptions at once on one socket; one that was refused as often is closed. Default 64. */
  maxOperations?: number | undefined;
  /** Sockets at once, of all keys. Default 2,000. */
  maxSockets?: number | undefined;
  /** Sockets at once of one key. Default 100. */
  maxSocketsOfKey?: number | undefined;
}

/** Close codes after which a client may come again. graphql-ws clients give up for good at 4401, 4500 and 1011, so these are never sent. */
const FORBIDDEN = 4403;
const RESTARTING = 1012;
const TRY_LATER = 1013;
const RETRIABLE: Readonly<Record<number, number>> = { 4401: FORBIDDEN, 4500: TRY_LATER, 1011: TRY_LATER };

interface Extra {
  socketId: string;
  /** The address it came from. */
  from: string | undefined;
  /** Of the caller who opened the socket, from its acknowledgement on. */
  access?: ReturnType<WatchAccess>;
  /** Whose it is, once it has said so and been let in. */
  keyId?: string;
  gone?: true;
  /** Subscriptions that there was no room for. */
  refused: number;
  close(code: number, reason: string): void;
}

/** Not 4401: the client may come again, with a new credential or with what its old one still grants. */
const shutOut = ({ close }: Extra): void => close(FORBIDDEN, 'The credential has expired, was revoked or grants something else now');

type Params = { authorization?: unknown; Authorization?: unknown };

const credentialOf = (params: Params | undefined): string | undefined => {
  const value = params?.authorization ?? params?.Authorization;
  return typeof value === 'string' ? value : undefined;
};

/** Browsers always send Origin, other clients may leave it out: a page of a foreign site must not use a socket in its visitor's name. */
const originAllowed = (req: IncomingMessage, allowed: readonly string[]): boolean => {
  const { origin, host } = req.headers;
  if (origin === undefined || allowed.includes(origin)) return true;
  return URL.canParse(origin) && new URL(origin).host === host;
};

const refuseUpgrade = (socket: Duplex, status: number): void => {
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
};

/**
 * graphql-ws on the HTTP server's upgrades. Carries subscriptions only; every operation passes the guard that HTTP passes, with its key
 * checked anew, as it is for every event. `stop` closes all sockets with 1012, so that clients come back by themselves.
 */
export const makeSockets = (deps: SocketDeps): { attach(server: Server): void; count(): number; stop(graceMs: number): Promise<void> } => {
  const { schema, guard, services, log, watchAccess, maxOperations = 64, maxSockets = 2_000, maxSocketsOfKey = 100, pingMs = 12_000 } = deps;
  const wss = new WebSocketServer({ noServer: true, maxPayload: deps.maxFrameBytes ?? 64 * 1024, perMessageDeflate: false, handleProtocols });
  let stopping = false;
  const socketsOf = new Map<string, number>();

  const masked = (errors: readonly GraphQLError[], requestId: string): readonly GraphQLFormattedError[] => {
    logFaults(log, errors, requestId, { transport: 'websocket' });
    return errors.map((error) => guard.mask(error, requestId));
  };

  const asGraphQLError = (error: unknown): GraphQLError => new GraphQLError('', { originalError: error instanceof Error ? error : new Error(String(error)) });

  const graphql = makeServer<Record<string, unknown>, Extra>({
    connectionInitWaitTimeout: deps.initTimeoutMs ?? 3_000,

    onConnect: async ({ connectionParams, extra }) => {
      try {
        const caller = await guard.authenticate(credentialOf(connectionParams), extra.from);
        // A client may have left meanwhile: then nobody would end it.
        if (extra.gone) return true;
        const others = socketsOf.get(caller.keyId) ?? 0;
        if (others >= maxSocketsOfKey) {
          extra.close(TRY_LATER, 'Too many sockets of this key');
          return true;
        }
        extra.keyId = caller.keyId;
        socketsOf.set(caller.keyId, others + 1);
        extra.access = watchAccess(caller, () => shutOut(extra));
        return true;
      } catch (error) {
        if (error instanceof DomainError && error.code === 'UNAUTHENTICATED') return false;
        throw error;
      }
    },

    onSubscribe: async (ctx, _id, payload: SubscribePayload) => {
      const requestId = randomUUID();
      try {
        if (Object.keys(ctx.subscriptions).length > maxOperations) {
          ctx.extra.refused += 1;
          if (ctx.extra.refused > maxOperations) ctx.extra.close(TRY_LATER, 'Too many subscriptions');
          throw new DomainError('LIMIT_EXCEEDED', `A socket carries at most ${maxOperations} subscriptions at once.`);
        }
        const caller = await guard.authenticate(credentialOf(ctx.connectionParams), ctx.extra.from);
        const parsed = guard.parse(payload.query);
        if ('errors' in parsed) return parsed.errors;
        const operation = getOperationAST(parsed.document, payload.operationName);
        if (operation?.operation !== OperationTypeNode.SUBSCRIPTION) {
          throw new DomainError('BAD_INPUT', 'The WebSocket carries subscriptions only.', { hint: 'Send queries and mutations by HTTP POST.' });
        }
        const rate = guard.admit(caller, { document: parsed.document, operationName: payload.operationName, variables: payload.variables });
        return {
          schema, document: parsed.document, operationName: payload.operationName, variableValues: payload.variables,
          contextValue: makeContext(services, caller, requestId, rate),
        };
      } catch (error) {
        return [asGraphQLError(error)];
      }
    },

    onError: (ctx, _id, _payload, errors) => masked(errors as readonly GraphQLError[], ctx.extra.socketId),
    onNext: async ({ extra }, _id, _payload, _args, result) => {
      // A socket that is being closed sends nothing more: not this event either.
      if (!(await extra.access?.holds())) shutOut(extra);
      return result.errors === undefined ? undefined : { ...result, errors: masked(result.errors, extra.socketId) as unknown as readonly GraphQLError[] };
    },
  });

  const leave = (keyId: string): void => {
    const left = (socketsOf.get(keyId) ?? 1) - 1;
    if (left > 0) socketsOf.set(keyId, left);
    else socketsOf.delete(keyId);
  };

  const serve = (socket: WebSocket, req: IncomingMessage): void => {
    const socketId = randomUUID();
    let alive = true;
    const close = (code: number, reason: string): void => socket.close(RETRIABLE[code] ?? code, reason);
    const fail = (error: unknown): void => {
      logFaults(log, [error], socketId, { transport: 'websocket' });
      close(TRY_LATER, 'Try again later');
    };
    const extra: Extra = { socketId, from: req.socket.remoteAddress, refused: 0, close };
    const closed = graphql.opened({
      protocol: socket.protocol,
      send: (data) => new Promise<void>((resolve, reject) => {
        if (socket.readyState === socket.OPEN) socket.send(data, (error) => (error ? reject(error) : resolve()));
        else resolve();
      }),
      close,
      onMessage: (receive) => socket.on('message', (data) => {
        receive(String(data)).catch((error: unknown) => {
          if (socket.readyState === socket.OPEN) fail(error);
        });
      }),
    }, extra);

    const ping = setInterval(() => {
      if (!alive) {
        socket.terminate();
        return;
      }
      alive = false;
      socket.ping();
    }, pingMs);
    socket.on('pong', () => {
      alive = true;
    });
    // A frame that is too big or malformed: ws has answered with the matching code already; 'close' follows.
    socket.on('error', (error) => log.info('A WebSocket was closed by an error', { socketId, error }));
    socket.once('close', (code, reason) => {
      clearInterval(ping);
      extra.gone = true;
      extra.access?.end();
      if (extra.keyId !== undefined) leave(extra.keyId);
      closed(code, String(reason)).catch(fail);
    });
  };

  const onUpgrade = (req: IncomingMessage, socket: Duplex, head: Buffer): void => {
    socket.on('error', () => socket.destroy());
    const path = (req.url ?? '').split('?')[0];
    if (stopping || wss.clients.size >= maxSockets) refuseUpgrade(socket, 503);
    else if (path !== deps.path) refuseUpgrade(socket, 404);
    else if (!originAllowed(req, deps.allowedOrigins)) refuseUpgrade(socket, 403);
    else wss.handleUpgrade(req, socket, head, serve);
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
