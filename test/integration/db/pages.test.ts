import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type PageQuery, type PageResult } from '../../../server/services/ports.js';
import { pageQuery, toPage } from '../../../server/services/pagination.js';
import { newId, type Rig, startRig } from '../jobs/rig.js';

const AT = new Date('2026-05-01T00:00:00.000Z');

/** Backups have a statement of their own; the list of jobs is read as all others are. */
const LISTS = ['backups', 'jobs'] as const;
const ORDERS = ['NEWEST_FIRST', 'OLDEST_FIRST'] as const;

describe.each(LISTS)('pages of a list of %s', (name) => {
  let rig: Rig;
  const all: string[] = [];
  const insert = async (createdAt: Date): Promise<string> => {
    if (name === 'jobs') return (await rig.insertJob({ id: newId('job', createdAt), kind: 'DELETE', serverRunId: null, createdAt })).id;
    const id = newId('backup', createdAt);
    await rig.db.read.backups.insert({
      id, projectId: rig.caller.projectId, instanceId: newId('instance'), jobId: newId('job'), name: 'b', trigger: 'MANUAL', engine: 'REDIS', engineVersion: '7', coverage: { kind: 'INSTANCE' }, createdAt,
    });
    return id;
  };
  const remove = (id: string) => rig.sql(`DELETE FROM ${name} WHERE id = $1`, [id]);
  const list = (query: PageQuery): Promise<PageResult<{ id: string; createdAt: Date }>> => rig.db.read[name].list(rig.caller, {}, query);

  beforeAll(async () => {
    rig = await startRig();
    // Most of the same instant: only their ids order them.
    for (let i = 0; i < 25; i += 1) all.push(await insert(i < 20 ? AT : new Date(AT.getTime() + i)));
    all.sort();
  });
  afterAll(() => rig?.stop());

  for (const wanted of ORDERS) {
    for (const forward of [true, false]) {
      it(`${wanted}, ${forward ? 'forward' : 'backward'}: every row once, whatever comes and goes beside`, async () => {
        const extra: string[] = [];
        const seen: string[] = [];
        let cursor: string | null = null;
        for (let pages = 0; pages < 20; pages += 1) {
          const query = pageQuery(name, { order: wanted, ...(forward ? { first: 4, after: cursor } : { last: 4, before: cursor }) });
          const page = toPage(name, query, await list(query), () => Promise.resolve(0));
          const ids = page.items.map(({ item }) => item.id);
          if (forward) seen.push(...ids);
          else seen.unshift(...ids);
          cursor = (forward ? page.items.at(-1) : page.items[0])?.cursor ?? null;
          // A row comes at each end, and the one that the cursor stands for goes, if it is one of those.
          extra.push(await insert(new Date(AT.getTime() + 3_600_000)), await insert(new Date(AT.getTime() - 3_600_000)));
          const last = forward ? ids.at(-1) : ids[0];
          if (last !== undefined && extra.includes(last)) await remove(last);
          expect(forward ? page.hasPreviousPage : page.hasNextPage).toBe(pages > 0);
          if (!(forward ? page.hasNextPage : page.hasPreviousPage)) break;
          // What comes at the far end would never let it end.
          for (const id of extra) await remove(id);
        }
        const expected = wanted === 'OLDEST_FIRST' ? all : [...all].reverse();
        expect(seen.filter((id) => all.includes(id))).toEqual(expected);
        expect(new Set(seen).size).toBe(seen.length);
        for (const id of extra) await remove(id);
      });
    }
  }

  it('goes on behind the row that its cursor stands for after that has gone', async () => {
    const read = async (after: string | null) => {
      const query = pageQuery(name, { order: 'OLDEST_FIRST', first: 3, after });
      return toPage(name, query, await list(query), () => Promise.resolve(0));
    };
    const first = await read(null);
    await remove(all[2] ?? '');
    expect((await read(first.items[2]?.cursor ?? null)).items.map(({ item }) => item.id)).toEqual(all.slice(3, 6));
  });
});

describe('counts', () => {
  let rig: Rig;
  const MANY = 10_005;
  beforeAll(async () => {
    rig = await startRig();
  });
  afterAll(() => rig?.stop());

  /** Copies of one row, each with an id of its own. */
  const multiply = (table: string, id: string, more = ''): Promise<unknown> => rig.sql(
    `INSERT INTO ${table} SELECT copy.* FROM ${table} t CROSS JOIN generate_series(1, ${MANY - 1}) n CROSS JOIN LATERAL jsonb_populate_record(t, jsonb_build_object('id', t.id || n${more})) copy WHERE t.id = $1`, [id],
  );

  it('stop at 10,000, in whatever list', async () => {
    const { db, caller } = rig;
    const [instanceId, policyId] = [newId('instance'), newId('policy')];
    const job = await rig.insertJob({ kind: 'DELETE', serverRunId: null, instanceId });
    const [backupId, slotId] = [newId('backup'), newId('slot')];
    await db.read.backups.insert({ id: backupId, projectId: caller.projectId, instanceId, jobId: job.id, name: 'b', trigger: 'MANUAL', engine: 'REDIS', engineVersion: '7', coverage: { kind: 'INSTANCE' }, createdAt: AT });
    await db.read.slots.insert({ id: slotId, projectId: caller.projectId, policyId, instanceId, plannedAt: AT, weekday: null, state: 'MISSED', startedBy: null, jobId: null, reason: null });
    const counts = async (): Promise<number[]> => [
      await db.read.jobs.count(caller, {}), await db.read.backups.count(caller, {}), ...(await db.read.backups.countByInstance(caller, [instanceId], {})), ...(await db.read.slots.countByInstance(caller, [instanceId], {})),
    ];
    expect(await counts()).toEqual([1, 1, 1, 1]);
    await multiply('jobs', job.id);
    await multiply('backups', backupId);
    await multiply('slots', slotId, `, 'planned_at', t.planned_at + n * interval '1 second'`);
    const [rows] = await rig.sql<{ rows: number }>('SELECT least((SELECT count(*) FROM jobs), (SELECT count(*) FROM backups), (SELECT count(*) FROM slots))::int AS rows');
    expect(rows).toEqual({ rows: MANY });
    expect(await counts()).toEqual([10_000, 10_000, 10_000, 10_000]);
  });
});
