import { isSnapbackError } from '../../sdk/src/index.js';
import { type Random } from './random.js';
import { type World } from './world.js';

/** What callers may be told while everything falls; anything else is a fault. */
const EXPECTED: ReadonlySet<string> = new Set([
  'INSTANCE_BUSY', 'CONFLICT', 'BACKUP_IN_USE', 'BACKUP_NOT_AVAILABLE', 'CONFIRMATION_REQUIRED', 'TARGET_BLOCKED', 'NOT_FOUND', 'CONNECT_FAILED', 'TARGET_NOT_ALLOWED',
]);

/** What callers and the calendar do during the storm, and what may be expected of it afterwards. */
export interface Deeds {
  /** Does one thing. */
  one(): Promise<void>;
  /** Planned instants, by policy. */
  slots: { policyId: string; at: Date }[];
  /** Backups that may be gone: somebody deleted them, or their time was made to be over. */
  mayGo: Set<string>;
  /** Answers that callers should not have had. */
  faults: string[];
  asked: { backups: number; restores: number; deletions: number; expiries: number };
}

export const createDeeds = (world: World, random: Random): Deeds => {
  const { sdk, sql, sources, targets } = world;
  const deeds: Deeds = { one, slots: [], mayGo: new Set(), faults: [], asked: { backups: 0, restores: 0, deletions: 0, expiries: 0 } };

  const available = async (): Promise<string[]> =>
    (await sql<{ id: string }>(`SELECT id FROM backups WHERE state = 'AVAILABLE' AND trigger <> 'PRE_RESTORE' ORDER BY id`)).map(({ id }) => id);

  const backUp = async (): Promise<void> => {
    const { redis, instanceId, name } = random.of(sources);
    await redis.cli('CONFIG', 'SET', 'rdb-key-save-delay', String(random.below(4) * 800));
    deeds.asked.backups += 1;
    await sdk.backups.create({ instanceId, name: `of ${name}` });
  };

  /** As if the calendar had come to it: the row, and the clock's, which the net stands in for when it is lost. */
  const plan = async (): Promise<void> => {
    const { instanceId } = random.of(sources);
    const [policy] = await sql<{ id: string; at: Date }>(
      `UPDATE backup_policies SET next_run_at = date_trunc('milliseconds', clock_timestamp() + $2 * interval '1 millisecond')
       WHERE instance_id = $1 AND enabled AND next_run_at > clock_timestamp() + interval '1 minute' RETURNING id, next_run_at AS at`,
      [instanceId, 300 + random.below(1_000)],
    );
    if (!policy) return;
    deeds.slots.push({ policyId: policy.id, at: policy.at });
    await sql(`UPDATE agenda_jobs SET id = gen_random_uuid(), next_run_at = $2, locked_at = NULL WHERE name = 'policy-due' AND data ->> 'subject' = $1`, [policy.id, policy.at]);
  };

  const restore = async (): Promise<void> => {
    const backups = await available();
    if (backups.length === 0) return;
    const target = random.of(targets);
    await target.redis.cli('CONFIG', 'SET', 'key-load-delay', String(random.below(4) * 1_500), 'loading-process-events-interval-bytes', '1024');
    const made = await sdk.restores.plan({ backupId: random.of(backups), instanceId: target.instanceId, safetyBackup: random.chance(0.5) });
    if (made.blockers.length > 0) return;
    deeds.asked.restores += 1;
    await sdk.restores.run({ planId: made.id, confirmation: target.name, acceptedWarnings: made.warnings.filter(({ mustAccept }) => mustAccept).map(({ name }) => name) });
  };

  /** Its time is over from now on; whether it goes is retention's to say. */
  const expire = async (): Promise<void> => {
    const backups = await available();
    if (backups.length < 3) return;
    const id = random.of(backups);
    deeds.mayGo.add(id);
    deeds.asked.expiries += 1;
    await sql(`UPDATE backups SET expires_at = clock_timestamp() - interval '1 minute' WHERE id = $1 AND state = 'AVAILABLE'`, [id]);
  };

  const remove = async (): Promise<void> => {
    const backups = await available();
    if (backups.length < 3) return;
    const id = random.of(backups);
    deeds.mayGo.add(id);
    deeds.asked.deletions += 1;
    await sdk.backups.delete(id);
  };

  const choices: [share: number, deed: () => Promise<void>][] = [[0.3, backUp], [0.2, plan], [0.3, restore], [0.12, expire], [0.08, remove]];
  async function one(): Promise<void> {
    let at = random.next();
    const [, deed] = choices.find(([share]) => (at -= share) < 0) ?? [0, backUp];
    try {
      await deed();
    } catch (error) {
      if (isSnapbackError(error) && EXPECTED.has(error.code)) return;
      deeds.faults.push(`A caller was told: ${String(error)}`);
    }
  }
  return deeds;
};
