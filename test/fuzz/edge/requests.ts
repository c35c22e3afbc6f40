import { getIntrospectionQuery } from 'graphql';
import { type Random } from '../rdb/random.js';

/** One of them, which may be undefined. */
const pick = <T>(items: readonly T[], random: Random): T => items[random(items.length)] as T;

/** Documents as clients send them; what is sent are these, and what becomes of them. */
const DOCUMENTS = [
  '{ viewer { role } instances(first: 3) { nodes { id name latestBackup { id state } } totalCount } }',
  'query Page($after: String, $first: Int) { backups(first: $first, after: $after) { nodes { id instance { id } job { id state } } pageInfo { hasNextPage endCursor } } }',
  '{ jobs(first: 5, filter: { states: [QUEUED, RUNNING] }) { nodes { id progress { fraction } } } auditEvents(first: 2) { nodes { id action } } }',
  'mutation M($input: RegisterInstanceInput!) { registerInstance(input: $input) { instance { id } errors { code message } } }',
  'mutation { backupNow(input: { instanceId: "ins_01hzy0000000000000000000n1", name: "x" }) { job { id } errors { code } } }',
  'subscription ($after: String) { jobEvents(after: $after) { cursor sequence job { id } } }',
  'subscription { jobProgress(jobId: "job_01hzy0000000000000000000j1", afterSequence: 3) { sequence } }',
  getIntrospectionQuery(),
];
const VALUES: readonly unknown[] = [
  null, true, -1, 0, 2 ** 31, 1e308, '', 'x', '\u0000', '\ud800', 'ÿ'.repeat(300), [], [[[]]], {}, { __proto__: 1 }, { input: { name: 'n', host: '127.0.0.1', port: 1 } }, { input: { name: 7, host: [], port: '1' } },
  { after: 'bm9uc2Vuc2U' }, { first: 100 }, { first: 100_000 }, { after: 'a'.repeat(5_000), first: -3 },
];
const EXTENSIONS: readonly unknown[] = [
  undefined, null, {}, { persistedQuery: null }, { persistedQuery: { version: 1, sha256Hash: '0'.repeat(64) } }, { persistedQuery: { version: 2, sha256Hash: 'x' } }, { persistedQuery: { version: 1, sha256Hash: { a: 1 } } },
];

/** Some bytes are other ones, missing, double, or from elsewhere. */
export const damaged = (bytes: Buffer, random: Random): Buffer => {
  const pieces = [bytes];
  for (let turns = 1 + random(3); turns > 0; turns -= 1) {
    const whole = Buffer.concat(pieces.splice(0));
    const [from, to] = [random(whole.length + 1), random(whole.length + 1)].sort((a, b) => a - b) as [number, number];
    switch (random(5)) {
      case 0: pieces.push(whole.subarray(0, from), whole.subarray(to)); break;
      case 1: pieces.push(whole.subarray(0, to), whole.subarray(from)); break;
      case 2: pieces.push(whole.subarray(0, from), Buffer.from([random(256)]), whole.subarray(Math.min(from + 1, whole.length))); break;
      case 3: pieces.push(whole.subarray(0, from), Buffer.alloc(random(40), random(256)), whole.subarray(from)); break;
      default: pieces.push(whole.subarray(0, from)); break;
    }
  }
  return Buffer.concat(pieces);
};

const mostly = <T>(usual: T, other: () => T, random: Random): T => (random(4) > 0 ? usual : other());

/** A GraphQL request as JSON, or nearly so. */
export const graphqlBody = (random: Random): Buffer => {
  const query = pick(DOCUMENTS, random);
  const body: unknown = { query: mostly<unknown>(query, () => pick([damaged(Buffer.from(query), random).toString(), ...VALUES], random), random), variables: pick(VALUES, random), operationName: pick([undefined, null, 'Page', 'M', 7, '\u0000'], random), extensions: pick(EXTENSIONS, random) };
  const text = Buffer.from(JSON.stringify(random(12) === 0 ? [body, body] : body));
  return mostly(text, () => damaged(text, random), random);
};

const PATHS = ['/graphql', '/graphql/stream', '/downloads/x', '/downloads/%00', '/downloads/%zz', '/healthz', '/readyz', '/metrics', '/', '/dashboard/', '/dashboard/%2e%2e/%2e%2e/package.json', '/explorer/boot.js', '/nothing', '//', '*', 'http://[', '/graphql?query=%7Bviewer%7Brole%7D%7D', '/graphql?query=%', `/${'a'.repeat(9_000)}`];
const METHODS = ['GET', 'POST', 'POST', 'POST', 'HEAD', 'OPTIONS', 'PUT', 'DELETE', 'PATCH', 'TRACE', 'CONNECT', 'QUERY', 'get'];

/** A request over HTTP/1.1, with its key in two of three. */
export const httpRequest = (random: Random, key: string): Buffer => {
  const path = pick(PATHS, random);
  const body = graphqlBody(random);
  const headers: string[] = [
    'Host: 127.0.0.1', `Accept: ${pick(['application/json', 'text/event-stream', '*/*', 'application/graphql-response+json', ';;q=', 'a'.repeat(300)], random)}`,
    `Content-Type: ${pick(['application/json', 'application/json', 'application/json; charset=utf-16', 'text/plain', 'multipart/form-data; boundary=x', '///'], random)}`,
    ...pick([[`Content-Length: ${body.length}`], [`Content-Length: ${body.length}`], [`Content-Length: ${body.length + 1_000}`], ['Transfer-Encoding: chunked'], ['Content-Length: -1'], ['Content-Length: 1', 'Content-Length: 2'], ['Expect: 100-continue', `Content-Length: ${body.length}`]], random),
    ...(random(3) > 0 ? [`Authorization: ${pick([`Bearer ${key}`, `Bearer ${key}`, `Bearer ${key}x`, 'Bearer', 'Basic Og==', 'Bearer eyJhbGciOiJub25lIn0.e30.'], random)}`] : []),
    ...(random(4) === 0 ? [`Origin: ${pick(['null', 'https://evil.example.com', 'http://127.0.0.1', '\u00ff'], random)}`] : []),
    ...(random(4) === 0 ? [`Range: ${pick(['bytes=0-', 'bytes=-1', 'bytes=9-1', 'lines=1', `bytes=${'0-,'.repeat(900)}`], random)}`, 'If-Range: "x"', 'If-None-Match: *'] : []),
    ...(random(6) === 0 ? ['Content-Encoding: gzip'] : []),
    ...(random(6) === 0 ? [`x-snapback-sdk: ${pick(['0.1.0', '99.0.0', '', 'x'.repeat(500)], random)}`] : []),
    ...(random(12) === 0 ? Array.from({ length: 300 }, (_, at) => `X-${at}: ${'y'.repeat(100)}`) : []),
  ];
  const whole = Buffer.concat([Buffer.from(`${pick(METHODS, random)} ${path} HTTP/1.1\r\n${headers.join('\r\n')}\r\n\r\n`, 'latin1'), body]);
  return mostly(whole, () => damaged(whole, random), random);
};

export const upgradeRequest = (random: Random): Buffer => {
  const protocol = pick(['graphql-transport-ws', 'graphql-transport-ws', 'graphql-transport-ws', 'graphql-ws', 'graphql-transport-ws, x', '', ','], random);
  const head = Buffer.from([
    `GET ${pick(['/graphql', '/graphql', '/graphql', '/graphql/stream', '/'], random)} HTTP/1.1`, 'Host: 127.0.0.1', 'Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==',
    `Sec-WebSocket-Version: ${pick(['13', '13', '13', '8', 'x'], random)}`, ...(protocol === '' ? [] : [`Sec-WebSocket-Protocol: ${protocol}`]), ...(random(6) === 0 ? ['Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=99'] : []), '', '',
  ].join('\r\n'));
  return random(8) === 0 ? damaged(head, random) : head;
};

const messageOf = (random: Random, key: string): Buffer => {
  const body = JSON.parse(JSON.stringify({ query: pick(DOCUMENTS, random), variables: pick(VALUES, random), extensions: pick(EXTENSIONS, random) })) as unknown;
  const id = pick<unknown>(['1', '2', '', 'x'.repeat(300), 7, null], random);
  const text = Buffer.from(JSON.stringify(pick<unknown>([
    { type: 'connection_init', payload: { authorization: `Bearer ${key}` } }, { type: 'connection_init', payload: pick(VALUES, random) }, { type: 'subscribe', id, payload: body }, { type: 'subscribe', id, payload: body },
    { type: 'subscribe', id, payload: pick(VALUES, random) }, { type: 'complete', id }, { type: 'ping', payload: pick(VALUES, random) }, { type: 'pong' }, { type: 'next', id, payload: {} }, { type: pick(VALUES, random) }, pick(VALUES, random),
  ], random)));
  return mostly(text, () => damaged(text, random), random);
};

/** A frame of a client (RFC 6455): masked, as it should be, or in some way not. */
const frameOf = (payload: Buffer, random: Random): Buffer => {
  const opcode = mostly(1, () => random(16), random);
  const first = mostly(0x80, () => random(16) << 4, random) | opcode;
  const masked = random(12) === 0 ? 0 : 0x80;
  const said = mostly(payload.length, () => random(70_000), random);
  const length = said < 126 ? Buffer.from([masked | said]) : said < 65_536 ? Buffer.from([masked | 126, said >> 8, said & 255]) : Buffer.from([masked | 127, 0, 0, 0, 0, 0, said >> 16, (said >> 8) & 255, said & 255]);
  // Masked with zeroes: the payload as it is.
  return Buffer.concat([Buffer.from([first]), length, masked ? Buffer.alloc(4) : Buffer.alloc(0), payload]);
};

/** What a client goes on with once it has been let in: the usual greeting in most, then anything. */
export const frames = (random: Random, key: string): Buffer => {
  const greeting = Buffer.from(JSON.stringify({ type: 'connection_init', payload: { authorization: `Bearer ${key}` } }));
  const head = Buffer.concat([Buffer.from([0x81, 0x80 | 126, greeting.length >> 8, greeting.length & 255, 0, 0, 0, 0]), greeting]);
  const all = Array.from({ length: 1 + random(8) }, () => frameOf(messageOf(random, key), random));
  return Buffer.concat(random(4) > 0 ? [head, ...all] : all);
};
