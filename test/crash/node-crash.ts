import { expect } from 'vitest';
import { type Client, type RestoreAndJob } from '@snapback/sdk';
import { startNodesScene, type NodesScene } from '../e2e/nodes-scene.js';
import { infoOf } from '../e2e/scene.js';
import { digest } from '../kit/digest.js';
import { deferred } from '../integration/restore/harness.js';
import { firstKeyOf, type NodeProcess } from '../kit/node-process.js';
import { freePort } from '../kit/processes.js';
import { startRedis } from '../kit/redis.js';
import { aim, expectWritable, LINK_HOST, startTarget, type Point } from './points.js';
import { startTap, type Moment, type Tap } from './tap.js';

/** Two nodes of a service with a backup of 3,000 keys, and a tap in the way of every restore's link. */
export interface CrashScene {
  /** A restore whose node is killed at a point; the other one settles it. With `disklessLoad` the target is set to load while it receives, which is to be as it was. */
  crash(point: Point, logged: boolean, disklessLoad?: boolean): Promise<void>;
  /** The same of a restore key by key, into a target that may hold a mix afterwards. */
  crashByKeys(moment: Moment, dataNow: 'OLD' | 'MIXED'): Promise<void>;
  stop(): Promise<void>;
}

interface Parts {
  scene: NodesScene;
  /** Through a node that runs. */
  sdk(): Client;
  /** Starts nodes until two run. */
  complete(): Promise<unknown>;
  link: Tap;
  backupId: string;
  fresh: string;
}

const crash = async ({ scene, sdk, complete, link, backupId, fresh }: Parts, point: Point, logged: boolean, disklessLoad = false): Promise<void> => {
  const [target] = await Promise.all([startTarget(point, logged), complete()]);
  const control = await startTap({ host: '127.0.0.1' }, target);
  try {
    const old = await digest(target);
    const { id, name } = await sdk().instances.register({ name: `target ${String(control.port)}`, host: '127.0.0.1', port: control.port });
    const plan = await sdk().restores.plan({ backupId, instanceId: id, safetyBackup: true, disklessLoad });
    expect(plan).toMatchObject({ blockers: [], disklessLoad });
    const running = deferred<RestoreAndJob>();
    const struck = aim(point, { control, link }, () => infoOf(target), async () => {
      const { worker } = await scene.row((await running.promise).job);
      await scene.nodes.find(({ pid }) => worker?.includes(`-${String(pid)}-`))?.kill();
    });
    running.resolve(await sdk().restores.run({ planId: plan.id, confirmation: name }));
    const { restore, job } = await running.promise;
    await struck;
    await scene.expire(job);
    expect(scene.nodes.filter((node) => node.running())).toHaveLength(1);
    const row = await scene.completed(job);
    const found = await digest(target);
    expect([old, fresh]).toContain(found);
    const dataNow = found === old ? 'OLD' : 'NEW';
    expect(row).toMatchObject({ state: 'COMPLETED', conclusion: 'FAILED', attempt: 2 });
    expect(await sdk().restores.get(restore)).toMatchObject({ dataNow });
    expect(dataNow).toBe(point.data ?? dataNow);
    expect(await target.cli('CONFIG', 'GET', 'repl-diskless-load')).toContain('disabled');
    await expectWritable(target, logged);
  } finally {
    await control.stop();
    await target.stop();
  }
};

const crashByKeys = async ({ scene, sdk, complete, backupId }: Parts, moment: Moment, dataNow: 'OLD' | 'MIXED'): Promise<void> => {
  const point: Point = { name: JSON.stringify(moment), moment: { on: 'control', what: moment }, data: null };
  const [target] = await Promise.all([startTarget(point, true), complete()]);
  const control = await startTap({ host: '127.0.0.1' }, target);
  try {
    const old = await target.cli('--raw', 'KEYS', '*');
    const { id, name } = await sdk().instances.register({ name: `target ${String(control.port)}`, host: '127.0.0.1', port: control.port });
    const plan = await sdk().restores.plan({ backupId, instanceId: id, safetyBackup: true, onConflict: 'REPLACE' });
    expect(plan).toMatchObject({ method: 'RESTORE_PIPELINE', blockers: [] });
    const running = deferred<RestoreAndJob>();
    const struck = new Promise<void>((done, fail) => {
      control.on(moment, async () => {
        const { worker } = await scene.row((await running.promise).job);
        await (scene.nodes.find(({ pid }) => worker?.includes(`-${String(pid)}-`))?.kill() ?? Promise.resolve()).then(done, fail);
      });
    });
    running.resolve(await sdk().restores.run({ planId: plan.id, confirmation: name }));
    const { restore, job } = await running.promise;
    await struck;
    await scene.expire(job);
    expect(await scene.completed(job)).toMatchObject({ state: 'COMPLETED', conclusion: 'FAILED', attempt: 2 });
    const ended = await sdk().restores.get(restore);
    expect(ended).toMatchObject({ dataNow, safetyBackup: { state: dataNow === 'OLD' ? expect.any(String) as string : 'AVAILABLE' } });
    const there = (await target.cli('--raw', 'KEYS', '*')).split('\n');
    expect(there).toEqual(expect.arrayContaining(old.split('\n').filter((key) => key !== '')));
    if (dataNow === 'OLD') expect(there.filter((key) => key.startsWith('new'))).toEqual([]);
    await expectWritable(target, true);
    if (ended?.undo == null) return;
    const { backupId: safety, instanceId } = ended.undo;
    const undo = await sdk().restores.plan({ backupId: safety, instanceId, safetyBackup: false, method: 'RESTORE_PIPELINE' });
    expect(await sdk().restores.wait(await sdk().restores.run({ planId: undo.id, confirmation: name }))).toMatchObject({ dataNow: 'NEW' });
    expect((await target.cli('--raw', 'KEYS', '*')).split('\n').sort()).toEqual(old.split('\n').sort());
  } finally {
    await control.stop();
    await target.stop();
  }
};

export const startCrashScene = async (): Promise<CrashScene> => {
  const [scene, source, port] = await Promise.all([startNodesScene(), startRedis({ config: { rdbcompression: 'no' } }), freePort()]);
  let link: Tap | undefined;
  const stop = async (): Promise<void> => {
    await Promise.all([scene.stop(), source.stop(), link?.stop()]);
  };
  try {
    link = await startTap({ host: LINK_HOST, port }, { port });
    await source.cli('DEBUG', 'POPULATE', '3000', 'new', '200');
    const env = { REPLICATION_ADVERTISE_HOST: LINK_HOST, REPLICATION_PORTS: String(port), SAMPLE_REDIS: 'false' };
    const alive = (): NodeProcess[] => scene.nodes.filter((node) => node.running());
    const complete = (): Promise<unknown> => Promise.all(Array.from({ length: 2 - alive().length }, () => scene.start({ env })));
    await complete();
    const key = await firstKeyOf(scene.nodes);
    const sdk = (): Client => {
      const [node] = alive();
      if (node === undefined) throw new Error('No node is left');
      return node.client(key);
    };
    const { id } = await sdk().instances.register({ name: 'source', host: source.host, port: source.port });
    const backup = await sdk().backups.wait(await sdk().backups.create({ instanceId: id, name: 'new data' }));
    const parts: Parts = { scene, sdk, complete, link, backupId: backup.id, fresh: await digest(source) };
    return { stop, crash: (point, logged, disklessLoad) => crash(parts, point, logged, disklessLoad), crashByKeys: (moment, dataNow) => crashByKeys(parts, moment, dataNow) };
  } catch (error) {
    await stop();
    throw error;
  }
};
