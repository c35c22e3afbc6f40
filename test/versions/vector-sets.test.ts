import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Backup } from '@snapback/sdk';
import { ownDigest } from '../kit/digest.js';
import { type RedisServer } from '../kit/redis.js';
import { compareVersions, redisBinary, redisVersions } from '../kit/redis-binary.js';
import { startService, type TestService } from '../kit/service.js';
import { makeDifferent, typeCounts } from './contents.js';
import { accepting, FOLLOWS, startFrom, startMember, storedRdb, takeBackup, type Member } from './servers.js';

/** Versions with vector sets, which are a module that comes with Redis 8. */
const binaries = await Promise.all(redisVersions().map(async (name) => ({ name, ...(await redisBinary(name)) })));
const versions = binaries.filter(({ engine, version }) => engine === 'REDIS' && compareVersions(version, '8.0.0') >= 0);

let service: TestService;
const started: RedisServer[] = [];

beforeAll(async () => {
  if (versions.length > 0) service = await startService();
});

afterAll(async () => {
  await service?.stop();
  await Promise.all(started.map((server) => server.stop()));
});

const addVectors = async (server: RedisServer): Promise<void> => {
  const client = server.client();
  for (let at = 0; at < 40; at += 1) await client.call('VADD', 'vectors', 'VALUES', 3, at, 1 / (at + 1), -at, `element ${String(at)}`, 'SETATTR', `{"at":${String(at)}}`);
  await client.set('plain', '1');
  client.disconnect();
};

const restore = async ({ instance }: Member, backup: Backup): Promise<void> => {
  const plan = await service.sdk.restores.plan({ backupId: backup.id, instanceId: instance.id });
  expect(plan.blockers).toEqual([]);
  await service.sdk.restores.wait(await service.sdk.restores.run({ ...accepting(plan), confirmation: instance.name }));
};

/**
 * Their encoding changed within 8.0 under the same RDB and module version (redis/redis#14144): a server that is older than the writer may end
 * in the middle of the load, so it is refused; whether this pair of versions would have met that is not asked.
 */
it(`vector sets go into servers that are not older: ${versions.map(({ name }) => name).join(', ') || 'no version here has them'}`, async () => {
  for (const { name } of versions) {
    const source = await startMember(service, name, `${name} source`, started);
    await addVectors(source.server);
    const data = await ownDigest(source.server);
    const { backup, file } = await takeBackup(service, source);
    expect(storedRdb(service, backup)).toMatchObject({ modules: ['vectorset'], integrity: 'STRUCTURE_AND_CHECKSUM' });
    expect(Object.fromEntries(backup.types?.map(({ type, keys }) => [type, keys]) ?? [])).toEqual(await typeCounts(source.server));
    expect(backup.loadsOn).toEqual([{ engine: 'REDIS', minVersion: source.server.version, maxVersion: null }]);
    expect(await startFrom(file, name, (server) => ownDigest(server))).toBe(data);

    for (const { name: other } of versions) {
      const target = await startMember(service, other, `${name} to ${other}`, started);
      await makeDifferent(target.server);
      if (compareVersions(target.server.version, source.server.version) >= 0) {
        await restore(target, backup);
        expect(await ownDigest(target.server)).toBe(data);
      } else {
        const before = await ownDigest(target.server);
        const plan = await service.sdk.restores.plan({ backupId: backup.id, instanceId: target.instance.id, method: 'REPLICATION_LINK' });
        expect(plan.blockers).toMatchObject([{ name: 'CANNOT_LOAD', code: 'VERSION_TOO_OLD' }]);
        expect(await ownDigest(target.server)).toBe(before);
        expect(target.server.log()).not.toMatch(FOLLOWS);
      }
    }
  }
});
