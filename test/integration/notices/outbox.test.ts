import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDatabase } from '../../../server/db/database.js';
import { type Notice } from '../../../server/domain/notice.js';
import { topicsOf } from '../../../server/events/topics.js';
import { newId, type Rig, startRig } from '../jobs/rig.js';

describe('the outbox of notices', () => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await startRig();
  });
  afterAll(() => rig?.stop());

  const bodies = async (): Promise<Record<string, unknown>[]> =>
    (await rig.sql<{ body: string }>('SELECT body FROM notices ORDER BY created_at, id')).map(({ body }) => JSON.parse(body) as Record<string, unknown>);
  const stopped: Notice = {
    kind: 'RETENTION_STOPPED', projectId: null, instanceId: null, at: new Date('2026-01-02T03:04:05.678Z'), message: 'The clock jumped.', details: { reason: 'CLOCK_JUMPED' },
  };

  it('has a notice when the change it tells of was committed, and none when it was not', async () => {
    await expect(rig.db.transaction(async (tx) => {
      await tx.notices.append(stopped);
      throw new Error('rolled back');
    })).rejects.toThrow('rolled back');
    expect(await bodies()).toEqual([]);
    await rig.db.transaction((tx) => tx.notices.append(stopped));
    expect(await bodies()).toEqual([{
      id: expect.stringMatching(/^ntc_[0-9a-z]{26}$/) as string, kind: 'RETENTION_STOPPED', at: '2026-01-02T03:04:05.678Z', projectId: null, instance: null,
      message: 'The clock jumped.', details: { reason: 'CLOCK_JUMPED' },
    }]);
  });

  it('is told of every job that failed, whoever ends it, and of no other', async () => {
    await rig.sql('DELETE FROM notices');
    const end = async (conclusion: 'SUCCEEDED' | 'FAILED' | 'CANCELLED' | 'INTERRUPTED'): Promise<string> => {
      const { id } = await rig.insertJob({ instanceId: newId('instance'), backupId: newId('backup') });
      const at = new Date();
      const failure = conclusion === 'FAILED' ? { code: 'TOO_SLOW', message: 'It took too long.', hint: 'Wait.', retryable: true, phase: null, at } as const : null;
      await rig.db.transaction((tx) => tx.jobs.change(id, {}, { state: 'COMPLETED', conclusion, failure, completedAt: at }, { kind: 'STATE', at }));
      return id;
    };
    await end('SUCCEEDED');
    await end('CANCELLED');
    const failed = await end('FAILED');
    const interrupted = await end('INTERRUPTED');
    expect(await bodies()).toEqual([
      expect.objectContaining({
        kind: 'JOB_FAILED', projectId: rig.caller.projectId, message: 'A backup failed: It took too long.',
        details: expect.objectContaining({ jobId: failed, jobKind: 'BACKUP', conclusion: 'FAILED', code: 'TOO_SLOW', hint: 'Wait.' }) as unknown,
      }),
      expect.objectContaining({ kind: 'JOB_FAILED', details: expect.objectContaining({ jobId: interrupted, conclusion: 'INTERRUPTED' }) as unknown }),
    ]);
  });

  it('stays empty where nobody is told', async () => {
    await rig.sql('DELETE FROM notices');
    await createDatabase(rig.source, topicsOf, { notices: false }).transaction((tx) => tx.notices.append(stopped));
    expect(await bodies()).toEqual([]);
  });
});
