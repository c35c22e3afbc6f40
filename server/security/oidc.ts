import { createHash } from 'node:crypto';
import { customFetch, createRemoteJWKSet, errors, type JWTPayload, jwtVerify, type JWTVerifyGetKey } from 'jose';
import { DomainError } from '../domain/errors.js';
import { type Principal, type Role, ROLES } from '../domain/principal.js';
import { type Log } from '../engine/ports.js';
import { type ProjectRepository } from '../services/ports.js';
import { type FetchJson } from './fetch-json.js';

export interface OidcSettings {
  /** As it stands in the tokens' `iss`, and where the provider describes itself. */
  readonly issuer: string;
  /** Must stand in the tokens' `aud`. */
  readonly audience: string;
  /** Where the roles are: names of nested claims, separated by dots. A text, texts separated by blanks, or a list of texts. */
  readonly roleClaim: string;
  /** Which role each value there grants. */
  readonly roles: readonly { readonly value: string; readonly role: Role }[];
  /** The project of all tokens, by id or name; null: the one that `projectClaim` names. */
  readonly project: string | null;
  readonly projectClaim: string;
}

export interface OidcDeps {
  settings: OidcSettings;
  projects: Pick<ProjectRepository, 'get' | 'findByName'>;
  /** Reaches the provider through the connect policy. */
  fetchJson: FetchJson;
  now(): Date;
  log: Log;
}

/** Asymmetric ones only: with a shared secret whoever checks tokens could make them. */
const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'];
/** A provider's clock may differ from ours by so much. */
const CLOCK_SECONDS = 5;
/** A provider that did not answer is not asked again before. */
const AGAIN_MS = 1_000;

/** Whether a credential has the shape of a token, which no API key has. */
export const isToken = (text: string): boolean => /^[\w-]+\.[\w-]+\.[\w-]+$/.test(text);

/** The value at a path of claims. A claim whose own name has dots, such as a URL, is found by the whole path. */
const claimAt = (claims: JWTPayload, path: string): unknown => {
  if (Object.hasOwn(claims, path)) return claims[path];
  let value: unknown = claims;
  for (const name of path.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined;
    value = (value as Record<string, unknown>)[name];
  }
  return value;
};

const textsOf = (value: unknown): string[] => {
  if (typeof value === 'string') return [value, ...value.split(' ')];
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];
};

/** The highest role that any value grants. */
const roleOf = (claims: JWTPayload, { roleClaim, roles }: OidcSettings): Role | undefined => {
  const given = new Set(textsOf(claimAt(claims, roleClaim)));
  const granted = new Set(roles.filter(({ value }) => given.has(value)).map(({ role }) => role));
  return ROLES.findLast((role) => granted.has(role));
};

/** Finds where the provider's keys are, by OpenID Connect Discovery 1.0, and has jose fetch and keep them. */
const discover = async ({ settings: { issuer }, fetchJson }: OidcDeps): Promise<JWTVerifyGetKey> => {
  const place = new URL(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`);
  const described = (await fetchJson(place)) as { issuer?: unknown; jwks_uri?: unknown } | null;
  const { issuer: itself, jwks_uri: keys } = described ?? {};
  if (itself !== issuer) throw new DomainError('PROTOCOL_ERROR', `${place.host} describes another issuer than OIDC_ISSUER.`, { hint: 'Set OIDC_ISSUER to exactly what stands there as "issuer".' });
  if (typeof keys !== 'string' || !URL.canParse(keys)) throw new DomainError('PROTOCOL_ERROR', `${place.host} does not say where its keys are.`);
  const url = new URL(keys);
  if (url.protocol !== place.protocol) throw new DomainError('PROTOCOL_ERROR', `${place.host} has its keys at an address that begins with ${url.protocol}, unlike its own.`);
  return createRemoteJWKSet(url, {
    // What jose does with an answer is up to it; how it comes here is not.
    [customFetch]: async (from) => Response.json(await fetchJson(new URL(from))),
  });
};

/**
 * Turns a token of the operator's OpenID provider into its principal; undefined for one that is not valid, not meant for this service, or grants nothing here.
 * Its rights end with it. Fails with UNAUTHENTICATED, to be tried again, when the provider cannot be asked.
 */
export const createTokenAuthenticator = (deps: OidcDeps) => {
  const { settings, projects, now, log } = deps;
  let keys: Promise<JWTVerifyGetKey> | undefined;
  let failedAt = -Infinity;

  const unavailable = (cause: unknown): DomainError => new DomainError('UNAUTHENTICATED', 'This token cannot be checked now: the OpenID provider does not answer as it should.', { hint: 'Try again later, or use an API key.', retryable: true, cause });

  const providerKeys = async (): Promise<JWTVerifyGetKey> => {
    if (performance.now() - failedAt < AGAIN_MS) throw unavailable(undefined);
    try {
      return await (keys ??= discover(deps));
    } catch (error) {
      keys = undefined;
      failedAt = performance.now();
      log.warn('The OpenID provider cannot be asked for its keys.', { error: error instanceof Error ? error.message : String(error) });
      throw unavailable(error);
    }
  };

  const verified = async (token: string): Promise<JWTPayload | undefined> => {
    const keySet = await providerKeys();
    try {
      const { payload } = await jwtVerify(token, keySet, {
        issuer: settings.issuer, audience: settings.audience, algorithms: ALGORITHMS, clockTolerance: CLOCK_SECONDS, currentDate: now(), requiredClaims: ['exp', 'sub'],
      });
      return payload;
    } catch (error) {
      // Of the keys' fetching, and not of the token.
      if (error instanceof DomainError || error instanceof errors.JWKSTimeout) throw unavailable(error);
      if (error instanceof errors.JOSEError || error instanceof TypeError) {
        log.debug('A token was refused.', { error: error.message });
        return undefined;
      }
      throw error;
    }
  };

  const projectOf = async (claims: JWTPayload) => {
    const named = settings.project ?? claimAt(claims, settings.projectClaim);
    if (typeof named !== 'string' || named.includes('\0')) return null;
    return (await projects.get(named)) ?? (await projects.findByName(named));
  };

  return async (token: string): Promise<Principal | undefined> => {
    const claims = await verified(token);
    const { sub, exp } = claims ?? {};
    if (!claims || typeof sub !== 'string' || sub === '' || exp === undefined) return undefined;
    const role = roleOf(claims, settings);
    const project = role && (await projectOf(claims));
    if (!role || !project) {
      log.debug('A valid token grants nothing here.', { role: role ?? null });
      return undefined;
    }
    const keyId = `tok_${createHash('sha256').update(JSON.stringify([settings.issuer, sub])).digest('hex').slice(0, 32)}`;
    return { credential: 'TOKEN', keyId, name: sub, projectId: project.id, role, serviceWide: false, instanceIds: null, expiresAt: new Date(exp * 1000) };
  };
};
