import { DomainError } from '../domain/errors.js';
import { isId } from '../domain/ids.js';
import { authorise } from '../domain/principal.js';
import { retentionDecisions } from '../domain/retention.js';
import { type RetentionApi } from './api.js';
import { shownId } from './lookup.js';
import { pageQuery, toPage } from './pagination.js';
import { type Database, type UpkeepPort } from './ports.js';
import { type BackupRecord, type RetentionVerdictRecord } from './records.js';

export const createRetentionService = ({ db, upkeep }: { db: Database; upkeep: UpkeepPort }): RetentionApi => ({
  async status(caller) {
    authorise(caller, 'read');
    return upkeep.status();
  },

  async preview(caller, { instanceId }, page) {
    authorise(caller, 'read');
    if (instanceId != null && !isId('instance', instanceId)) throw new DomainError('BAD_INPUT', `${shownId(instanceId)} is not the id of an instance.`, { field: ['instanceId'] });
    const query = pageQuery('backups', page);
    const result = await db.read.backups.list(caller, { instanceId }, query);
    const { stoppedBecause } = await upkeep.status();
    // All backups of these instances, not only this page's: with a part of them the newest one cannot be known.
    const { backups, instances } = await db.read.upkeep.retention([...new Set(result.items.map((backup) => backup.instanceId))]);
    const decisions = new Map(retentionDecisions(backups, instances, await db.read.now()).map((decision) => [decision.backupId, decision]));
    const verdict = (backup: BackupRecord): RetentionVerdictRecord => {
      const decided = decisions.get(backup.id);
      if (!decided) return { backup, action: 'DELETE', because: 'DELETING' };
      if (decided.action === 'DELETE' && stoppedBecause !== null) return { backup, action: 'KEEP', because: 'STOPPED' };
      return { backup, action: decided.action, because: decided.because };
    };
    const shown = toPage('backups', query, result, () => db.read.backups.count(caller, { instanceId }));
    return { ...shown, items: shown.items.map(({ cursor, item }) => ({ cursor, item: verdict(item) })) };
  },
});
