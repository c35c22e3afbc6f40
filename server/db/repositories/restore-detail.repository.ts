import { type EntityManager, In } from 'typeorm';
import { type RestoreDetail, type RestoreDetailRepository } from '../../services/ports.js';
import { RestoreDetailEntity } from '../entities/restore-detail.entity.js';

export const createRestoreDetailRepository = (manager: EntityManager): RestoreDetailRepository => ({
  async get({ projectId }, ownerId) {
    return (await manager.findOneBy(RestoreDetailEntity, { projectId, ownerId }))?.sealed ?? null;
  },
  getMany: ({ projectId }, ownerIds) => manager.findBy(RestoreDetailEntity, { projectId, ownerId: In([...ownerIds]) }),
  async put({ projectId }, { ownerId, sealed, at }) {
    await manager.upsert(RestoreDetailEntity, { ownerId, projectId, sealed, createdAt: at }, ['ownerId']);
  },
  notUnder: (keyId, afterId, limit): Promise<RestoreDetail[]> =>
    // Bytes 2 to 9 of what is sealed name its master key.
    manager.query(
      `SELECT owner_id AS "ownerId", project_id AS "projectId", sealed FROM restore_details
       WHERE substring(sealed FROM 2 FOR 8) <> convert_to($1, 'UTF8') AND owner_id > $2 ORDER BY owner_id LIMIT $3`,
      [keyId, afterId, limit],
    ),
  async reseal({ ownerId, sealed: from }, to) {
    const [, affected]: [unknown, number] = await manager.query('UPDATE restore_details SET sealed = $3 WHERE owner_id = $1 AND sealed = $2', [ownerId, from, to]);
    return affected === 1;
  },
  async forgetOld(limit) {
    await manager.query(
      `DELETE FROM restore_details WHERE owner_id IN (SELECT owner_id FROM restore_details WHERE created_at < clock_timestamp() - interval '30 days' ORDER BY created_at LIMIT $1)`, [limit],
    );
  },
});
