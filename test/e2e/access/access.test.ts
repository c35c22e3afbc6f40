import { afterAll, beforeAll } from 'vitest';
import { startService, type TestService } from '../../kit/service.js';
import { whoDidWhat } from './audit.js';
import { projectsAndKeys } from './keys.js';
import { whoMayDoWhat } from './matrix.js';
import { AUDIENCE, type Provider, startProvider, tokensOfAProvider } from './oidc.js';

/** One service for all of it: what it takes to start one is more than what most of this takes. Nothing that is asked for is carried out. */
let service: TestService;
let provider: Provider;
const MASTER_KEY = 'cd'.repeat(32);

beforeAll(async () => {
  provider = await startProvider();
  service = await startService({
    env: { ROLE: 'api', MASTER_KEY, OIDC_ISSUER: provider.issuer, OIDC_AUDIENCE: AUDIENCE, OIDC_ROLE_CLAIM: 'realm.roles', OIDC_ROLES: 'readers=VIEWER, dba=OPERATOR,root=ADMIN' },
  });
});
afterAll(async () => {
  await service?.stop();
  await provider?.stop();
});

// In this order: the audit counts from the beginning, and the last one takes the first key away.
whoDidWhat(() => service, MASTER_KEY);
tokensOfAProvider(() => service, () => provider);
whoMayDoWhat(() => service);
projectsAndKeys(() => service);
