import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { listArchives, openArchive } from '../../server/engine/archive/archive.js';
import { openFilesystemStore } from '../../server/engine/store/filesystem.js';
import { masterKeysFromText } from '../../server/security/master-key.js';
import { digest } from '../kit/digest.js';
import { type Deeds } from './deeds.js';
import { SYNC_DELAY, type World } from './world.js';

/** How a job may fail when its workers are killed. Everything else is a fault. */
const EXPECTED_FAILURES: ReadonlySet<string> = new Set(['INTERRUPTED', 'TARGET_STATE_UNKNOWN', 'CONFIRMATION_REQUIRED', 'INSTANCE_BUSY']);

interface BackupRow {
  id: string;
  state: string;
  instance_id: string;
  job_id: string | null;
}

/** What must hold once nobody is killed any more and one pass has been made. Each line is a breach. */
export const breaches = async (world: World, deeds: Deeds): Promise<string[]> => {
  const { sql } = world;
  const found: string[] = [...deeds.faults];
  const store = await openFilesystemStore({ root: world.facts.storeRoot, create: false });
  const keys = masterKeysFromText(world.facts.masterKey);

  const backups = await sql<BackupRow>('SELECT id, state, instance_id, job_id FROM backups');
  const sealed = new Set<string>();
  for await (const entry of listArchives(store)) {
    if (entry.sealed) sealed.add(entry.backupId);
    else found.push(`Archive ${entry.backupId} lies there unsealed: ${entry.keys.join(', ')}`);
  }
  for (const temporary of await readdir(join(world.facts.storeRoot, '.tmp'))) found.push(`An unsealed file is left: ${temporary}`);

  for (const { id, state } of backups) {
    if (state === 'AVAILABLE') {
      try {
        const archive = await openArchive(store, id, { keys });
        await archive.verify();
        await archive.close();
      } catch (error) {
        found.push(`Backup ${id} is AVAILABLE and does not verify: ${String(error)}`);
      }
    } else if (state === 'DELETED') {
      if (!deeds.mayGo.has(id)) found.push(`Backup ${id} was removed before its time`);
      if (sealed.has(id)) found.push(`Backup ${id} is DELETED, and its archive is there`);
    } else if (state === 'FAILED') {
      if (sealed.has(id)) found.push(`Backup ${id} is FAILED, and a sealed archive of it is there`);
    } else found.push(`Backup ${id} is left ${state}`);
  }
  const known = new Set(backups.map(({ id }) => id));
  for (const id of sealed) if (!known.has(id)) found.push(`Archive ${id} has no row`);

  found.push(...(await slotBreaches(world, deeds)), ...(await jobBreaches(world)), ...(await serverBreaches(world)));
  return found;
};

const slotBreaches = async ({ sql }: World, { slots }: Deeds): Promise<string[]> => {
  const rows = await sql<{ policy_id: string; planned_at: Date; state: string; job_id: string | null; reason: string | null; jobs: string; completed: string }>(
    `SELECT s.policy_id, s.planned_at, s.state, s.job_id, s.reason, count(j.id) AS jobs, count(j.completed_at) AS completed
     FROM slots s LEFT JOIN jobs j ON j.id = s.job_id GROUP BY s.id`);
  const found: string[] = [];
  for (const { policyId, at } of slots) {
    const mine = rows.filter((row) => row.policy_id === policyId && row.planned_at.getTime() === at.getTime());
    const name = `The slot of ${at.toISOString()}`;
    if (mine.length !== 1) found.push(`${name} has ${mine.length} rows`);
    for (const { state, jobs, completed, reason } of mine) {
      if (state === 'STARTED' && (jobs !== '1' || completed !== '1')) found.push(`${name} was started and has ${jobs} jobs, ${completed} of them ended`);
      // Several that waited for one busy server give one run, the last one's.
      const superseded = reason?.includes('later slot') === true && rows.some((row) => row.policy_id === policyId && row.planned_at > at);
      if (state === 'MISSED' && !superseded) found.push(`${name} was missed: ${String(reason)}`);
      if (state !== 'STARTED' && state !== 'MISSED') found.push(`${name} is left ${state}`);
    }
  }
  if (rows.length !== slots.length) found.push(`${rows.length} slots for ${slots.length} planned instants`);
  for (const { job_id: id, count } of await sql<{ job_id: string; count: string }>(`SELECT job_id, count(*) FROM slots WHERE job_id IS NOT NULL GROUP BY job_id HAVING count(*) > 1`)) {
    found.push(`Job ${id} stands for ${count} slots`);
  }
  return found;
};

const jobBreaches = async ({ sql }: World): Promise<string[]> => {
  const found: string[] = [];
  for (const { id, kind, state, failure } of await sql<{ id: string; kind: string; state: string; failure: { code: string; message: string } | null }>(
    `SELECT id, kind, state, failure FROM jobs WHERE state <> 'COMPLETED' OR conclusion = 'FAILED'`)) {
    if (state !== 'COMPLETED') found.push(`${kind} ${id} is left ${state}`);
    else if (!EXPECTED_FAILURES.has(failure?.code ?? '')) found.push(`${kind} ${id} failed: ${String(failure?.code)} ${String(failure?.message)}`);
  }
  for (const { job_id: id, count } of await sql<{ job_id: string; count: string }>(`SELECT job_id, count(*) FROM job_events WHERE job_state = 'COMPLETED' AND kind = 'STATE' GROUP BY job_id HAVING count(*) <> 1`)) {
    found.push(`Job ${id} has ended ${count} times`);
  }
  for (const { job_id: id } of await sql<{ job_id: string }>(`SELECT job_id FROM job_events GROUP BY job_id HAVING count(*) <> count(DISTINCT sequence)`)) found.push(`Events of job ${id} are doubled`);
  return found;
};

/** Nobody follows us, nobody is followed, every server waits as it did before, and every target holds what its restores say. */
const serverBreaches = async ({ sql, sources, targets }: World): Promise<string[]> => {
  const found: string[] = [];
  for (const { name, redis, digest: wanted } of sources) {
    if (!/^role:master/m.test(await redis.cli('INFO', 'replication'))) found.push(`Source ${name} is no master`);
    if ((await digest(redis)) !== wanted) found.push(`Source ${name} has other data than at the beginning`);
  }
  for (const { name, redis } of [...sources, ...targets]) {
    const [, delay] = (await redis.cli('CONFIG', 'GET', 'repl-diskless-sync-delay')).split('\n');
    if (delay !== SYNC_DELAY) found.push(`${name} is left with a repl-diskless-sync-delay of ${String(delay)}`);
  }
  for (const { host, port } of await sql<{ host: string; port: number }>('SELECT host, port FROM sync_delay_holds')) found.push(`The delay of ${host}:${port} was never settled`);
  const digests = new Map(sources.map(({ instanceId, digest: own }) => [instanceId, own]));
  for (const target of targets) {
    const info = await target.redis.cli('INFO', 'replication');
    if (!/^role:master/m.test(info)) found.push(`Target ${target.name} is left a replica: ${/master_port:\d+/.exec(info)?.[0] ?? ''}`);
    let possible = new Set([target.digest]);
    const restores = await sql<{ id: string; data_now: string; of: string; undo: boolean; ended: boolean }>(
      `SELECT r.id, r.data_now, b.instance_id AS of, r.undo_record IS NOT NULL AS undo, r.completed_at IS NOT NULL AS ended
       FROM restores r JOIN backups b ON b.id = r.backup_id JOIN jobs j ON j.id = r.job_id WHERE r.instance_id = $1 ORDER BY j.started_at`, [target.instanceId]);
    for (const { id, data_now: now, of, undo, ended } of restores) {
      if (undo) found.push(`Restore ${id} was never settled`);
      if (!ended) found.push(`Restore ${id} never ended`);
      const fresh = digests.get(of) ?? '';
      if (now === 'NEW') possible = new Set([fresh]);
      if (now === 'UNKNOWN') possible.add(fresh);
    }
    if (!possible.has(await digest(target.redis))) found.push(`Target ${target.name} holds other data than its ${restores.length} restores say`);
  }
  return found;
};
