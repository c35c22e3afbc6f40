import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { type AddressInfo, type Socket } from 'node:net';
import { makeExecutableSchema } from '@graphql-tools/schema';
import { graphql, parse, subscribe, type GraphQLSchema } from 'graphql';
import { useServer } from 'graphql-ws/use/ws';
import { WebSocketServer, type WebSocket } from 'ws';

export const TOKEN = 'sb_test_secret_0123456789';

const schemaFolder = new URL('../../../schema/', import.meta.url);
const typeDefs = readdirSync(schemaFolder).sort().map((name) => readFileSync(new URL(name, schemaFolder), 'utf8'));

/** One request to /graphql as it arrived. */
export interface SeenRequest {
  operationName: string;
  variables: Record<string, unknown>;
  headers: IncomingMessage['headers'];
}

/** Answers a request instead of the schema; returns false to leave it to the schema. */
export type Interceptor = (request: SeenRequest, response: ServerResponse) => boolean;

export type Resolvers = Record<string, Record<string, unknown>>;

export interface FakeService {
  url: string;
  schema: GraphQLSchema;
  /** Requests in the order they came, intercepted ones included. */
  seen: SeenRequest[];
  /** Parameters of all `connection_init` messages. */
  inits: unknown[];
  intercept(interceptor: Interceptor): void;
  /** Handles everything but /graphql. */
  serve(handler: (request: IncomingMessage, response: ServerResponse) => void): void;
  /** Whether /graphql/stream answers (graphql-sse, distinct connections); it does not before it is told to. */
  offerStreams(offer: boolean): void;
  /** Event streams open now. */
  openStreams(): number;
  /** Cuts every event stream in its middle. */
  cutStreams(): void;
  openSockets(): number;
  /** Cuts every WebSocket without a closing handshake. */
  cutSockets(): void;
  /** Stops reading and writing on every WebSocket, without closing it. */
  freezeSockets(): void;
  /** Refuses new WebSockets until called with false. */
  refuseSockets(refuse: boolean): void;
  stop(): Promise<void>;
}

const readBody = async (request: IncomingMessage): Promise<string> => {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
};

/**
 * A service with the real schema and hand-written resolvers on a free port, over real sockets, that can be made to misbehave.
 * @param newer SDL that a service of a later release has besides
 */
export const startFakeService = async (resolvers: Resolvers, newer = ''): Promise<FakeService> => {
  const schema = makeExecutableSchema({ typeDefs: [...typeDefs, newer], resolvers: { Node: { __resolveType: () => 'Job' }, ...resolvers } });
  const seen: SeenRequest[] = [];
  const inits: unknown[] = [];
  const sockets = new Set<Socket>();
  const webSockets = new Map<Socket, WebSocket>();
  let interceptor: Interceptor = () => false;
  let handler = (_request: IncomingMessage, response: ServerResponse): void => void response.writeHead(404).end();
  const streams = new Set<ServerResponse>();
  let refusing = false;
  let streaming = false;

  const stream = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const body = JSON.parse(await readBody(request)) as { query: string; operationName?: string; variables?: Record<string, unknown> };
    if (request.headers.authorization !== `Bearer ${TOKEN}` || request.headers.accept !== 'text/event-stream') {
      response.writeHead(401, { 'content-type': 'application/json' }).end(JSON.stringify({ errors: [{ message: 'The key is unknown.', extensions: { code: 'UNAUTHENTICATED' } }] }));
      return;
    }
    const events = await subscribe({ schema, document: parse(body.query), variableValues: body.variables, operationName: body.operationName });
    if (!(Symbol.asyncIterator in events)) {
      response.writeHead(400, { 'content-type': 'application/json' }).end(JSON.stringify(events));
      return;
    }
    response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' }).write(':\n\n');
    streams.add(response);
    response.on('close', () => {
      streams.delete(response);
      void events.return(undefined);
    });
    for await (const event of events) response.write(`event: next\ndata: ${JSON.stringify(event)}\n\n`);
    response.end('event: complete\ndata:\n\n');
  };

  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    if (request.url === '/graphql/stream' && streaming) {
      await stream(request, response);
      return;
    }
    if (request.url !== '/graphql') {
      handler(request, response);
      return;
    }
    const body = JSON.parse(await readBody(request)) as { query: string; operationName: string; variables?: Record<string, unknown> };
    const noted = { operationName: body.operationName, variables: body.variables ?? {}, headers: request.headers };
    seen.push(noted);
    if (interceptor(noted, response)) return;
    const authorised = request.headers.authorization === `Bearer ${TOKEN}`;
    const result = authorised
      ? await graphql({ schema, source: body.query, variableValues: body.variables, operationName: body.operationName })
      : { errors: [{ message: 'The key is unknown.', extensions: { code: 'UNAUTHENTICATED', hint: 'Send a key.' } }] };
    response.writeHead(authorised ? 200 : 401, { 'content-type': 'application/json', 'x-request-id': `req-${String(seen.length)}` });
    response.end(JSON.stringify(result));
  };

  const server = createServer((request, response) => {
    answer(request, response).catch((error: unknown) => {
      response.writeHead(500).end(String(error));
    });
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => socket.destroy());
  });
  const wss = new WebSocketServer({ noServer: true });
  useServer({
    schema,
    onConnect: ({ connectionParams }) => {
      inits.push(connectionParams);
      return connectionParams?.['authorization'] === `Bearer ${TOKEN}`;
    },
  }, wss);
  server.on('upgrade', (request, socket, head) => {
    const raw = socket as Socket;
    if (refusing) {
      raw.destroy();
      return;
    }
    wss.handleUpgrade(request, raw, head, (ws) => {
      webSockets.set(raw, ws);
      raw.on('close', () => webSockets.delete(raw));
      wss.emit('connection', ws, request);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));

  return {
    url: `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`,
    schema, seen, inits,
    intercept: (next) => {
      interceptor = next;
    },
    serve: (next) => {
      handler = next;
    },
    offerStreams: (offer) => {
      streaming = offer;
    },
    openStreams: () => streams.size,
    cutStreams: () => {
      for (const response of streams) response.destroy();
    },
    openSockets: () => webSockets.size,
    cutSockets: () => {
      for (const ws of webSockets.values()) ws.terminate();
    },
    freezeSockets: () => {
      for (const socket of webSockets.keys()) {
        socket.pause();
        socket.write = () => true;
      }
    },
    refuseSockets: (refuse) => {
      refusing = refuse;
    },
    stop: async () => {
      for (const socket of sockets) socket.destroy();
      wss.close();
      await new Promise((resolve) => server.close(resolve));
    },
  };
};

const AT = '2026-03-01T02:00:00.000Z';

/** A complete Job as resolvers give it. */
export const makeJob = (id: string, fields: Record<string, unknown> = {}): Record<string, unknown> => ({
  id, kind: 'BACKUP', state: 'RUNNING', conclusion: null, phase: 'TRANSFERRING', phases: [], progress: null, failure: null, notices: [], attempt: 1, sequence: 1,
  createdAt: AT, startedAt: AT, completedAt: null, cancelRequestedAt: null, cancellable: true, instance: null, backup: null, restore: null, ...fields,
});

/** A complete Backup as resolvers give it. */
export const makeBackup = (id: string, fields: Record<string, unknown> = {}): Record<string, unknown> => ({
  id, name: `backup ${id}`, state: 'AVAILABLE', trigger: 'MANUAL', instance: { id: 'ins_1', name: 'cache' }, job: null, integrity: 'STRUCTURE_AND_CHECKSUM',
  unknownContent: null, captureMethod: 'REPLICATION', consistency: 'POINT_IN_TIME', coverage: { kind: 'INSTANCE', slots: [] }, engine: 'REDIS', engineVersion: '7.0.15', rdbVersion: 10,
  sizeBytes: '1000', storedBytes: '400', sha256: 'ab', keys: '3', expiringKeys: '0', databases: [], types: [], functions: 0, loadsOn: [],
  createdAt: AT, startedAt: AT, completedAt: AT, durationMs: 5, expiresAt: AT, retainedBecause: null, ...fields,
});

interface FakeEvent {
  cursor: string;
  sequence: number;
  kind: string;
  at: string;
  job: Record<string, unknown>;
  notice: null;
}

/** One job whose events a test writes by hand; `resolvers.Subscription` follows the contract of `jobProgress` and `jobEvents`. */
export class FakeJob {
  readonly log: FakeEvent[] = [];
  /** `afterSequence` of every subscription so far. */
  readonly subscribed: (number | null | undefined)[] = [];
  /** Subscriptions whose last event has been sent. */
  finished = 0;
  private waiters: (() => void)[] = [];

  constructor(readonly id: string, fields: Record<string, unknown> = {}) {
    this.emit('STATE', fields);
  }

  get current(): Record<string, unknown> {
    return this.last().job;
  }

  /** Appends an event that changes the job by `fields`. */
  emit(kind: string, fields: Record<string, unknown> = {}): void {
    const sequence = this.log.length === 0 ? 1 : this.last().sequence + 1;
    const job = { ...(this.log.length === 0 ? makeJob(this.id) : this.current), ...fields, sequence };
    this.log.push({ cursor: `c${String(sequence)}`, sequence, kind, at: AT, job, notice: null });
    for (const wake of this.waiters.splice(0)) wake();
  }

  succeed(fields: Record<string, unknown> = {}): void {
    this.emit('STATE', { state: 'COMPLETED', conclusion: 'SUCCEEDED', completedAt: AT, ...fields });
  }

  private last(): FakeEvent {
    return this.log[this.log.length - 1]!;
  }

  private async *from(index: number): AsyncGenerator<FakeEvent> {
    for (let at = index; ; at += 1) {
      while (at >= this.log.length) await new Promise<void>((resolve) => this.waiters.push(resolve));
      const event = this.log[at]!;
      yield event;
      if (event.job['state'] !== 'COMPLETED') continue;
      this.finished += 1;
      return;
    }
  }

  private async *progress(afterSequence: number | null | undefined): AsyncGenerator<{ jobProgress: FakeEvent }> {
    this.subscribed.push(afterSequence);
    let start = this.log.findIndex(({ sequence }) => sequence > (afterSequence ?? Infinity));
    if (start < 0) {
      start = this.log.length;
      const snapshot = { ...this.last(), kind: 'SNAPSHOT' };
      yield { jobProgress: snapshot };
      if (snapshot.job['state'] === 'COMPLETED') return;
    }
    for await (const event of this.from(start)) yield { jobProgress: event };
  }

  private async *feed(after: string | null | undefined): AsyncGenerator<{ jobEvents: FakeEvent }> {
    const start = typeof after === 'string' ? this.log.findIndex(({ cursor }) => cursor === after) + 1 : this.log.length;
    for await (const event of this.from(start)) yield { jobEvents: event };
  }

  get resolvers(): Resolvers {
    return {
      Query: { job: () => this.current, jobs: () => ({ nodes: [], edges: [], totalCount: 0, feedCursor: `c${String(this.last().sequence)}` }) },
      Subscription: {
        jobProgress: { subscribe: (_: unknown, { afterSequence }: { afterSequence?: number | null }) => this.progress(afterSequence) },
        jobEvents: { subscribe: (_: unknown, { after }: { after?: string | null }) => this.feed(after) },
      },
    };
  }
}

export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
