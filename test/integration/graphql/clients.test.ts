import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { createClient, isSnapbackError, type WebSocketConstructor } from '../../../sdk/src/index.js';
import { ADMIN_KEY, type Edge, fakeServices, startEdge } from './edge.js';

const PAGE = 'https://dash.example.com';
let edge: Edge;
beforeAll(async () => {
  edge = await startEdge(fakeServices({ apiKeys: { get: async () => null } }), { allowedOrigins: [PAGE] });
});
afterAll(() => edge.stop());

const send = (path: string, init: RequestInit): Promise<Response> => fetch(`${edge.url}${path}`, init);
const asked = (headers: Record<string, string>): Promise<Response> =>
  send('/graphql', { method: 'POST', headers: { 'content-type': 'application/json', authorization: `Bearer ${ADMIN_KEY}`, ...headers }, body: '{"query":"{ __typename }"}' });

describe('pages of other origins', () => {
  const preflight = (origin: string, path = '/graphql'): Promise<Response> =>
    send(path, { method: 'OPTIONS', headers: { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization,content-type,x-snapback-sdk,x-tenant' } });

  it.each(['/graphql', '/downloads/x'])('that are listed may ask %s, with headers of their own', async (path) => {
    const { status, headers } = await preflight(PAGE, path);
    expect(status).toBe(204);
    expect(headers.get('access-control-allow-origin')).toBe(PAGE);
    expect(headers.get('access-control-allow-headers')).toBe('authorization,content-type,x-snapback-sdk,x-tenant');
    expect(headers.get('access-control-allow-credentials')).toBeNull();
    expect(headers.get('vary')).toBe('Origin');
  });

  it('that are listed may read what the SDK reads, of refusals too', async () => {
    const answers = [await asked({ origin: PAGE }), await asked({ origin: PAGE, authorization: 'Bearer sb_wrong' }), await send('/downloads/x', { headers: { origin: PAGE } })];
    expect(answers.map(({ status }) => status)).toEqual([200, 401, 404]);
    for (const { headers } of answers) {
      expect(headers.get('access-control-allow-origin')).toBe(PAGE);
      for (const name of ['x-request-id', 'retry-after', 'etag', 'content-range', 'x-snapback-sdk-majors']) expect(headers.get('access-control-expose-headers')).toContain(name);
    }
  });

  it('that are not may not', async () => {
    for (const origin of ['https://evil.example.com', `${PAGE}.evil.com`, 'null', PAGE.toUpperCase(), PAGE.replace('https:', 'http:'), `${PAGE}:8443`, `${PAGE}/`, `https://x@${new URL(PAGE).host}`]) {
      expect((await preflight(origin)).headers.get('access-control-allow-origin')).toBeNull();
      expect((await asked({ origin })).headers.get('access-control-allow-origin')).toBeNull();
    }
  });
});

describe('SDKs', () => {
  it('are told on every answer which majors are known, and refused when theirs is not', async () => {
    for (const version of ['0.1.0', '0.99.7-rc.1', 'something', '']) expect((await asked({ 'x-snapback-sdk': version })).status).toBe(200);
    const refused = await asked({ 'x-snapback-sdk': '7.0.0', authorization: '' });
    expect(refused.status).toBe(400);
    expect(refused.headers.get('x-snapback-sdk-majors')).toBe('0');
    expect(await refused.json()).toMatchObject({ errors: [{ extensions: { code: 'SDK_UNSUPPORTED', hint: 'Use @snapback/sdk of version 0.' } }] });
  });

  it('of an unknown major say so as an error with its code, over HTTP and over the socket', async () => {
    /** As the next major would, over both transports. */
    class Newer extends WebSocket {
      override send(data: string): void {
        super.send(data.replace(/"sdk":"[^"]*"/, '"sdk":"7.0.0"'));
      }
    }
    const client = createClient({
      url: edge.url, token: ADMIN_KEY, webSocket: Newer as unknown as WebSocketConstructor,
      fetch: (url, init) => {
        const headers = new Headers(init?.headers);
        headers.set('x-snapback-sdk', '7.0.0');
        return fetch(url, { ...init, headers });
      },
    });
    for (const call of [() => client.viewer(), () => client.jobs.watch('job_1').next()]) {
      const error: unknown = await call().then(() => undefined, (reason: unknown) => reason);
      expect(isSnapbackError(error) && error.kind === 'graphql' && error.code === 'SDK_UNSUPPORTED' && error.hint !== undefined).toBe(true);
    }
  });
});
