import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { masterKeysFromText } from '../../../server/security/master-key.js';
import { carryOutAdoption, describeAdoption, planAdoption } from '../../../server/jobs/upkeep/adoption.js';
import { createUpkeepArchives } from '../../../server/jobs/upkeep/archives.js';
import { catalogueIdOf } from '../../../server/jobs/upkeep/attachment.js';
import { RING } from '../../unit/archive/archive-kit.js';
import { newId } from '../jobs/rig.js';
import { startScene, type UpkeepScene } from './scene.js';

describe('adopting a store', () => {
  let at: UpkeepScene;
  beforeEach(async () => {
    at = await startScene();
    await at.scratch.store.claim('lost', await at.scratch.store.owner());
  });
  afterEach(() => at?.stop());

  const plan = (choices: { from: string; into: string }[] = [], keys = RING) => planAdoption(at.rig.db, at.scratch.store, createUpkeepArchives(at.scratch.store, keys), choices);
  const projectOf = async (backupId: string) => (await at.rig.sql<{ project_id: string }>('SELECT project_id FROM backups WHERE id = $1', [backupId]))[0]?.project_id;

  it('says beforehand what becomes of every archive, and does that', async () => {
    const own = await at.instance();
    const [there, gone] = [await at.backup({ instance: own, days: 1 }), await at.backup({ instance: own, days: 2, archive: false })];
    const [one, two] = [newId('project'), newId('project')];
    const cache = { id: newId('instance'), name: 'cache' };
    const ofOne = [await at.archive({ projectId: one, instance: cache, days: 1 }), await at.archive({ projectId: one, instance: cache, days: 9 })];
    const ofTwo = await at.archive({ projectId: two, instance: { id: newId('instance'), name: 'queue' } });
    const broken = await at.archive();
    await at.scratch.tamper(`backups/${broken}/manifest`, Buffer.from('{}'));

    const name = 'another tenant';
    const other = newId('project');
    await at.rig.db.read.projects.insert({ id: other, name, createdAt: new Date() });
    const found = await plan([{ from: two, into: name }]);
    expect(found).toMatchObject({ owner: 'lost', catalogueId: await catalogueIdOf(at.rig.db), sealed: 5, strangers: 4, missing: 1, expired: 1, unreadable: [{ backupId: broken }] });
    const text = describeAdoption(found);
    for (const line of [
      'Archives   5 sealed, 4 of them without a record here', '- give 3 archives a record.', '1 of these archives is past the time', 'make 1 AVAILABLE backup of this catalogue DAMAGED',
      `- make project ${one} anew for 2 archives ("cache"). No key opens it`, `- put 1 archive of the unknown project ${two} ("queue") into project "${name}"`, `- leave ${broken} as it is`,
    ]) expect(text).toContain(line);
    expect(await at.upkeep().pass()).toMatchObject({ adopted: 0, damaged: 0 });

    await carryOutAdoption(found, at.rig.db, at.scratch.store);
    expect(await at.upkeep().pass()).toMatchObject({ stoppedBecause: null, adopted: 3, proven: 3, damaged: 1 });
    expect([await projectOf(ofOne[0]!), await projectOf(ofOne[1]!), await projectOf(ofTwo)]).toEqual([one, one, other]);
    expect([await at.stateOf(there), await at.stateOf(gone), await at.stateOf(broken)]).toEqual(['AVAILABLE', 'DAMAGED', undefined]);
    expect(describeAdoption(await plan())).toContain('there is nothing to adopt');
  });

  it('puts one unknown project into the only one there is, and refuses what makes no sense', async () => {
    const from = newId('project');
    const id = await at.archive({ projectId: from });
    expect((await plan()).projects).toMatchObject([{ from, archives: 1, into: { id: at.rig.caller.projectId } }]);
    await expect(plan([{ from, into: 'nowhere' }])).rejects.toMatchObject({ code: 'NOT_FOUND', message: expect.stringContaining(at.rig.caller.projectId) as string });
    await expect(plan([{ from: at.rig.caller.projectId, into: 'x' }])).rejects.toMatchObject({ code: 'NOT_FOUND' });
    // Under another master key nothing can be read, so nothing is promised.
    const foreign = masterKeysFromText(randomBytes(32).toString('hex'));
    expect(await plan([], foreign)).toMatchObject({ strangers: 1, projects: [], unreadable: [{ backupId: id, reason: expect.stringContaining('master key') as string }] });
    const found = await plan();
    await at.scratch.store.claim('faster', 'lost');
    await expect(carryOutAdoption(found, at.rig.db, at.scratch.store)).rejects.toMatchObject({ code: 'CONFLICT' });
    expect(await at.upkeep().pass()).toMatchObject({ adopted: 0, stoppedBecause: expect.stringContaining('faster') as string });
    await at.rig.sql('DELETE FROM projects');
    await expect(plan()).rejects.toMatchObject({ code: 'CONFLICT', hint: expect.stringContaining('Start the service') as string });
  });
});
