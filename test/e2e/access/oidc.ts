import { createServer, type Server } from 'node:http';
import { type AddressInfo } from 'node:net';
import { exportJWK, exportSPKI, generateKeyPair, type JWK, SignJWT, type CryptoKey, UnsecuredJWT } from 'jose';
import { beforeAll, describe, expect, it } from 'vitest';
import WebSocket from 'ws';
import { createClient } from '@snapback/sdk';
import { type TestService } from '../../kit/service.js';
import { waitFor } from '../../kit/wait.js';
import { caught } from '../scene.js';

export const AUDIENCE = 'snapback';

/** A provider with a discovery document and keys that can be exchanged. */
export const startProvider = async () => {
  const state = { keys: [] as JWK[], asked: 0, broken: false };
  let url = '';
  const server: Server = createServer((req, res) => {
    if (req.url === '/keys') state.asked += 1;
    const body = req.url === '/realm/.well-known/openid-configuration' ? { issuer: `${url}/realm`, jwks_uri: `${url}/keys` } : req.url === '/keys' ? { keys: state.keys } : undefined;
    res.writeHead(state.broken || !body ? 503 : 200, { 'content-type': 'application/json' }).end(JSON.stringify(body ?? {}));
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { state, issuer: `${url}/realm`, stop: () => new Promise((done) => server.close(done)) };
};

export type Provider = Awaited<ReturnType<typeof startProvider>>;

export const tokensOfAProvider = (started: () => TestService, startedProvider: () => Provider): void => void describe('tokens of an OpenID provider', () => {
  let provider: Provider;
  let service: TestService;
  let privateKey: CryptoKey;
  let publicKey: CryptoKey;
  beforeAll(async () => {
    [service, provider] = [started(), startedProvider()];
    ({ privateKey, publicKey } = await generateKeyPair('ES256'));
    provider.state.keys.push({ ...(await exportJWK(publicKey)), kid: 'one', alg: 'ES256', use: 'sig' });
  });

  interface Claims {
    sub?: string;
    iss?: string;
    aud?: string;
    exp?: number;
    nbf?: number;
    realm?: unknown;
    snapback_project?: unknown;
  }
  const now = (): number => Math.floor(Date.now() / 1000);
  const claims = (over: Claims = {}) => ({ sub: 'ada@example.com', iss: provider.issuer, aud: AUDIENCE, exp: now() + 60, realm: { roles: ['other', 'dba'] }, snapback_project: 'default', ...over });
  const sign = (over: Claims = {}, { kid = 'one', key = privateKey } = {}): Promise<string> => new SignJWT(claims(over)).setProtectedHeader({ alg: 'ES256', kid }).sign(key);
  const viewerOf = (token: string) => createClient({ url: service.url, token }).viewer();

  it('are somebody, in the project and the role that they say', async () => {
    const exp = now() + 60;
    const { project } = await service.sdk.viewer();
    const viewer = await viewerOf(await sign({ exp }));
    expect(viewer).toEqual({
      credential: 'TOKEN', keyId: expect.stringMatching(/^tok_[0-9a-f]{32}$/) as string, keyName: 'ada@example.com', role: 'OPERATOR', serviceWide: false, instanceIds: null, expiresAt: new Date(exp * 1000).toISOString(), project,
    });
    expect((await viewerOf(await sign({ realm: { roles: 'readers root' }, snapback_project: project.id }))).role).toBe('ADMIN');
    expect((await viewerOf(await sign({ sub: 'bob' }))).keyId).not.toBe(viewer.keyId);
    // What such a caller does is noted under its name.
    const root = createClient({ url: service.url, token: await sign({ realm: { roles: ['root'] } }) });
    await root.apiKeys.create({ name: 'by ada', role: 'VIEWER' });
    expect(await service.sdk.audit.list({ actorId: viewer.keyId }).first()).toMatchObject({ action: 'API_KEY_CREATED', credential: 'TOKEN', actorName: 'ada@example.com', address: '127.0.0.1' });
    expect(provider.state.asked).toBe(1);
  });

  it('are nobody when anything about them is wrong', async () => {
    const stranger = await generateKeyPair('ES256');
    const shared = new TextEncoder().encode(await exportSPKI(publicKey));
    const [head = '', body = '', signature = ''] = (await sign()).split('.');
    const edited = Buffer.from(JSON.stringify(claims({ realm: { roles: ['root'] } }))).toString('base64url');
    const wrong: Record<string, string> = {
      expired: await sign({ exp: now() - 10 }), 'not yet valid': await sign({ nbf: now() + 60 }), 'for another service': await sign({ aud: 'other' }), 'of another issuer': await sign({ iss: 'https://elsewhere.example' }),
      'without an end': await new SignJWT({ ...claims(), exp: undefined } as never).setProtectedHeader({ alg: 'ES256', kid: 'one' }).sign(privateKey),
      'without a subject': await sign({ sub: '' }), 'without a role': await sign({ realm: { roles: ['other'] } }), 'with a role that nobody has': await sign({ realm: { roles: ['__proto__', 'constructor'] } }),
      'without a project': await sign({ snapback_project: undefined as never }), 'of no project': await sign({ snapback_project: 'prj_unknown' }), 'of a NUL project': await sign({ snapback_project: 'a\0' }),
      'signed by somebody else': await sign({}, { key: stranger.privateKey }), 'with an unknown key': await sign({}, { kid: 'two' }),
      'signed with the public key': await new SignJWT(claims()).setProtectedHeader({ alg: 'HS256', kid: 'one' }).sign(shared),
      'not signed': new UnsecuredJWT(claims()).setIssuer(provider.issuer).setAudience(AUDIENCE).encode(), 'with the signature of another': `${head}.${edited}.${signature}`, 'cut off': `${head}.${body}.${signature.slice(0, -4)}`, nonsense: 'eyJhbGciOiJ.eyJzdWI.x',
    };
    for (const [what, token] of Object.entries(wrong)) expect(await caught(viewerOf(token)), what).toMatchObject({ code: 'UNAUTHENTICATED' });
    expect(service.logs()).not.toContain(body);
    for (const token of Object.values(wrong)) expect(service.logs()).not.toContain(token);
  });

  it('end their sockets with themselves', async () => {
    const exp = now() + 2;
    const token = await sign({ exp });
    const socket = new WebSocket(`${service.url.replace('http', 'ws')}/graphql`, 'graphql-transport-ws');
    const closed = new Promise<{ code: number; late: number }>((done) => socket.once('close', (code) => done({ code, late: Date.now() / 1000 - exp })));
    socket.once('open', () => socket.send(JSON.stringify({ type: 'connection_init', payload: { authorization: `Bearer ${token}` } })));
    const { code, late } = await closed;
    expect(code).toBe(4403);
    expect(late).toBeGreaterThanOrEqual(0);
    expect(late).toBeLessThan(60);
  });

  it('are refused for now when a provider that was never reached does not answer, and keys are not', async () => {
    provider.state.broken = true;
    await service.restart();
    expect(await caught(viewerOf(await sign()))).toMatchObject({ code: 'UNAUTHENTICATED' });
    expect(await service.sdk.viewer()).toMatchObject({ role: 'ADMIN' });
    provider.state.broken = false;
    expect(await waitFor(() => sign().then(viewerOf).catch(() => null))).toMatchObject({ credential: 'TOKEN' });
  });
});
