import { describe, expect, it } from 'vitest';
import { expiresAt, type RetentionFacts, type RetentionInstance, retentionDecisions } from '../../../server/domain/retention.js';

const NOW = new Date('2025-06-20T12:00:00Z');
const DAY = 24 * 60 * 60_000;
const ago = (days: number): Date => new Date(NOW.getTime() - days * DAY);
const PROTECTED: RetentionInstance[] = [{ instanceId: 'a', protected: true }];

const backup = (backupId: string, days: number | null, over: Partial<RetentionFacts> = {}): RetentionFacts => ({
  backupId, instanceId: 'a', state: 'AVAILABLE', trigger: 'SCHEDULED', completedAt: days === null ? null : ago(days), inUse: false, ...over,
});
const decide = (backups: RetentionFacts[], instances = PROTECTED) =>
  retentionDecisions(backups, instances, NOW).map((decision) => `${decision.backupId} ${decision.action} ${decision.because}`);

describe('retention', () => {
  it('expires seven days after completion, to the millisecond, whatever made the backup', () => {
    expect(expiresAt(new Date('2025-03-29T02:30:00Z'))).toEqual(new Date('2025-04-05T02:30:00Z'));
    const edge = new Date(NOW.getTime() - 7 * DAY);
    expect(decide([
      backup('new', 1),
      backup('edge', null, { completedAt: edge, trigger: 'MANUAL' }),
      backup('before', null, { completedAt: new Date(edge.getTime() + 1), trigger: 'PRE_RESTORE' }),
    ])).toEqual(['new KEEP NOT_EXPIRED', 'edge DELETE EXPIRED', 'before KEEP NOT_EXPIRED']);
  });

  it('keeps the newest available backup of a protected instance', () => {
    expect(decide([backup('old', 30), backup('newest', 20), backup('older', 25)]))
      .toEqual(['old DELETE EXPIRED', 'newest KEEP NEWEST_GOOD', 'older DELETE EXPIRED']);
    expect(decide([backup('x1', 20), backup('x2', 20)])).toEqual(['x1 DELETE EXPIRED', 'x2 KEEP NEWEST_GOOD']);
  });

  it('does not count safety copies, failed, damaged or unfinished ones as the newest', () => {
    expect(decide([
      backup('good', 30), backup('safety', 10, { trigger: 'PRE_RESTORE' }), backup('failed', 9, { state: 'FAILED' }),
      backup('damaged', 8, { state: 'DAMAGED' }), backup('creating', null, { state: 'CREATING' }),
    ])).toEqual([
      'good KEEP NEWEST_GOOD', 'safety DELETE EXPIRED', 'failed DELETE EXPIRED', 'damaged DELETE EXPIRED', 'creating KEEP NOT_EXPIRED',
    ]);
  });

  it('lets go of the last one of a removed instance, but not of one it has not heard of', () => {
    expect(decide([backup('x', 30)], [{ instanceId: 'a', protected: false }])).toEqual(['x DELETE EXPIRED']);
    expect(decide([backup('x', 30)], [])).toEqual(['x KEEP NEWEST_GOOD']);
  });

  it('keeps what is being read', () => {
    expect(decide([backup('read', 30, { inUse: true }), backup('new', 1)])).toEqual(['read KEEP IN_USE', 'new KEEP NOT_EXPIRED']);
  });

  it('deletes nothing when the clock stands before the backups', () => {
    expect(decide([backup('future', -3), backup('x', 1)])).toEqual(['future KEEP NOT_EXPIRED', 'x KEEP NOT_EXPIRED']);
  });
});

/** Deterministic: a failure names its seed. */
const random = (seed: number) => () => {
  seed = (seed + 0x6d2b79f5) | 0;
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
};

describe('any history', () => {
  it('never deletes the newest good nor a read one, and deletes everything else past its time', () => {
    const wrong: string[] = [];
    for (let seed = 0; seed < 10_000; seed += 1) {
      const next = random(seed);
      const pick = <T>(values: readonly T[]): T => values[Math.floor(next() * values.length)]!;
      const instances = ['a', 'b', 'c'].map((instanceId) => ({ instanceId, protected: next() < 0.7 }));
      const backups = Array.from({ length: Math.floor(next() * 14) }, (_, i): RetentionFacts => {
        const state = pick(['CREATING', 'AVAILABLE', 'AVAILABLE', 'AVAILABLE', 'FAILED', 'DAMAGED'] as const);
        return backup(`bak_${i}`, state === 'CREATING' ? null : Math.floor(next() * 15), {
          instanceId: pick(['a', 'b', 'c']), state, trigger: pick(['MANUAL', 'SCHEDULED', 'PRE_RESTORE']), inUse: next() < 0.15,
        });
      });
      const decisions = retentionDecisions(backups, instances, NOW);
      if (decisions.some((decision, i) => decision.backupId !== backups[i]!.backupId)) wrong.push(`seed ${seed}: out of order`);
      for (const [i, one] of backups.entries()) {
        const decision = decisions[i]!;
        const where = `seed ${seed} ${one.backupId}`;
        const expired = one.completedAt !== null && NOW.getTime() - one.completedAt.getTime() >= 7 * DAY;
        const rivals = backups.filter((other) => other !== one && other.instanceId === one.instanceId
          && other.state === 'AVAILABLE' && other.trigger !== 'PRE_RESTORE');
        const good = one.state === 'AVAILABLE' && one.trigger !== 'PRE_RESTORE';
        const newest = good && instances.find(({ instanceId }) => instanceId === one.instanceId)!.protected
          && rivals.every((other) => other.completedAt! < one.completedAt!
            || (other.completedAt!.getTime() === one.completedAt!.getTime() && other.backupId < one.backupId));
        const due = !expired ? 'KEEP NOT_EXPIRED' : newest ? 'KEEP NEWEST_GOOD' : one.inUse ? 'KEEP IN_USE' : 'DELETE EXPIRED';
        if (`${decision.action} ${decision.because}` !== due) wrong.push(`${where}: ${decision.action} ${decision.because}, not ${due}`);
      }
    }
    expect(wrong).toEqual([]);
  });
});
