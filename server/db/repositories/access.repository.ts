import { type EntityManager } from 'typeorm';
import { type ApiKeyRepository, type IdempotencyRepository, type ProjectRepository, type SettingRepository } from '../../services/ports.js';
import { ApiKeyEntity } from '../entities/api-key.entity.js';
import { ProjectEntity } from '../entities/project.entity.js';
import { ServiceSettingEntity } from '../entities/service-setting.entity.js';

export const createProjectRepository = (manager: EntityManager): ProjectRepository => ({
  get: (id) => manager.findOneBy(ProjectEntity, { id }),
  async insert(project) {
    await manager.insert(ProjectEntity, project);
  },
});

export const createApiKeyRepository = (manager: EntityManager): ApiKeyRepository => ({
  findForLogin: (id) => manager.findOneBy(ApiKeyEntity, { id }),
  async insert(key) {
    await manager.insert(ApiKeyEntity, key);
  },
  count: () => manager.count(ApiKeyEntity),
});

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
