import { readdir, rename, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DomainError } from '../../../server/domain/errors.js';
import { attachStore, catalogueIdOf, detachedBecause } from '../../../server/jobs/upkeep/attachment.js';
import { createUpkeepArchives } from '../../../server/jobs/upkeep/archives.js';
import { openFilesystemStore } from '../../../server/engine/store/filesystem.js';
import { type ObjectWriter } from '../../../server/engine/store/store.js';
import { MASTER, RING } from '../../unit/archive/archive-kit.js';
import { newId } from '../jobs/rig.js';
import { CONTENT, DAY, startScene, storeWith, type UpkeepScene } from './scene.js';

const HOUR = 3_600_000;

describe('catalogue and store', () => {
  let at: UpkeepScene;
  beforeEach(async () => {
    at = await startScene();
  });
  const writers: ObjectWriter[] = [];
  afterEach(async () => {
    // Their files may have been swept away.
    for (const writer of writers.splice(0)) await writer.abort().catch(() => undefined);
    await at?.stop();
  });

  const backup = async (id: string) => at.rig.db.read.backups.get(at.rig.caller, id);

  /** A file under construction, as a worker leaves it that was killed. */
  const temporary = async (backupId: string, age: number): Promise<string> => {
    const folder = join(at.scratch.root, '.tmp');
    const before = new Set(await readdir(folder));
    const writer = await at.scratch.store.create(`backups/${backupId}/rdb`);
    writers.push(writer);
    await writer.write(Buffer.from('half'));
    const name = (await readdir(folder)).find((one) => !before.has(one))!;
    await utimes(join(folder, name), new Date(), new Date(Date.now() - age));
    return name;
  };

  /** Data without a manifest, as a worker leaves it that was killed while it sealed. */
  const unsealed = async (backupId: string, age: number): Promise<string> => {
    const writer = await at.scratch.store.create(`backups/${backupId}/rdb`);
    await writer.write(Buffer.from('whole'));
    await writer.commit();
    await utimes(at.scratch.path(`backups/${backupId}/rdb`), new Date(), new Date(Date.now() - age));
    return `backups/${backupId}/rdb`;
  };

  it('sweeps unsealed files past their age that no unfinished job names, temporaries and objects alike; sealed ones and young ones stay', async () => {
    const instance = await at.instance();
    const [old, young, working] = [newId('backup'), newId('backup'), newId('backup')];
    const job = await at.rig.insertJob({ backupId: working, instanceId: instance.id });
    await at.rig.db.read.backups.insert({
      id: working, projectId: instance.projectId, instanceId: instance.id, jobId: job.id, name: 'b', trigger: 'MANUAL', engine: 'REDIS', engineVersion: '7.0.15',
      coverage: { kind: 'INSTANCE' }, createdAt: new Date(),
    });
    const sealed = await at.backup({ instance, days: 1 });
    for (const path of ['manifest', 'rdb']) await utimes(at.scratch.path(`backups/${sealed}/${path}`), new Date(0), new Date(0));
    const names = [await temporary(old, 2 * HOUR), await temporary(young, HOUR / 2), await temporary(working, 2 * HOUR)];
    const keys = [await unsealed(newId('backup'), 2 * HOUR), await unsealed(newId('backup'), HOUR / 2), await unsealed(working, 2 * HOUR)];
    expect(await at.upkeep().pass()).toMatchObject({ swept: 2, adopted: 0, damaged: 0, removed: 0 });
    expect((await readdir(join(at.scratch.root, '.tmp'))).sort()).toEqual(names.slice(1).sort());
    expect(await at.objects()).toEqual([...keys.slice(1), ...['key.' + MASTER.id, 'manifest', 'rdb'].map((name) => `backups/${sealed}/${name}`)].sort());
    // Once the job is over and nobody goes on with it, its files go too.
    await at.rig.sql(`UPDATE jobs SET state = 'COMPLETED' WHERE id = $1`, [job.id]);
    expect(await at.upkeep({ settings: { unsealedMs: 1 } }).pass()).toMatchObject({ swept: 4 });
    expect(await readdir(join(at.scratch.root, '.tmp'))).toEqual([]);
    expect(await at.stateOf(working)).toBe('FAILED');
    expect(await at.stateOf(sealed)).toBe('AVAILABLE');
  });

  it('takes data of attempts that were cut off from beside the archive of the one that was not', async () => {
    const instance = await at.instance();
    const id = await at.backup({ instance, days: 1 });
    const others = ['rdb.2', 'rdb.3', `key.${MASTER.id}.3`, 'key.0123abcd'].map((object) => `backups/${id}/${object}`);
    for (const key of others) {
      const writer = await at.scratch.store.create(key);
      await writer.write(Buffer.from('whole'));
      await writer.commit();
    }
    expect(await at.upkeep().pass()).toMatchObject({ swept: 0 });
    for (const key of await at.objects()) await utimes(at.scratch.path(key), new Date(), new Date(Date.now() - 2 * HOUR));
    expect(await at.upkeep().pass()).toMatchObject({ swept: 1 });
    expect(await at.objects()).toEqual(['key.0123abcd', `key.${MASTER.id}`, 'manifest', 'rdb'].map((object) => `backups/${id}/${object}`).sort());
    expect(await at.upkeep().pass()).toMatchObject({ swept: 0, damaged: 0 });
  });

  it('takes nothing that is sealed while it sweeps', async () => {
    const id = newId('backup');
    await unsealed(id, 2 * HOUR);
    const { store } = at.scratch;
    const archives = createUpkeepArchives(storeWith(store, {
      async *list(prefix, options) {
        yield* store.list(prefix, options);
        const manifest = await store.create(`backups/${id}/manifest`);
        await manifest.commit();
      },
    }), RING);
    expect(await archives.removeUnsealed(id)).toBe(false);
    expect(await at.objects()).toEqual([`backups/${id}/manifest`, `backups/${id}/rdb`]);
  });

  it('adopts a sealed archive without a record: row and instance are made from the manifest, and it is read through before it is AVAILABLE', async () => {
    const known = await at.instance();
    const lost = { id: newId('instance'), name: 'lost cache' };
    const ofKnown = await at.archive({ instance: known });
    const [old, newest] = [await at.archive({ instance: lost, days: 40 }), await at.archive({ instance: lost, days: 30 })];
    const broken = await at.archive({ instance: lost, days: 2 });
    const bytes = await at.scratch.get(`backups/${broken}/rdb`);
    bytes.writeUInt8(bytes.readUInt8(200) ^ 1, 200);
    await at.scratch.tamper(`backups/${broken}/rdb`, bytes);
    const upkeep = at.upkeep();
    expect(await upkeep.pass()).toMatchObject({ adopted: 4, proven: 4, damaged: 1, removed: 0 });
    expect(await backup(ofKnown)).toMatchObject({ instanceId: known.id, state: 'AVAILABLE', jobId: null, keys: CONTENT.rdb.keys, sizeBytes: BigInt(CONTENT.plain.length), trigger: 'MANUAL', damage: null });
    const again = await backup(newest);
    expect(again).toMatchObject({ instanceId: lost.id, state: 'AVAILABLE', name: `archive ${newest.slice(-4)}`, engineVersion: '7.0.15' });
    expect(again!.expiresAt!.getTime() - again!.completedAt!.getTime()).toBe(7 * DAY);
    expect(await backup(ofKnown)).toMatchObject({ manifestSha256: expect.stringMatching(/^[0-9a-f]{64}$/) as string, lastVerifiedAt: expect.any(Date) as Date, verifications: [{ level: 'CONTENT', result: 'PASSED', jobId: null }] });
    expect(await backup(broken)).toMatchObject({ lastVerifiedAt: null, verifications: [{ level: 'CONTENT', result: 'DAMAGED', jobId: null }] });
    expect(await backup(broken)).toMatchObject({ state: 'DAMAGED', damage: { code: 'CORRUPT', message: expect.stringContaining('byte') as string } });
    // Registered, so that its newest good backup stays although it is long past its time; not planned, and without a credential.
    const remade = await at.rig.db.read.instances.get(at.rig.caller, lost.id);
    expect(remade).toMatchObject({
      name: 'lost cache', host: '10.0.0.5', port: 6379, removedAt: null, hasPassword: false, server: { version: '7.0.15', keys: CONTENT.rdb.keys },
      capabilities: { backup: { possible: false, reason: expect.stringContaining('updateInstance') as string }, restore: { possible: false } },
    });
    expect(await at.rig.db.read.policies.getByInstances(at.rig.caller, [lost.id])).toMatchObject([{ enabled: false, nextRunAt: null }]);
    expect(await upkeep.pass()).toMatchObject({ adopted: 0, proven: 0, removed: 1 });
    expect([await at.stateOf(old), await at.stateOf(newest)]).toEqual(['DELETED', 'AVAILABLE']);
  });

  it('finds the server under the registration it has now, and gives a taken name a suffix', async () => {
    const byRun = await at.instance();
    const byAddress = await at.instance({ host: 'Cache.example', port: 6400 });
    const named = await at.instance({ name: 'orders', port: 7000 });
    const ids = [
      await at.archive({ runId: byRun.server.runId, port: 1 }),
      await at.archive({ port: 1, instance: { id: newId('instance'), name: 'orders' } }),
    ];
    await at.rig.sql(`UPDATE instances SET host = '10.0.0.5' WHERE id = $1`, [byAddress.id]);
    ids.push(await at.archive({ port: 6400 }));
    expect(await at.upkeep().pass()).toMatchObject({ adopted: 3 });
    const [first, second, third] = await Promise.all(ids.map(backup));
    expect(first?.instanceId).toBe(byRun.id);
    expect(third?.instanceId).toBe(byAddress.id);
    expect([byRun.id, byAddress.id, named.id]).not.toContain(second?.instanceId);
    expect(await at.rig.db.read.instances.get(at.rig.caller, second!.instanceId)).toMatchObject({ name: 'orders (recovered)' });
  });

  it('an unknown project is made anew, or its archives go where an operator said', async () => {
    const [elsewhere, mapped] = [newId('project'), newId('project')];
    const own = await at.archive({ projectId: elsewhere });
    await at.rig.db.read.settings.put(`adopt-into ${mapped}`, at.rig.caller.projectId);
    const given = await at.archive({ projectId: mapped });
    expect(await at.upkeep().pass()).toMatchObject({ adopted: 2 });
    expect(await at.rig.db.read.projects.get(elsewhere)).toMatchObject({ name: `recovered ${elsewhere}` });
    expect(await at.rig.db.read.backups.get({ projectId: elsewhere }, own)).toMatchObject({ state: 'AVAILABLE' });
    expect(await backup(given)).toMatchObject({ state: 'AVAILABLE' });
    expect(await at.rig.db.read.projects.get(mapped)).toBeNull();
  });

  it('leaves archives alone whose manifest it cannot read, and says so once', async () => {
    const id = await at.archive();
    const bytes = await at.scratch.get(`backups/${id}/manifest`);
    bytes.writeUInt8(bytes.readUInt8(50) ^ 1, 50);
    await at.scratch.tamper(`backups/${id}/manifest`, bytes);
    const errors: string[] = [];
    const upkeep = at.upkeep({ log: { ...at.rig.log, error: (message, fields) => void errors.push(`${message} ${JSON.stringify(fields)}`) } });
    for (let pass = 0; pass < 2; pass += 1) expect(await upkeep.pass()).toMatchObject({ adopted: 0, proven: 0, removed: 0 });
    expect(await at.objects()).toHaveLength(3);
    expect(errors).toEqual([expect.stringMatching(new RegExp(`could not adopt.*${id}`))]);
  });

  it('a backup whose archive is gone is DAMAGED and says why; one that comes back is read through and AVAILABLE again', async () => {
    const instance = await at.instance();
    const [gone, there] = [await at.backup({ instance, days: 1 }), await at.backup({ instance, days: 2 })];
    const folder = at.scratch.path(`backups/${gone}`);
    await rename(folder, join(at.scratch.root, 'aside'));
    const upkeep = at.upkeep();
    expect(await upkeep.pass()).toMatchObject({ damaged: 1 });
    expect(await backup(gone)).toMatchObject({ state: 'DAMAGED', damage: { code: 'NOT_FOUND', message: expect.stringContaining(gone) as string } });
    expect(await at.stateOf(there)).toBe('AVAILABLE');
    await rename(join(at.scratch.root, 'aside'), folder);
    expect(await upkeep.pass()).toMatchObject({ damaged: 0, proven: 1 });
    expect(await backup(gone)).toMatchObject({ state: 'AVAILABLE', damage: null });
    // And is known from then on.
    await rename(folder, join(at.scratch.root, 'aside'));
    expect(await upkeep.pass()).toMatchObject({ damaged: 1 });
    await at.archive({ id: gone, instance });
    expect(await upkeep.pass()).toMatchObject({ proven: 1, damaged: 1 });
    expect(await backup(gone)).toMatchObject({ state: 'DAMAGED', damage: { code: 'CORRUPT', message: expect.stringContaining('not the one that was sealed') as string } });
  });

  it('a sealed archive of a run that was given up is read through and its backup AVAILABLE; one of a deleted backup is removed', async () => {
    const instance = await at.instance();
    const [given, deleted, cancelled] = [
      await at.backup({ instance, days: 0.1, state: 'FAILED' }), await at.backup({ instance, days: 1, state: 'DELETED' }),
      await at.backup({ instance, days: 1, state: 'DELETING' }),
    ];
    const job = await at.rig.insertJob({ kind: 'DELETE', backupId: cancelled, serverRunId: null });
    expect(await at.upkeep().pass()).toMatchObject({ proven: 1 });
    expect(await backup(given)).toMatchObject({ state: 'AVAILABLE', keys: CONTENT.rdb.keys });
    // That one is its job's to delete.
    expect(await at.stateOf(cancelled)).toBe('DELETING');
    expect(await at.objects()).toEqual([given, cancelled].flatMap((id) => ['key.' + MASTER.id, 'manifest', 'rdb'].map((name) => `backups/${id}/${name}`)).sort());
    await at.rig.sql(`UPDATE jobs SET state = 'COMPLETED' WHERE id = $1`, [job.id]);
    expect(await at.upkeep().pass()).toMatchObject({ removed: 1 });
    expect([await at.stateOf(cancelled), await at.stateOf(deleted)]).toEqual(['DELETED', 'DELETED']);
  });

  it('does nothing in a store that is another catalogue\'s, from the very moment it is', async () => {
    const instance = await at.instance();
    const old = await at.backup({ instance, days: 9 });
    await at.backup({ instance, days: 1 });
    const stranger = await at.archive();
    await unsealed(newId('backup'), 2 * HOUR);
    const ours = await catalogueIdOf(at.rig.db);
    expect(await at.scratch.store.claim('another', ours)).toBe('another');
    const before = await at.objects();
    const upkeep = at.upkeep();
    expect(await upkeep.pass()).toEqual({ stoppedBecause: expect.stringContaining('another') as string, adopted: 0, proven: 0, damaged: 0, swept: 0, removed: 0, rekeyed: 0 });
    expect((await upkeep.status()).stoppedBecause).toContain('store:adopt');
    expect(await at.objects()).toEqual(before);
    expect([await at.stateOf(old), await at.stateOf(stranger)]).toEqual(['AVAILABLE', undefined]);
    await at.scratch.store.claim(ours, 'another');
    // In the middle of a pass.
    const { store } = at.scratch;
    const taken = at.upkeep({
      store: storeWith(store, {
        async *list(prefix, options) {
          yield* store.list(prefix, options);
          await store.claim('another', ours);
        },
      }),
    });
    expect(await taken.pass()).toMatchObject({ swept: 0, removed: 0 });
    expect(await at.objects()).toEqual(before);
    await store.claim(ours, 'another');
    expect(await at.upkeep().pass()).toMatchObject({ swept: 1, removed: 1, stoppedBecause: null });
  });

  it('goes on with the rest when one step cannot be done', async () => {
    const instance = await at.instance();
    const old = await at.backup({ instance, days: 9 });
    await at.backup({ instance, days: 1 });
    const failing = at.upkeep({ store: storeWith(at.scratch.store, { sweep: () => Promise.reject(new DomainError('STORAGE_IO', 'No sweeping here.')) }) });
    expect(await failing.pass()).toMatchObject({ swept: 0, removed: 1 });
    expect(await at.stateOf(old)).toBe('DELETED');
    expect(at.rig.logged.some((line) => line.includes('No sweeping here.'))).toBe(true);
  });

  it('joins a store and a catalogue that have belonged to nobody, and no others', async () => {
    const { db, log } = at.rig;
    const ours = await catalogueIdOf(db);
    expect(await detachedBecause(db, at.scratch.store)).toBeNull();
    const open = (name: string, catalogueId?: string) => openFilesystemStore({ root: join(at.scratch.root, '..', name), create: true, catalogueId });
    // Another store than the one known, though it says it is ours.
    const second = await open('second', ours);
    await attachStore(db, second, log);
    expect(await detachedBecause(db, second)).toContain('another one than this database has its backups in');
    await db.read.settings.put('store-id', second.id);
    expect(await detachedBecause(db, second)).toBeNull();
    // A store from before stores named their catalogue: ours, when the database says so.
    const old = await open('old');
    await db.read.settings.put('store-id', old.id);
    await attachStore(db, old, log);
    expect(await old.owner()).toBe(ours);
    // A new database, and a store that names nobody: ours when it is empty.
    await at.rig.sql(`DELETE FROM service_settings WHERE name = 'store-id'`);
    const [empty, full] = [await open('empty'), await open('full')];
    const writer = await full.create(`backups/${newId('backup')}/manifest`);
    await writer.commit();
    await attachStore(db, full, log);
    expect(await full.owner()).toBeNull();
    expect(await detachedBecause(db, full)).toContain('belongs to no catalogue');
    await attachStore(db, empty, log);
    expect(await empty.owner()).toBe(ours);
    expect(await db.read.settings.get('store-id')).toBe(empty.id);
  });
});
