import type { Connection } from './connection.js';
import { CreateApiKeyDocument, CreateProjectDocument, ListApiKeysDocument, ListProjectsDocument, RevokeApiKeyDocument } from './generated/access.documents.js';
import { ListAuditEventsDocument } from './generated/audit.documents.js';
import type {
  ApiKeyFilter, ApiKeyFragment, AuditEventFilter, AuditEventFragment, CreateApiKeyInput, CreateProjectInput, ProjectFragment,
} from './generated/operations.js';
import { createList, splitListInput, type List, type ListOptions } from './list.js';
import type { CallOptions } from './options.js';
import type { Loaded } from './nouns.js';
import type { Tries } from './outcome.js';
import { fulfilled, idOf, keyed, type Ref } from './payload.js';

export interface ProjectMutations {
  create(input: CreateProjectInput, options?: CallOptions): Promise<ProjectFragment>;
}

/** Tenants, for service-wide keys. */
export interface Projects extends ProjectMutations, Tries<ProjectMutations> {
  list(input?: ListOptions, options?: CallOptions): List<ProjectFragment>;
}

export interface ApiKeyAndToken {
  apiKey: ApiKeyFragment;
  /** The key itself: given here alone. */
  token: string;
}

export interface ApiKeyMutations {
  /** Whoever calls again with its idempotency key, within 24 hours and by the same API key, is given the same key and token. */
  create(input: CreateApiKeyInput, options?: CallOptions): Promise<ApiKeyAndToken>;
  /** One that was revoked already is given as it is. */
  revoke(apiKey: Ref, options?: CallOptions): Promise<ApiKeyFragment>;
}

/** Who is let in, for administrators. */
export interface ApiKeys extends ApiKeyMutations, Tries<ApiKeyMutations> {
  /** Revoked and expired ones too, unless `validOnly`. */
  list(filter?: ApiKeyFilter & ListOptions, options?: CallOptions): List<ApiKeyFragment>;
}

/** Who did what, for administrators. */
export interface Audit {
  list(filter?: AuditEventFilter & ListOptions, options?: CallOptions): List<AuditEventFragment>;
}

export const createAudit = (connection: Connection): Audit => ({
  list: (input = {}, options) => {
    const { filter, list } = splitListInput<AuditEventFilter>(input);
    return createList('ListAuditEvents', list, async (page) => (await connection.execute(ListAuditEventsDocument, { filter, ...page }, options)).auditEvents);
  },
});

export const createProjects = (connection: Connection): Loaded<Projects> => ({
  list: (input = {}, options) => createList('ListProjects', input, async (page) => (await connection.execute(ListProjectsDocument, page, options)).projects),
  create: async (input, options) => fulfilled('createProject', (await connection.execute(CreateProjectDocument, { input }, keyed(options, input))).createProject).project,
});

export const createApiKeys = (connection: Connection): Loaded<ApiKeys> => ({
  list: (input = {}, options) => {
    const { filter, list } = splitListInput<ApiKeyFilter>(input);
    return createList('ListApiKeys', list, async (page) => (await connection.execute(ListApiKeysDocument, { filter, ...page }, options)).apiKeys);
  },
  create: async (input, options) => fulfilled('createApiKey', (await connection.execute(CreateApiKeyDocument, { input }, keyed(options, input))).createApiKey),
  revoke: async (apiKey, options) =>
    fulfilled('revokeApiKey', (await connection.execute(RevokeApiKeyDocument, { input: { apiKeyId: idOf(apiKey) } }, keyed(options))).revokeApiKey).apiKey,
});
