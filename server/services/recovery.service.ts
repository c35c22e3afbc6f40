import { authorise } from '../domain/principal.js';
import { recoveryStatus } from '../domain/recovery.js';
import { type RecoveryApi } from './api.js';
import { inOrder } from './order.js';
import { type Database } from './ports.js';
import { type RecoveryRecord } from './records.js';
import { type ScheduleTime } from './schedule-time.js';

export interface RecoveryDeps {
  db: Database;
  time: ScheduleTime;
  /** How long a slot may wait before it is MISSED, in ms: before that nothing is late. */
  catchUpMs: number;
}

export const createRecoveryService = ({ db, time, catchUpMs }: RecoveryDeps): RecoveryApi => ({
  async getManyByInstance(caller, instanceIds) {
    authorise(caller, 'read');
    const now = await time(db.read);
    const rows = await db.read.recovery.ofInstances(caller, instanceIds, new Date(now.getTime() - catchUpMs));
    const records = rows.map((row): RecoveryRecord => ({
      instanceId: row.instanceId, lastAvailableBackupId: row.lastGoodId, nextRunAt: row.nextRunAt, status: recoveryStatus(row),
      ageSeconds: row.lastGoodAt && Math.max(0, Math.floor((now.getTime() - row.lastGoodAt.getTime()) / 1000)),
    }));
    return inOrder(instanceIds, records, ({ instanceId }) => instanceId);
  },
});
