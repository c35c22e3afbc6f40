import { type Connection } from './connection.js';
import {
  CreateApiKeyDocument, CreateProjectDocument, ListApiKeysDocument, ListAuditEventsDocument, ListProjectsDocument, RevokeApiKeyDocument,
  type ApiKeyFilter, type ApiKeyFragment, type AuditEventFilter, type AuditEventFragment, type CreateApiKeyInput, type CreateProjectInput, type ProjectFragment,
} from './generated/operations.js';
import { createList, splitListInput, type List, type ListOptions } from './list.js';
import { type CallOptions } from './options.js';
import { fulfilled, idOf, type Ref } from './payload.js';

/** Tenants, for service-wide keys. */
export interface Projects {
  list(input?: ListOptions, options?: CallOptions): List<ProjectFragment>;
  create(input: CreateProjectInput, options?: CallOptions): Promise<ProjectFragment>;
}

export interface ApiKeyAndToken {
  apiKey: ApiKeyFragment;
  /** The key itself: given here, and never again. */
  token: string;
}

/** Who is let in, for administrators. */
export interface ApiKeys {
  /** Revoked and expired ones too, unless `validOnly`. */
  list(filter?: ApiKeyFilter & ListOptions, options?: CallOptions): List<ApiKeyFragment>;
  /** Not repeated after a fault: a key whose answer was lost stands in the list, and nobody has it. Revoke it, and make another. */
  create(input: CreateApiKeyInput, options?: CallOptions): Promise<ApiKeyAndToken>;
  /** One that was revoked already is given as it is. */
  revoke(apiKey: Ref, options?: CallOptions): Promise<ApiKeyFragment>;
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

export const createProjects = (connection: Connection): Projects => ({
  list: (input = {}, options) => createList('ListProjects', input, async (page) => (await connection.execute(ListProjectsDocument, page, options)).projects),
  create: async (input, options) => fulfilled('createProject', (await connection.execute(CreateProjectDocument, { input }, options)).createProject).project,
});

export const createApiKeys = (connection: Connection): ApiKeys => ({
  list: (input = {}, options) => {
    const { filter, list } = splitListInput<ApiKeyFilter>(input);
    return createList('ListApiKeys', list, async (page) => (await connection.execute(ListApiKeysDocument, { filter, ...page }, options)).apiKeys);
  },
  create: async (input, options) => fulfilled('createApiKey', (await connection.execute(CreateApiKeyDocument, { input }, options)).createApiKey),
  revoke: async (apiKey, options) =>
    fulfilled('revokeApiKey', (await connection.execute(RevokeApiKeyDocument, { input: { apiKeyId: idOf(apiKey) } }, options)).revokeApiKey).apiKey,
});
