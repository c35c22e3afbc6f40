import { describe, expect, it } from 'vitest';
import { retryAtOf } from '../../../server/domain/errors.js';
import { type SyncLimits, type SyncRecord, syncRefusal } from '../../../server/domain/source-sync.js';

const NOW = new Date('2026-03-01T12:00:00.000Z');
const MINUTE = 60_000;
const LIMITS: SyncLimits = { windowMs: 10 * MINUTE, most: 5, mostFailed: 2 };
const ago = (minutes: number, state: SyncRecord['state'] = 'GOOD'): SyncRecord => ({ startedAt: new Date(NOW.getTime() - minutes * MINUTE), state });
const judge = (...attempts: SyncRecord[]) => syncRefusal('10.0.0.5:6379', attempts, LIMITS, NOW);

describe('whether a server may be asked for a full synchronisation', () => {
  it('it may, when nobody has asked, or long ago, or not too often', () => {
    expect(judge()).toBeNull();
    expect(judge(ago(1), ago(2), ago(3), ago(4))).toBeNull();
    expect(judge(ago(1), ago(2), ago(3), ago(4), ago(10), ago(11), ago(500, 'FAILED'))).toBeNull();
    expect(judge(ago(1, 'FAILED'), ago(10, 'FAILED'))).toBeNull();
  });

  it('it may not while somebody is reading, however long already', () => {
    expect(judge(ago(1, 'RUNNING'))).toMatchObject({ code: 'INSTANCE_BUSY', retryable: true });
    const forHours = judge(ago(600, 'RUNNING'));
    expect(forHours).toMatchObject({ code: 'INSTANCE_BUSY' });
    expect(forHours && retryAtOf(forHours)).toBeNull();
  });

  it('it may not too often: the error says from when on', () => {
    const refusal = judge(ago(9), ago(1), ago(3), ago(2), ago(4));
    expect(refusal).toMatchObject({ code: 'RATE_LIMITED', retryable: true, message: expect.stringContaining('5 times in 10 minutes') as string });
    // The oldest of the five leaves the window in a minute.
    expect(refusal && retryAtOf(refusal)).toEqual(new Date(NOW.getTime() + MINUTE + 1_000));
    expect(refusal?.message).toContain('2026-03-01T12:01:01.000Z');
    // With more than may be (they were begun under another limit) enough have to leave.
    const crowded = judge(ago(9), ago(8), ago(1), ago(3), ago(2), ago(4));
    expect(crowded && retryAtOf(crowded)).toEqual(new Date(NOW.getTime() + 2 * MINUTE + 1_000));
  });

  it('in vain it may less often', () => {
    const refusal = judge(ago(1, 'FAILED'), ago(2), ago(6, 'FAILED'));
    expect(refusal).toMatchObject({ code: 'RATE_LIMITED', message: expect.stringContaining('2 times in vain') as string, hint: expect.stringContaining('why the last backups failed') as string });
    expect(refusal && retryAtOf(refusal)).toEqual(new Date(NOW.getTime() + 4 * MINUTE + 1_000));
  });

  it('what is let through then is let through', () => {
    const attempts = [ago(9), ago(1), ago(3), ago(2), ago(4)];
    const refusal = syncRefusal('x', attempts, LIMITS, NOW);
    const retryAt = refusal && retryAtOf(refusal);
    expect(retryAt && syncRefusal('x', attempts, LIMITS, retryAt)).toBeNull();
  });
});
