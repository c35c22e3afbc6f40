import { afterAll, beforeAll, expect, it } from 'vitest';
import { ownDigest } from '../kit/digest.js';
import { type RedisServer } from '../kit/redis.js';
import { compareVersions, redisBinary, redisVersions } from '../kit/redis-binary.js';
import { startReplica, syncsOf } from '../kit/replicas.js';
import { seedAllTypes } from '../kit/seed.js';
import { startService, type TestService } from '../kit/service.js';
import { startFrom, startMember, takeBackup } from './servers.js';

const binaries = await Promise.all(redisVersions().map(async (name) => ({ name, ...(await redisBinary(name)) })));

let service: TestService;
const started: RedisServer[] = [];

beforeAll(async () => {
  service = await startService();
});

afterAll(async () => {
  await service?.stop();
  await Promise.all(started.map((server) => server.stop()));
});

it('has servers to run on', () => {
  expect(binaries, 'Run "npm run redis-versions" first, or name another folder by REDIS_VERSIONS_DIR.').not.toEqual([]);
});

it.each(binaries)('$name: a replica of the same version is read in its master\'s place', async ({ name }) => {
  const master = await startMember(service, name, `master ${name}`, started);
  await seedAllTypes(master.server, { keysPerType: 3 });
  const replica = await startReplica(master.server, { version: name });
  started.push(replica);
  const before = await syncsOf(master.server);
  const { backup, file } = await takeBackup(service, master);
  expect(backup.source).toMatchObject({ role: 'REPLICA', port: replica.port, version: master.server.version });
  expect([await syncsOf(master.server) - before, await syncsOf(replica)]).toEqual([0, 1]);
  expect(await startFrom(file, name, (server) => ownDigest(server))).toBe(await ownDigest(master.server));
});

/** A newer replica follows an older master, and may write what that cannot load. */
const upgrades = binaries.flatMap((master) => binaries
  .filter(({ engine, version }) => engine === master.engine && compareVersions(version, master.version) > 0)
  .map((replica) => ({ master, replica, from: master.name, to: replica.name })));

it.each(upgrades)('$from with a replica of $to: whoever is read, the master loads it', async ({ master: { name }, replica: { name: newer } }) => {
  const master = await startMember(service, name, `${name} before ${newer}`, started);
  await seedAllTypes(master.server, { keysPerType: 1 });
  const replica = await startReplica(master.server, { version: newer });
  started.push(replica);
  const { backup, file } = await takeBackup(service, master);
  const [notice] = (await service.sdk.jobs.get(backup.job?.id ?? ''))?.notices ?? [];
  if (backup.source?.role === 'MASTER') expect(notice).toMatchObject({ code: 'REPLICA_NOT_USED', message: expect.stringContaining('may not load') as string });
  else expect(notice).toMatchObject({ code: 'REPLICA_SOURCE' });
  expect(await startFrom(file, name, (server) => ownDigest(server))).toBe(await ownDigest(master.server));
});
