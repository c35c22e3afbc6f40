import { type EntityManager } from 'typeorm';
import { type LinkRepository } from '../../services/ports.js';

export const createLinkRepository = (manager: EntityManager): LinkRepository => ({
  async insert({ linkId, projectId, backupId, keyId, singleUse, createdAt, expiresAt }) {
    await manager.query(
      'INSERT INTO download_links (id, project_id, backup_id, key_id, single_use, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)',
      [linkId, projectId, backupId, keyId, singleUse, createdAt, expiresAt],
    );
  },
  async get({ projectId }, linkId) {
    const [row]: NonNullable<Awaited<ReturnType<LinkRepository['get']>>>[] = await manager.query(
      `SELECT id AS "linkId", project_id AS "projectId", backup_id AS "backupId", key_id AS "keyId", single_use AS "singleUse", created_at AS "createdAt",
         expires_at AS "expiresAt", used_at AS "usedAt", revoked_at AS "revokedAt"
       FROM download_links WHERE id = $1 AND project_id = $2`, [linkId, projectId],
    );
    return row ?? null;
  },
  async stands({ projectId }, { linkId, backupId }) {
    const found: unknown[] = await manager.query(
      'SELECT 1 FROM download_links WHERE id = $1 AND project_id = $2 AND backup_id = $3 AND revoked_at IS NULL AND NOT (single_use AND used_at IS NOT NULL)', [linkId, projectId, backupId],
    );
    return found.length > 0;
  },
  async use({ projectId }, { linkId, backupId }, at) {
    // A link for any number of uses is told apart from the others without being written to.
    const [, used]: [unknown, number] = await manager.query(
      'UPDATE download_links SET used_at = $4 WHERE id = $1 AND project_id = $2 AND backup_id = $3 AND single_use AND used_at IS NULL AND revoked_at IS NULL', [linkId, projectId, backupId, at],
    );
    if (used > 0) return true;
    const found: unknown[] = await manager.query(
      'SELECT 1 FROM download_links WHERE id = $1 AND project_id = $2 AND backup_id = $3 AND NOT single_use AND revoked_at IS NULL', [linkId, projectId, backupId],
    );
    return found.length > 0;
  },
  async revoke({ projectId }, { backupId, linkId }, at) {
    const [, revoked]: [unknown, number] = await manager.query(
      `UPDATE download_links SET revoked_at = $4
       WHERE project_id = $1 AND backup_id = $2 AND ($3::text IS NULL OR id = $3) AND revoked_at IS NULL AND expires_at > $4 AND NOT (single_use AND used_at IS NOT NULL)`,
      [projectId, backupId, linkId, at],
    );
    return revoked;
  },
  async forgetOld(limit) {
    // A day later: expiry is judged by the nodes' clocks, this by the database's.
    await manager.query(
      `DELETE FROM download_links WHERE ctid IN (SELECT ctid FROM download_links WHERE expires_at < clock_timestamp() - interval '1 day' LIMIT $1)`, [limit],
    );
  },
});
