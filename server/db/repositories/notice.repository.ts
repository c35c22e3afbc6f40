import { randomBytes } from 'node:crypto';
import { type EntityManager } from 'typeorm';
import { makeId } from '../../domain/ids.js';
import { type NoticeRepository } from '../../services/ports.js';

/** @param told whether anybody is told: without a webhook nothing is kept */
export const createNoticeRepository = (manager: EntityManager, told: boolean): NoticeRepository => ({
  async append({ kind, projectId, instanceId, at, message, details }) {
    if (!told) return;
    const [instance]: { name: string }[] = instanceId === null ? [] : await manager.query('SELECT name FROM instances WHERE id = $1', [instanceId]);
    const id = makeId('notice', at, randomBytes(10));
    const body = JSON.stringify({
      id, kind, at: at.toISOString(), projectId, instance: instanceId === null ? null : { id: instanceId, name: instance?.name ?? null }, message, details,
    });
    await manager.query(
      `INSERT INTO notices (id, kind, project_id, body, state, attempts, due_at, created_at) VALUES ($1, $2, $3, $4, 'PENDING', 0, clock_timestamp(), clock_timestamp())`,
      [id, kind, projectId, body],
    );
  },
});
