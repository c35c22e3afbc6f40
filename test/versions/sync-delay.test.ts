import { afterAll, beforeAll, expect, it } from 'vitest';
import { type RedisServer, startRedis } from '../kit/redis.js';
import { redisVersions } from '../kit/redis-binary.js';
import { startService, type TestService } from '../kit/service.js';

const versions = redisVersions();
const started: RedisServer[] = [];
let service: TestService;
beforeAll(async () => {
  service = await startService();
});
afterAll(async () => {
  await service?.stop();
  await Promise.all(started.map((server) => server.stop()));
});

/** Diskless saves with a delay: what 7.0 and newer do by themselves, and older ones when they are told to. */
it.each(versions)('%s: its delay is skipped, and is what it was', async (version) => {
  const { sdk } = service;
  const server = await startRedis({ version, config: { 'repl-diskless-sync': 'yes', 'repl-diskless-sync-delay': '60' } });
  started.push(server);
  await server.cli('SET', 'key', 'value');
  const { id: instanceId } = await sdk.instances.register({ name: version, host: server.host, port: server.port, skipSyncDelay: true });
  const begun = performance.now();
  const { backup, job } = await sdk.backups.create({ instanceId, name: 'without delay' });
  expect(await sdk.backups.wait({ backup, job })).toMatchObject({ state: 'AVAILABLE', keys: '1' });
  expect(performance.now() - begun).toBeLessThan(40_000);
  expect((await sdk.jobs.get(job))?.notices.map(({ code }) => code)).toEqual(['SYNC_DELAY_SKIPPED']);
  expect((await server.cli('CONFIG', 'GET', 'repl-diskless-sync-delay')).split('\n')[1]).toBe('60');
});
