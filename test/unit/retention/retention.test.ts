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

/** One life of a service, event by event, with passes in between. Answers with what was wrong. */
const liveThrough = (seed: number): string | undefined => {
  const next = random(seed);
  const below = (n: number): number => Math.floor(next() * n);
  const instances: RetentionInstance[] = [{ instanceId: 'a', protected: true }, { instanceId: 'b', protected: true }];
  let backups: RetentionFacts[] = [];
  let now = NOW.getTime();
  let made = 0;
  const good = (one: RetentionFacts): boolean => one.state === 'AVAILABLE' && one.trigger !== 'PRE_RESTORE';
  /** Told anew in each pass, in other words than the code's: the good one that no other good one of its instance is later than. */
  const isNewest = (one: RetentionFacts): boolean => {
    if (!good(one) || !instances.some(({ instanceId, protected: kept }) => instanceId === one.instanceId && kept)) return false;
    return !backups.some((other) => other.instanceId === one.instanceId && good(other)
      && (other.completedAt! > one.completedAt! || (other.completedAt!.getTime() === one.completedAt!.getTime() && other.backupId > one.backupId)));
  };
  const pass = (): string | undefined => {
    const decisions = retentionDecisions(backups, instances, new Date(now));
    const gone = new Set<string>();
    for (const [i, one] of backups.entries()) {
      const decision = decisions[i];
      if (decision?.backupId !== one.backupId) return `no decision on ${one.backupId}`;
      const past = one.completedAt !== null && now - one.completedAt.getTime() >= 7 * DAY;
      const stays = !past || isNewest(one) || one.inUse;
      if ((decision.action === 'KEEP') !== stays) return `${JSON.stringify(one)}: ${decision.action} ${decision.because}`;
      if (decision.action === 'DELETE') gone.add(one.backupId);
    }
    const lost = instances.find(({ instanceId, protected: kept }) => kept && backups.some((one) => one.instanceId === instanceId && good(one))
      && !backups.some((one) => one.instanceId === instanceId && good(one) && !gone.has(one.backupId)));
    if (lost) return `instance ${lost.instanceId} lost its last good backup`;
    backups = backups.filter(({ backupId }) => !gone.has(backupId));
    return undefined;
  };
  for (let event = 10 + below(40); event > 0; event -= 1) {
    const one = backups[below(backups.length || 1)];
    switch (below(9)) {
      case 0: case 1: case 2:
        backups.push({ backupId: `bak_${String((made += 1)).padStart(3, '0')}`, instanceId: next() < 0.6 ? 'a' : 'b', state: 'CREATING', trigger: (['MANUAL', 'SCHEDULED', 'PRE_RESTORE'] as const)[below(3)]!, completedAt: null, inUse: false });
        break;
      case 3: case 4:
        // Several at once may end in the same millisecond.
        for (const taken of backups.filter(({ state }) => state === 'CREATING')) Object.assign(taken, { state: next() < 0.85 ? 'AVAILABLE' : 'FAILED', completedAt: new Date(now) });
        break;
      case 5: now += below(5) * DAY + below(3); break;
      case 6: if (one?.state === 'AVAILABLE') one.inUse = !one.inUse; break;
      case 7:
        if (next() < 0.3) instances[below(2)]!.protected = false;
        else if (one?.state === 'AVAILABLE') one.state = 'DAMAGED';
        break;
      default: {
        const wrong = pass();
        if (wrong !== undefined) return wrong;
      }
    }
  }
  // Long after, with all readers gone: the newest good ones of protected instances are left, and what is still being taken.
  now += 8 * DAY;
  for (const one of backups) one.inUse = false;
  const wrong = pass();
  if (wrong !== undefined) return wrong;
  const left = backups.find((one) => one.state !== 'CREATING' && !isNewest(one));
  return left && `left over: ${JSON.stringify(left)}`;
};

it('a hundred thousand lives of a service: the newest good one and what is read never go, everything else past its time does', () => {
  const first = Math.floor(Math.random() * 2 ** 31);
  for (let seed = first; seed < first + 100_000; seed += 1) {
    const wrong = liveThrough(seed);
    if (wrong !== undefined) throw new Error(`Seed ${String(seed)}: ${wrong}`);
  }
});
