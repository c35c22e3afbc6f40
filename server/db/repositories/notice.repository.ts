import { randomBytes } from 'node:crypto';
import { type EntityManager } from 'typeorm';
import { makeId } from '../../domain/ids.js';
import { type DueNotice, type NoticeRepository } from '../../services/ports.js';

const MILLIS = `interval '1 millisecond'`;

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
  async claim(limit, leaseMs) {
    const [rows]: [DueNotice[], number] = await manager.query(
      `WITH due AS (
         SELECT id FROM notices WHERE state = 'PENDING' AND due_at <= clock_timestamp() ORDER BY due_at, id LIMIT $1 FOR UPDATE SKIP LOCKED)
       UPDATE notices n SET attempts = n.attempts + 1, due_at = clock_timestamp() + $2 * ${MILLIS} FROM due WHERE n.id = due.id
       RETURNING n.id, n.kind, n.body, n.attempts AS attempt`,
      [limit, leaseMs],
    );
    return rows;
  },
  async settle({ id, attempt }, outcome) {
    const [, affected]: [unknown, number] = await manager.query(
      `UPDATE notices SET state = $3, due_at = clock_timestamp() + $4 * ${MILLIS} WHERE id = $1 AND attempts = $2 AND state = 'PENDING'`,
      [id, attempt, outcome.state, outcome.state === 'PENDING' ? outcome.waitMs : 0],
    );
    return affected === 1;
  },
  async countPending() {
    const [row]: { count: number }[] = await manager.query(`SELECT count(*)::int AS count FROM notices WHERE state = 'PENDING'`);
    return row?.count ?? 0;
  },
  async forgetOld(limit) {
    await manager.query(`DELETE FROM notices WHERE id IN (SELECT id FROM notices WHERE created_at < clock_timestamp() - interval '30 days' ORDER BY created_at LIMIT $1)`, [limit]);
  },
});
