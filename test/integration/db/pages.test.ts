import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { pageQuery, toPage } from '../../../server/services/pagination.js';
import { newId, type Rig, startRig } from '../jobs/rig.js';

const AT = new Date('2026-05-01T00:00:00.000Z');

describe('pages of a list', () => {
  let rig: Rig;
  const all: string[] = [];
  const insert = async (createdAt: Date, name = 'b'): Promise<string> => {
    const id = newId('backup', createdAt);
    await rig.db.read.backups.insert({
      id, projectId: rig.caller.projectId, instanceId: newId('instance'), jobId: newId('job'), name, trigger: 'MANUAL', engine: 'REDIS', engineVersion: '7', coverage: { kind: 'INSTANCE' }, createdAt,
    });
    return id;
  };
  const remove = (id: string) => rig.sql('DELETE FROM backups WHERE id = $1', [id]);

  beforeAll(async () => {
    rig = await startRig();
    // Most of the same instant: only their ids order them.
    for (let i = 0; i < 25; i += 1) all.push(await insert(i < 20 ? AT : new Date(AT.getTime() + i)));
    all.sort();
  });
  afterAll(() => rig?.stop());

  const order = ['NEWEST_FIRST', 'OLDEST_FIRST'] as const;
  for (const wanted of order) {
    for (const forward of [true, false]) {
      it(`${wanted}, ${forward ? 'forward' : 'backward'}: every row once, whatever comes and goes beside`, async () => {
        const extra: string[] = [];
        const seen: string[] = [];
        let cursor: string | null = null;
        for (let pages = 0; pages < 20; pages += 1) {
          const query = pageQuery('backups', { order: wanted, ...(forward ? { first: 4, after: cursor } : { last: 4, before: cursor }) });
          const page = toPage('backups', query, await rig.db.read.backups.list(rig.caller, {}, query), () => Promise.resolve(0));
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
      const query = pageQuery('backups', { order: 'OLDEST_FIRST', first: 3, after });
      return toPage('backups', query, await rig.db.read.backups.list(rig.caller, {}, query), () => Promise.resolve(0));
    };
    const first = await read(null);
    await remove(all[2] ?? '');
    expect((await read(first.items[2]?.cursor ?? null)).items.map(({ item }) => item.id)).toEqual(all.slice(3, 6));
  });
});
