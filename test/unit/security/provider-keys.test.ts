import { Agent } from 'node:http';
import { Agent as TlsAgent } from 'node:https';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createFetchJson } from '../../../server/security/fetch-json.js';
import { createTokenAuthenticator } from '../../../server/security/oidc.js';
import { type ProjectRepository } from '../../../server/services/ports.js';
import { AUDIENCE, type Provider, startProvider } from '../../e2e/access/oidc.js';

const MINUTE = 60_000;
const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

describe('keys of an OpenID provider that changes them', () => {
  let provider: Provider;
  const agents = { httpAgent: new Agent(), httpsAgent: new TlsAgent() };
  beforeEach(async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    provider = await startProvider();
  });
  afterEach(async () => {
    vi.useRealTimers();
    agents.httpAgent.destroy();
    await provider.stop();
  });

  const newKey = async (kid: string) => {
    const { privateKey, publicKey } = await generateKeyPair('ES256');
    return {
      jwk: { ...(await exportJWK(publicKey)), kid, alg: 'ES256', use: 'sig' },
      sign: (signedKid = kid) => new SignJWT({ sub: 'ada', iss: provider.issuer, aud: AUDIENCE, exp: Math.floor(Date.now() / 1000) + 60, roles: 'dba', project: 'default' })
        .setProtectedHeader({ alg: 'ES256', kid: signedKid }).sign(privateKey),
    };
  };
  const authenticator = () => createTokenAuthenticator({
    settings: { issuer: provider.issuer, audience: AUDIENCE, roleClaim: 'roles', roles: [{ value: 'dba', role: 'OPERATOR' }], project: null, projectClaim: 'project' },
    projects: { get: (id: string) => Promise.resolve({ id, name: id }), findByName: () => Promise.resolve(null) } as unknown as Pick<ProjectRepository, 'get' | 'findByName'>,
    fetchJson: createFetchJson({ agents }), now: () => new Date(), log: silent,
  });
  const pass = (ms: number): void => void vi.setSystemTime(Date.now() + ms);

  it('takes a new key within half a minute, and lets go of one that was withdrawn within ten', async () => {
    const [old, fresh] = [await newKey('2025'), await newKey('2026')];
    provider.state.keys = [old.jwk];
    const principalOf = authenticator();
    expect(await principalOf(await old.sign())).toMatchObject({ role: 'OPERATOR' });

    provider.state.keys = [old.jwk, fresh.jwk];
    pass(MINUTE / 2);
    expect(await principalOf(await fresh.sign())).toMatchObject({ role: 'OPERATOR' });
    expect(await principalOf(await old.sign())).toMatchObject({ role: 'OPERATOR' });

    provider.state.keys = [fresh.jwk];
    pass(10 * MINUTE);
    expect(await principalOf(await old.sign())).toBeUndefined();
    expect(await principalOf(await fresh.sign())).toMatchObject({ role: 'OPERATOR' });
  });

  it('is asked twice a minute at most, however many tokens name keys that nobody has', async () => {
    const key = await newKey('known');
    provider.state.keys = [key.jwk];
    const principalOf = authenticator();
    expect(await principalOf(await key.sign())).toBeDefined();
    for (let i = 0; i < 50; i += 1) expect(await principalOf(await key.sign(`made-up-${String(i)}`))).toBeUndefined();
    expect(provider.state.asked).toBe(1);
    pass(MINUTE / 2);
    for (let i = 0; i < 50; i += 1) expect(await principalOf(await key.sign(`made-up-${String(i)}`))).toBeUndefined();
    expect(provider.state.asked).toBe(2);
  });
});
