import { type SettingsReader } from './reader.js';

type KeyRole = 'VIEWER' | 'OPERATOR' | 'ADMIN';

/** Whose tokens are accepted besides API keys. */
export interface OidcConfig {
  readonly issuer: string;
  readonly audience: string;
  readonly roleClaim: string;
  readonly roles: readonly { readonly value: string; readonly role: KeyRole }[];
  readonly project: string | null;
  readonly projectClaim: string;
}

const ROLES: readonly KeyRole[] = ['VIEWER', 'OPERATOR', 'ADMIN'];
const DEFAULT_ROLES: OidcConfig['roles'] = ROLES.map((role) => ({ value: role.toLowerCase(), role }));
const OTHERS = ['OIDC_AUDIENCE', 'OIDC_ROLE_CLAIM', 'OIDC_ROLES', 'OIDC_PROJECT', 'OIDC_PROJECT_CLAIM'] as const;

const issuer = (settings: SettingsReader): string | null => {
  const value = settings.text('OIDC_ISSUER');
  if (value === undefined) return null;
  const parsed = URL.canParse(value) ? new URL(value) : undefined;
  if (parsed && ['http:', 'https:'].includes(parsed.protocol) && parsed.username === '' && parsed.password === '' && parsed.search === '' && parsed.hash === '') return value;
  return settings.wrong('OIDC_ISSUER', 'must be a URL that starts with https:// or http://, exactly as it stands in the tokens', null);
};

const roles = (settings: SettingsReader): OidcConfig['roles'] => {
  const items = settings.list('OIDC_ROLES');
  if (items.length === 0) return DEFAULT_ROLES;
  const found: { value: string; role: KeyRole }[] = [];
  for (const item of items) {
    const at = item.lastIndexOf('=');
    const role = ROLES.find((name) => name === item.slice(at + 1).trim());
    const value = item.slice(0, Math.max(at, 0)).trim();
    if (!role || value === '' || found.some((other) => other.value === value)) return settings.wrong('OIDC_ROLES', 'takes each value once, with VIEWER, OPERATOR or ADMIN, such as "db-readers=VIEWER, db-admins=ADMIN"', DEFAULT_ROLES);
    found.push({ value, role });
  }
  return found;
};

/** null: API keys only. */
export const oidcSettings = (settings: SettingsReader): OidcConfig | null => {
  const given = issuer(settings);
  if (settings.text('OIDC_ISSUER') === undefined) {
    for (const name of OTHERS) if (settings.text(name) !== undefined) settings.wrong(name, 'is of no use without OIDC_ISSUER', null);
    return null;
  }
  const audience = settings.text('OIDC_AUDIENCE') ?? settings.wrong('OIDC_AUDIENCE', 'must be set where OIDC_ISSUER is: tokens for others must not be taken', '');
  const project = settings.text('OIDC_PROJECT') ?? null;
  if (project !== null && settings.text('OIDC_PROJECT_CLAIM') !== undefined) settings.wrong('OIDC_PROJECT_CLAIM', 'is of no use with OIDC_PROJECT, which names the project of all tokens', null);
  return {
    issuer: given ?? '', audience, roles: roles(settings), project,
    roleClaim: settings.text('OIDC_ROLE_CLAIM') ?? 'roles', projectClaim: settings.text('OIDC_PROJECT_CLAIM') ?? 'snapback_project',
  };
};
