import { request } from 'node:http';
import { connect } from 'node:net';
import { getIntrospectionQuery } from 'graphql';
import { afterEach, describe, expect, it } from 'vitest';
import { DomainError } from '../../../server/domain/errors.js';
import { ADMIN_KEY, type Edge, fakeServices, pageOf, readServices, startEdge, VIEWER_KEY } from './edge.js';

let edge: Edge | undefined;
afterEach(async () => {
  await edge?.stop();
  edge = undefined;
});
const start = async (over: Parameters<typeof startEdge>[1] = {}): Promise<Edge> => {
  edge = await startEdge(fakeServices(readServices({ instances: [], backups: [], jobs: [] }).services), over);
  return edge;
};
const JSON_TYPE = { 'content-type': 'application/json' };
const KEYED = { ...JSON_TYPE, authorization: `Bearer ${ADMIN_KEY}` };

/** A request by hand: fetch sets no Host and follows its own mind about bodies. */
const raw = (url: string, method: string, headers: Record<string, string>): Promise<{ status: number; headers: Record<string, unknown>; text: string }> =>
  new Promise((resolve, reject) => {
    const req = request(url, { method, headers }, (res) => {
      let text = '';
      res.setEncoding('utf8').on('data', (chunk: string) => (text += chunk)).on('end', () => resolve({ status: res.statusCode ?? 0, headers: res.headers, text }));
    });
    req.on('error', reject).end();
  });

describe('keys', () => {
  it.each([
    ['none', {}], ['an unknown one', { authorization: 'Bearer sb_nobody' }], ['another scheme', { authorization: 'Basic c2I6c2I=' }],
    ['an empty one', { authorization: 'Bearer ' }], ['one with strange characters', { authorization: 'Bearer sb_admin\u00e9' }],
  ])('refuse a request with %s by 401, introspection too', async (_what, headers) => {
    const { ask } = await start();
    for (const query of ['{ viewer { role } }', '{ __schema { queryType { name } } }', '{ __typename }', 'not graphql']) {
      const answer = await ask(query, {}, headers);
      expect([answer.status, answer.body.errors?.[0]?.extensions['code'], answer.body.data]).toEqual([401, 'UNAUTHENTICATED', undefined]);
      expect(answer.headers.get('www-authenticate')).toBe('Bearer');
    }
  });

  it('are looked at before the body is', async () => {
    const { url } = await start();
    const response = await fetch(`${url}/graphql`, { method: 'POST', headers: JSON_TYPE, body: 'x'.repeat(3_000_000) }).catch((error: unknown) => error);
    // The server may cut the connection while the body is still on its way; it must not ask for the rest.
    if (response instanceof Response) expect(response.status).toBe(401);
  });

  it('that cannot be checked are a fault, not a refusal', async () => {
    const { ask, log } = await start({ authenticate: () => Promise.reject(new Error('database gone at 10.1.2.3')) });
    const answer = await ask('{ viewer { role } }');
    expect([answer.status, answer.body.errors?.[0]?.message]).toEqual([500, 'Internal error']);
    expect(log.find(({ level }) => level === 'error')?.fields['error']).toBeInstanceOf(Error);
  });
});

describe('documents', () => {
  const nested = (levels: number): string => '{ instances { nodes '.concat('{ latestBackup { instance '.repeat(levels), '{ id }', ' } }'.repeat(levels), ' } }');
  const cases: [what: string, query: string, code: string][] = [
    ['that are no GraphQL', '{ viewer {', 'BAD_INPUT'],
    ['that ask for unknown fields', '{ viewer { password } }', 'BAD_INPUT'],
    ['with too many tokens', `{ ${'viewer { role } '.repeat(1_100)} }`, 'BAD_INPUT'],
    ['nested too deep', nested(6), 'LIMIT_EXCEEDED'],
    ['with too many aliases', `{ viewer { ${Array.from({ length: 101 }, (_, at) => `a${at}: role`).join(' ')} } }`, 'LIMIT_EXCEEDED'],
    ['with too many root fields', `{ ${Array.from({ length: 21 }, (_, at) => `a${at}: __typename`).join(' ')} }`, 'LIMIT_EXCEEDED'],
    ['whose fragments double', `{ ...f0 } ${Array.from({ length: 30 }, (_, at) => `fragment f${at} on Query { ${at === 29 ? '__typename' : `...f${at + 1} ...f${at + 1}`} }`).join(' ')}`, 'LIMIT_EXCEEDED'],
    ['whose fragments go round', '{ ...a } fragment a on Query { ...b } fragment b on Query { viewer { role } ...a }', 'LIMIT_EXCEEDED'],
    ['with a flood of directives', `{ __typename ${'@skip(if: false) '.repeat(51)} }`, 'LIMIT_EXCEEDED'],
    ['that dig in the schema', `{ __schema { types { ${'fields { type { '.repeat(9)} name ${'} }'.repeat(9)} } } }`, 'LIMIT_EXCEEDED'],
  ];
  it.each(cases)('%s are refused', async (_what, query, code) => {
    const { ask } = await start();
    const answer = await ask(query);
    expect([answer.status, answer.body.errors?.[0]?.extensions['code'], answer.body.data]).toEqual([400, code, undefined]);
    expect(answer.body.errors?.[0]?.extensions['requestId']).toBe(answer.headers.get('x-request-id'));
  });

  it('of the standard introspection pass', async () => {
    const { ask } = await start();
    const answer = await ask(getIntrospectionQuery({ descriptions: true, specifiedByUrl: true, inputValueDeprecation: true, oneOf: true }));
    expect([answer.status, answer.body.errors]).toEqual([200, undefined]);
  });

  it('of introspection are refused when it is off', async () => {
    const { ask } = await start({ introspection: false });
    const answer = await ask('{ __schema { queryType { name } } }');
    expect([answer.status, answer.body.errors?.[0]?.extensions['code']]).toEqual([400, 'BAD_INPUT']);
    expect((await ask('{ viewer { rol } }')).body.errors?.[0]?.message).not.toContain('role');
  });

  it('with wrong variables get BAD_INPUT that names the place and not the value', async () => {
    const { ask } = await start();
    const mutation = 'mutation ($input: RegisterInstanceInput!) { registerInstance(input: $input) { userErrors { code } } }';
    for (const [input, place] of [
      [{ name: 'orders', password: 'hunter2' }, '"host"'], [{ name: 'orders', host: 'h', port: 'hunter2' }, 'input.port'],
      [{ name: 'orders', host: 'h', password: { secret: 'hunter2' } }, 'input.password'], ['hunter2', '$input'],
    ] as const) {
      const answer = await ask(mutation, { input });
      expect([answer.status, answer.body.errors?.[0]?.extensions['code']]).toEqual([400, 'BAD_INPUT']);
      const said = JSON.stringify(answer.body);
      expect(said).toContain(place.replaceAll('"', '\\"'));
      expect(said).not.toContain('hunter2');
    }
    expect((await ask('query ($at: DateTime) { backups(filter: { createdFrom: $at }) { totalCount } }', { at: '2026-02-30T00:00:00Z' })).body.errors?.[0]?.extensions['code']).toBe('BAD_INPUT');
  });
});

it('answers a huge wrong value shortly and at once', async () => {
  const { ask } = await start();
  const started = performance.now();
  for (const piece of ['x', ' cannot represent ', '"; at "', ' value: ']) {
    const answer = await ask('query ($engine: Engine) { instances(filter: { engine: $engine }) { totalCount } }', { engine: piece.repeat(Math.floor(450_000 / piece.length)) });
    expect([answer.status, JSON.stringify(answer.body).length < 3_000]).toEqual([400, true]);
  }
  const name = await ask(`{ ${'n'.repeat(900_000)} }`);
  expect([name.status, JSON.stringify(name.body).length < 3_000]).toEqual([400, true]);
  // Whatever is not linear in them takes minutes.
  expect(performance.now() - started).toBeLessThan(60_000);
});

describe('the HTTP endpoint', () => {
  it('answers JSON to bodies that are broken, too large, of another kind, or batches', async () => {
    const { url } = await start();
    const post = async (body: string, headers: Record<string, string> = KEYED, below = ''): Promise<[number, string | null, unknown]> => {
      const response = await fetch(`${url}/graphql${below}`, { method: 'POST', headers, body });
      const answer = await response.json() as { errors: { extensions: { code: string } }[] };
      return [response.status, response.headers.get('content-type'), answer.errors[0]?.extensions.code];
    };
    const type = 'application/json; charset=utf-8';
    expect(await post('{"query":')).toEqual([400, type, 'BAD_INPUT']);
    expect(await post(JSON.stringify({ query: `# ${'x'.repeat(1_100_000)}` }))).toEqual([413, type, 'LIMIT_EXCEEDED']);
    expect(await post('[{"query":"{viewer{role}}"}]')).toEqual([400, expect.stringContaining('json'), 'BAD_INPUT']);
    expect(await post('{"query":{"kind":"Document"}}')).toEqual([400, expect.stringContaining('json'), 'BAD_INPUT']);
    expect(await post('{}')).toEqual([400, expect.stringContaining('json'), 'BAD_INPUT']);
    expect(await post('{"query":', KEYED, '/stream')).toEqual([400, type, 'BAD_INPUT']);
    expect(await post(JSON.stringify({ query: `# ${'x'.repeat(1_100_000)}` }), KEYED, '/stream')).toEqual([413, type, 'LIMIT_EXCEEDED']);
    // What a page could send without asking first is no JSON to this service.
    expect(await post('{"query":"{viewer{role}}"}', { ...KEYED, 'content-type': 'text/plain' }, '/stream')).toEqual([400, expect.stringContaining('json'), 'BAD_INPUT']);
    expect(await post('{}', { ...KEYED, 'content-encoding': 'rot13' })).toEqual([415, type, 'BAD_INPUT']);
    expect(await post('{}', { ...KEYED, 'content-type': 'application/json; charset=utf-99' })).toEqual([415, type, 'BAD_INPUT']);
  });

  it('answers JSON to what is no HTTP, and to headers without an end', async () => {
    const { url } = await start();
    const sent = (text: string): Promise<string> => new Promise((resolve, reject) => {
      let answer = '';
      const socket = connect(Number(new URL(url).port), '127.0.0.1', () => socket.write(text));
      socket.setEncoding('utf8').on('data', (piece: string) => (answer += piece)).once('close', () => resolve(answer)).once('error', reject);
    });
    for (const [text, status, code] of [
      ['no HTTP\r\n\r\n', 400, 'BAD_INPUT'], [`GET / HTTP/1.1\r\nhost: x\r\nx-long: ${'x'.repeat(20_000)}\r\n\r\n`, 431, 'LIMIT_EXCEEDED'], ['POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-length: many\r\n\r\n', 400, 'BAD_INPUT'],
    ] as const) {
      const [head = '', body = ''] = (await sent(text)).split('\r\n\r\n');
      expect(head).toContain(`HTTP/1.1 ${status} `);
      expect(head).toContain('Content-Type: application/json');
      expect(JSON.parse(body)).toEqual({ errors: [{ message: expect.any(String) as string, extensions: { code } }] });
    }
  });

  it('refuses what a foreign page could make a browser send (CSRF)', async () => {
    const { url } = await start();
    for (const init of <RequestInit[]>[
      { method: 'POST', headers: { 'content-type': 'text/plain', authorization: `Bearer ${ADMIN_KEY}` }, body: '{"query":"{viewer{role}}"}' },
      { method: 'GET', headers: { authorization: `Bearer ${ADMIN_KEY}` } },
    ]) {
      const response = await fetch(`${url}/graphql?query={viewer{role}}`, init);
      expect(response.status).toBe(400);
      expect(await response.json()).toMatchObject({ errors: [{ extensions: { code: 'BAD_INPUT' } }] });
    }
    const query = await fetch(`${url}/graphql?query=${encodeURIComponent('{viewer{role}}')}`, { headers: KEYED });
    expect([query.status, await query.json()]).toEqual([200, { data: { viewer: { role: 'ADMIN' } } }]);
    expect((await fetch(`${url}/graphql?query=${encodeURIComponent('mutation{cancelJob(input:{jobId:"j"}){job{id}}}')}`, { headers: KEYED })).status).toBe(405);
  });

  it('shows no stack and no class name of a fault, whatever NODE_ENV says', async () => {
    const before = process.env['NODE_ENV'];
    try {
      for (const env of ['development', 'production', undefined]) {
        if (env === undefined) delete process.env['NODE_ENV'];
        else process.env['NODE_ENV'] = env;
        edge = await startEdge(fakeServices({ instances: { list: () => Promise.reject(new TypeError('secret detail')) }, backups: { list: async () => pageOf([]) } }));
        const text = JSON.stringify((await edge.ask('{ instances { totalCount } backups { totalCount } }')).body);
        expect(text).toContain('"code":"INTERNAL"');
        expect(text).not.toMatch(/secret detail|TypeError|stack|\.ts/);
        // No page of Apollo's for browsers either, which would load scripts from elsewhere.
        const page = await fetch(`${edge.url}/graphql`, { headers: { accept: 'text/html', authorization: `Bearer ${ADMIN_KEY}` } });
        expect([page.status, page.headers.get('content-type')]).toEqual([400, expect.stringContaining('json')]);
        expect(await page.text()).not.toMatch(/html|https?:/);
        await edge.stop();
      }
    } finally {
      if (before === undefined) delete process.env['NODE_ENV'];
      else process.env['NODE_ENV'] = before;
    }
  });

  it('puts a request id and security headers on every answer, and JSON on unknown paths', async () => {
    const { url } = await start();
    for (const path of ['/graphql', '/graphql/stream', '/metrics', '/healthz', '/nope', '/downloads/x', '/explorer/../../package.json', '/explorer/nope.js', '/%00', '/%E0%A4%A']) {
      const { status, headers, text } = await raw(url + path, 'GET', {});
      expect(headers, path).toMatchObject({
        'x-content-type-options': 'nosniff', 'x-frame-options': 'DENY', 'x-request-id': expect.stringMatching(/^[\w-]{36}$/) as unknown, 'cache-control': 'no-store', 'referrer-policy': 'no-referrer',
        'cross-origin-opener-policy': 'same-origin', 'cross-origin-resource-policy': 'same-origin', 'content-security-policy': expect.stringContaining("default-src 'none'; frame-ancestors 'none'") as unknown,
      });
      expect(headers['x-powered-by']).toBeUndefined();
      if (status >= 400) expect(JSON.parse(text), path).toHaveProperty('errors.0.extensions.code');
      if (path === '/nope') expect(status).toBe(404);
    }
    expect((await raw(`${url}/healthz`, 'GET', { 'x-request-id': 'forged\tline' })).headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/);
  });
});

describe('probes', () => {
  it('say whether the process is up, and whether it can serve', async () => {
    const checks = [{ name: 'database', ok: true }, { name: 'store', ok: true, reason: undefined as string | undefined }];
    const { url, app } = await start({ readiness: async () => checks });
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
    checks[1] = { name: 'store', ok: false, reason: 'The folder is read-only.' };
    const response = await fetch(`${url}/readyz`);
    expect([response.status, await response.json()]).toEqual([503, { status: 'not ready', checks }]);
    const stopped = app.stop(100);
    await stopped;
    await expect(fetch(`${url}/healthz`)).rejects.toThrow();
  });

  it('give metrics to this machine, and elsewhere to ADMIN keys only', async () => {
    const { url } = await start({ metrics: async () => 'snapback_x 1\n' });
    expect(await (await fetch(`${url}/metrics`)).text()).toBe('snapback_x 1\n');
    const proxied = { 'x-forwarded-for': '203.0.113.9' };
    expect((await fetch(`${url}/metrics`, { headers: proxied })).status).toBe(401);
    expect((await fetch(`${url}/metrics`, { headers: { ...proxied, authorization: `Bearer ${VIEWER_KEY}` } })).status).toBe(403);
    expect((await fetch(`${url}/metrics`, { headers: { ...proxied, authorization: `Bearer ${ADMIN_KEY}` } })).status).toBe(200);
  });
});

describe('the explorer', () => {
  it('is public, complete, and asks nobody else for anything', async () => {
    const { url } = await start();
    const page = await fetch(`${url}/`);
    const html = await page.text();
    const policy = page.headers.get('content-security-policy') ?? '';
    expect(page.status).toBe(200);
    expect(html + policy).not.toMatch(/https?:\/\//);
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("script-src 'self';");
    expect(policy).not.toContain('unsafe-eval');
    expect(html).toContain(`nonce="${/'nonce-([^']+)'/.exec(policy)?.[1]}"`);
    expect(await (await fetch(`${url}/`)).text()).not.toBe(html);
    for (const [name, type] of [['boot.js', 'javascript'], ['boot.css', 'css'], ['main.js', 'javascript'], ['polyfills.js', 'javascript'], ['styles.css', 'css'], ['favicon.ico', 'icon']]) {
      const file = await fetch(`${url}/explorer/${name}`);
      expect([file.status, file.headers.get('content-type')], name).toEqual([200, expect.stringContaining(type ?? '')]);
      await file.arrayBuffer();
    }
  });
});

it('stops once, however often it is asked, and refuses new work meanwhile', async () => {
  let release: (() => void) | undefined;
  edge = await startEdge(fakeServices({
    service: {
      viewer: () => new Promise((_resolve, reject) => {
        release = () => reject(new DomainError('FORBIDDEN', 'late'));
      }),
    },
  }));
  const running = edge.ask('{ viewer { role } }');
  await expect.poll(() => release).toBeDefined();
  const stops = [edge.app.stop(5_000), edge.app.stop(5_000)];
  expect(stops[0]).toBe(stops[1]);
  release?.();
  expect((await running).status).toBe(403);
  await Promise.all(stops);
});
