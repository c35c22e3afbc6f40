import { type EntityManager, In, IsNull, type SelectQueryBuilder } from 'typeorm';
import { type ApiKeyRepository, type IdempotencyRepository, type ProjectRepository, type Scope, type SettingRepository } from '../../services/ports.js';
import { type ApiKeyFilter, type ApiKeyRecord } from '../../services/records.js';
import { ApiKeyEntity } from '../entities/api-key.entity.js';
import { ProjectEntity } from '../entities/project.entity.js';
import { ServiceSettingEntity } from '../entities/service-setting.entity.js';
import { columnsOf, type PartReader, partReader } from '../parts.js';
import { EVENTS_CHANNEL } from './job-event.repository.js';
import { countUpTo, fetchPage } from './page.js';

export const createProjectRepository = (manager: EntityManager): ProjectRepository => ({
  get: (id) => manager.findOneBy(ProjectEntity, { id }),
  findByName: (name) => manager.findOneBy(ProjectEntity, { name }),
  list: (page) => fetchPage(manager.createQueryBuilder(ProjectEntity, 'p'), page, (project) => project),
  count: () => countUpTo(manager.createQueryBuilder(ProjectEntity, 'p')),
  async insert({ id, name, createdAt }) {
    const inserted: unknown[] = await manager.query('INSERT INTO projects (id, name, created_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING RETURNING 1', [id, name, createdAt]);
    return inserted.length > 0;
  },
});

const toRecord = ({ secretHash: _hash, ...key }: ApiKeyEntity): ApiKeyRecord => key;

/** @param announced told of what is announced at the commit */
let reader: PartReader<ApiKeyEntity> | undefined;

const keyReader = (manager: EntityManager): PartReader<ApiKeyEntity> => {
  const all = columnsOf(manager, ApiKeyEntity);
  return (reader ??= partReader<ApiKeyEntity>({ alias: 'k', prefix: 'k_', all: all.values(), wanted: new Set(all.keys()) }));
};

export const createApiKeyRepository = (manager: EntityManager, announced: (topics: readonly string[]) => void): ApiKeyRepository => {
  const filtered = ({ projectId }: Scope, { validAt }: ApiKeyFilter): SelectQueryBuilder<ApiKeyEntity> => {
    const query = manager.createQueryBuilder(ApiKeyEntity, 'k').where('k.projectId = :projectId', { projectId });
    return validAt ? query.andWhere('k.revokedAt IS NULL AND (k.expiresAt IS NULL OR k.expiresAt > :validAt)', { validAt }) : query;
  };
  return {
    // Of every request: the entity manager takes several times as long to put the same statement together.
    async findForLogin(id) {
      const { columns, read } = keyReader(manager);
      const [row]: Record<string, unknown>[] = await manager.query(`SELECT ${columns.join(', ')} FROM api_keys k WHERE k.id = $1`, [id]);
      return row ? read(row) : null;
    },
    standing: (ids) =>
      manager.find(ApiKeyEntity, {
        select: { id: true, projectId: true, role: true, serviceWide: true, instanceIds: true, expiresAt: true }, where: { id: In([...ids]), revokedAt: IsNull() },
      }),
    async touch(id, at) {
      await manager.query(`UPDATE api_keys SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at <= $2::timestamptz - interval '1 minute')`, [id, at]);
    },
    async get({ projectId }, id) {
      const key = await manager.findOneBy(ApiKeyEntity, { projectId, id });
      return key && toRecord(key);
    },
    list: (scope, filter, page) => fetchPage(filtered(scope, filter), page, toRecord),
    count: (scope, filter) => countUpTo(filtered(scope, filter)),
    async insert(key) {
      await manager.insert(ApiKeyEntity, { ...key, instanceIds: key.instanceIds && [...key.instanceIds] });
    },
    async revoke({ projectId }, id, at) {
      const [rows]: [unknown[], number] = await manager.query(
        'UPDATE api_keys SET revoked_at = $3 WHERE project_id = $1 AND id = $2 AND revoked_at IS NULL RETURNING id', [projectId, id, at],
      );
      if (rows.length === 0) return false;
      await manager.query(`SELECT pg_notify('${EVENTS_CHANNEL}', $1)`, [id]);
      announced([id]);
      return true;
    },
    async lockLasting() {
      const rows: { id: string }[] = await manager.query(
        `SELECT id FROM api_keys WHERE service_wide AND role = 'ADMIN' AND revoked_at IS NULL AND expires_at IS NULL ORDER BY id FOR UPDATE`,
      );
      return rows.map(({ id }) => id);
    },
    projectOf: async (id) => (await manager.findOne(ApiKeyEntity, { select: { id: true, projectId: true }, where: { id } }))?.projectId ?? null,
  };
};

/** How long a key is remembered; after that the same key may be used anew. */
const KEPT = "interval '24 hours'";

export const createIdempotencyRepository = (manager: EntityManager): IdempotencyRepository => ({
  async find(scope, { mutation, key, at }) {
    const [row]: { input_hash: string; result: Record<string, string> }[] = await manager.query(
      `SELECT input_hash, result FROM idempotency_keys WHERE project_id = $1 AND mutation = $2 AND key = $3 AND created_at >= $4::timestamptz - ${KEPT}`,
      [scope.projectId, mutation, key, at],
    );
    return row ? { inputHash: row.input_hash, result: row.result } : null;
  },
  async claim(scope, { mutation, key, inputHash, result, at }) {
    // The unique index makes a racing second call wait for the first one's commit. A row past its time is taken over.
    const claimed: unknown[] = await manager.query(
      `INSERT INTO idempotency_keys (project_id, mutation, key, input_hash, result, created_at) VALUES ($1, $2, $3, $4, $5, $6)
       ON CONFLICT (project_id, mutation, key) DO UPDATE SET input_hash = excluded.input_hash, result = excluded.result, created_at = excluded.created_at
         WHERE idempotency_keys.created_at < excluded.created_at - ${KEPT}
       RETURNING 1`,
      [scope.projectId, mutation, key, inputHash, JSON.stringify(result), at],
    );
    if (claimed.length > 0) return null;
    const [row]: { input_hash: string; result: Record<string, string> }[] = await manager.query(
      'SELECT input_hash, result FROM idempotency_keys WHERE project_id = $1 AND mutation = $2 AND key = $3',
      [scope.projectId, mutation, key],
    );
    if (!row) throw new Error(`Idempotency key of ${mutation} vanished between insert and read`);
    return { inputHash: row.input_hash, result: row.result };
  },
  async keep(scope, { mutation, key, result }) {
    await manager.query('UPDATE idempotency_keys SET result = $4 WHERE project_id = $1 AND mutation = $2 AND key = $3', [scope.projectId, mutation, key, JSON.stringify(result)]);
  },
  async forgetOld(limit) {
    // Twice their time: keys are judged by the callers' nodes' clocks, this by the database's.
    await manager.query(
      `DELETE FROM idempotency_keys WHERE ctid IN (SELECT ctid FROM idempotency_keys WHERE created_at < clock_timestamp() - 2 * ${KEPT} LIMIT $1)`, [limit],
    );
  },
});

export const createSettingRepository = (manager: EntityManager): SettingRepository => {
  const get = async (name: string): Promise<string | null> => (await manager.findOneBy(ServiceSettingEntity, { name }))?.value ?? null;
  return {
    get,
    async claim(name, value) {
      const inserted: unknown[] = await manager.query('INSERT INTO service_settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING RETURNING 1', [name, value]);
      return { value: (await get(name)) ?? value, first: inserted.length > 0 };
    },
    async put(name, value) {
      await manager.query('INSERT INTO service_settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value', [name, value]);
    },
  };
};
