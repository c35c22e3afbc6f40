import { DomainError } from '../domain/errors.js';
import { isId } from '../domain/ids.js';
import { authorise, may, type Principal } from '../domain/principal.js';
import { type Clock } from '../engine/ports.js';
import { type ApiKeyApi, type CreateApiKey } from './api.js';
import { noted } from './audit.js';
import { notAnyMore, once, recalled } from './idempotency.js';
import { lookUp, shownId } from './lookup.js';
import { checkName } from './names.js';
import { pageQuery, toPage } from './pagination.js';
import { type ApiKeyMaker, type ApiKeyRow, type Database, type Ids, type Repositories, type Scope } from './ports.js';
import { type ApiKeyRecord } from './records.js';

/** Of one key. */
const MAX_INSTANCES = 100;

export interface ApiKeyServiceDeps {
  db: Database;
  ids: Ids;
  clock: Clock;
  maker: ApiKeyMaker;
}

const missing = (id: string): DomainError => new DomainError('NOT_FOUND', `There is no API key ${shownId(id)}.`, { field: ['apiKeyId'] });
const refused = (field: string, message: string): DomainError => new DomainError('BAD_INPUT', message, { field: [field] });

const shown = ({ secretHash: _hash, ...key }: ApiKeyRow): ApiKeyRecord => key;

/** The project whose keys are meant: the caller's own unless it may name others. */
export const projectOf = async (repositories: Repositories, caller: Principal, given: string | null | undefined): Promise<Scope> => {
  if (given == null || given === caller.projectId) return { projectId: caller.projectId };
  const project = may(caller, 'govern') ? await lookUp('project', given, (id) => repositories.projects.get(id)) : null;
  if (!project) throw new DomainError('NOT_FOUND', `There is no project ${shownId(given)}.`, { field: ['projectId'] });
  return { projectId: project.id };
};

/** The key's project, when the caller has a say in it; another project's key is not there. */
const reachedKey = async (repositories: Repositories, caller: Principal, id: string): Promise<ApiKeyRecord | null> => {
  const projectId = may(caller, 'govern') ? await repositories.apiKeys.projectOf(id) : caller.projectId;
  return projectId === null ? null : repositories.apiKeys.get({ projectId }, id);
};

/** What no key may be, whoever makes it. */
const checkRights = ({ role, serviceWide, instanceIds, expiresAt }: CreateApiKey, now: Date): void => {
  if (serviceWide && role === 'OPERATOR') throw refused('role', 'A service-wide key is a VIEWER, which sees metrics and projects, or an ADMIN.');
  if (expiresAt != null && expiresAt <= now) throw refused('expiresAt', 'A key must expire in the future.');
  if (instanceIds == null) return;
  if (serviceWide) throw refused('instanceIds', 'A service-wide key cannot be limited to instances.');
  if (role === 'ADMIN') throw refused('instanceIds', 'An ADMIN makes keys for the whole project, so it cannot be limited to instances.');
  if (instanceIds.length < 1 || instanceIds.length > MAX_INSTANCES) throw refused('instanceIds', `A key is limited to 1 to ${MAX_INSTANCES} instances, or to none.`);
};

const checkInstances = async (tx: Repositories, scope: Scope, ids: readonly string[]): Promise<void> => {
  const found = new Set((await tx.instances.getMany(scope, ids.filter((id) => isId('instance', id)))).map(({ id }) => id));
  const unknown = ids.find((id) => !found.has(id));
  if (unknown !== undefined) throw new DomainError('NOT_FOUND', `There is no instance ${shownId(unknown)}.`, { field: ['instanceIds'] });
};

export const createApiKeyService = ({ db, ids, clock, maker }: ApiKeyServiceDeps): ApiKeyApi => ({
  async get(caller, id) {
    authorise(caller, 'administer');
    return reachedKey(db.read, caller, id);
  },

  async list(caller, { projectId, validOnly }, page) {
    authorise(caller, 'administer');
    const scope = await projectOf(db.read, caller, projectId);
    const filter = { validAt: validOnly ? clock.now() : null };
    const query = pageQuery('apiKeys', page);
    return toPage('apiKeys', query, await db.read.apiKeys.list(scope, filter, query), () => db.read.apiKeys.count(scope, filter));
  },

  async create(caller, input) {
    authorise(caller, 'administer');
    // Nobody gives what it has not got: service-wide rights come from those who have them.
    if (input.serviceWide) authorise(caller, 'govern');
    const createdAt = clock.now();
    const { name, role, serviceWide, expiresAt = null } = input;
    checkName(name);
    const instanceIds = input.instanceIds ? [...new Set(input.instanceIds)].sort() : null;
    const id = ids.make('apiKey');
    const { text, secretHash, seed } = maker.make(id);
    return db.transaction(async (tx) => {
      const { projectId } = await projectOf(tx, caller, input.projectId);
      const asked = { name, role, serviceWide, projectId, instanceIds, expiresAt };
      const call = { mutation: 'createApiKey', key: input.idempotencyKey, input: asked, by: caller.keyId, ids: { apiKey: id, seed }, at: createdAt };
      return once(tx, caller, call, async () => {
        checkRights(input, createdAt);
        if (instanceIds) await checkInstances(tx, { projectId }, instanceIds);
        const key: ApiKeyRow = { id, projectId, name, role, serviceWide, instanceIds, createdAt, expiresAt, revokedAt: null, lastUsedAt: null, secretHash };
        await tx.apiKeys.insert(key);
        await noted(tx, caller, { projectId, action: 'API_KEY_CREATED', objectId: id, details: { name, role, serviceWide, limited: instanceIds !== null }, at: createdAt });
        return { apiKey: shown(key), token: text };
      }, async (earlier) => {
        // By an id of ours, and with its hash: the seed is proved by it.
        const key = recalled(await tx.apiKeys.findForLogin(earlier['apiKey'] ?? ''));
        if (key.revokedAt !== null) throw notAnyMore('was revoked');
        if (key.expiresAt !== null && key.expiresAt <= createdAt) throw notAnyMore('has expired');
        const token = maker.makeAgain(key, earlier['seed'] ?? '');
        if (token === undefined) throw notAnyMore('cannot be shown any more: the master key has been changed since');
        return { apiKey: shown(key), token };
      });
    });
  },

  async revoke(caller, { apiKeyId, idempotencyKey }) {
    authorise(caller, 'administer');
    const now = clock.now();
    const call = { mutation: 'revokeApiKey', key: idempotencyKey, input: { apiKeyId }, ids: {}, at: now };
    return db.transaction((tx) => once(tx, caller, call, async () => {
      const key = await lookUp('apiKey', apiKeyId, (id) => reachedKey(tx, caller, id));
      if (!key) throw missing(apiKeyId);
      // A project's administrator cannot take the service from its own.
      if (key.serviceWide) authorise(caller, 'govern');
      const lasting = key.serviceWide ? await tx.apiKeys.lockLasting() : [];
      if (lasting.length === 1 && lasting[0] === key.id) {
        throw new DomainError('CONFLICT', `"${key.name}" is the last service-wide ADMIN key that does not expire: without one nobody could make another.`, {
          hint: 'Make another one first.', field: ['apiKeyId'],
        });
      }
      if (!(await tx.apiKeys.revoke(key, key.id, now))) return (await tx.apiKeys.get(key, key.id)) ?? key;
      await noted(tx, caller, { projectId: key.projectId, action: 'API_KEY_REVOKED', objectId: key.id, details: { name: key.name }, at: now });
      return { ...key, revokedAt: now };
    }, async () => recalled(await reachedKey(tx, caller, apiKeyId))));
  },
});
