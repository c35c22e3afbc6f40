import { expect } from 'vitest';
import { digest } from '../kit/digest.js';
import { freePort } from '../kit/processes.js';
import { startRedis, type RedisServer } from '../kit/redis.js';
import { infoOf, restoreInto, sourceOf, takeRdb, type Rdb } from '../integration/restore/harness.js';
import { aim, expectWritable, LINK_HOST, startTarget, type Point } from './points.js';
import { startTap } from './tap.js';

export interface NewData {
  rdb: Rdb;
  digest: string;
}

/** What is restored: 3,000 keys. */
export const makeNewData = async (): Promise<NewData> => {
  const source = await startRedis({ config: { rdbcompression: 'no' } });
  try {
    await source.cli('DEBUG', 'POPULATE', '3000', 'new', '200');
    return { rdb: await takeRdb(source), digest: await digest(source) };
  } finally {
    await source.stop();
  }
};

const strikeAt = async (target: RedisServer, { rdb, digest: fresh }: NewData, point: Point, logged: boolean): Promise<void> => {
  const old = await digest(target);
  const port = await freePort();
  const control = await startTap({ host: '127.0.0.1' }, target);
  const link = await startTap({ host: LINK_HOST, port }, { port });
  try {
    const struck = aim(point, { control, link }, () => infoOf(target), async () => {
      if (point.promoted) expect(await target.cli('SET', 'acknowledged', '1')).toBe('OK');
      await target.restart({ signal: 'SIGKILL' });
    });
    const [{ report, failure }] = await Promise.all([
      restoreInto(target, sourceOf(rdb), { times: { linkMs: 1_500 }, plan: { endpoint: { host: '127.0.0.1', port: control.port }, link: { advertisedHost: LINK_HOST, ports: { from: port, to: port } } } }),
      struck,
    ]);
    const ended = report ?? failure?.report;
    if (point.promoted && logged) expect(await target.cli('DEL', 'acknowledged')).toBe('1');
    const found = await digest(target);
    expect([old, fresh]).toContain(found);
    expect(ended).toMatchObject({ dataNow: found === old ? 'OLD' : 'NEW', promoted: true });
    // Before the append-only file is written anew, a restart brings back what it held.
    if (point.data === 'OLD' || point.promoted) expect(ended?.dataNow).toBe(point.data);
    await expectWritable(target, logged);
  } finally {
    await Promise.all([control.stop(), link.stop()]);
  }
};

/** A restore whose target is killed at a point, and started again at once. */
export const crashTarget = async (data: NewData, point: Point, logged: boolean): Promise<void> => {
  const target = await startTarget(point, logged);
  try {
    await strikeAt(target, data, point, logged);
  } finally {
    await target.stop();
  }
};
