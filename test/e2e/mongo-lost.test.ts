import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MongoClient } from 'mongodb';
import { type Instance } from '@snapback/sdk';
import { startProxy, type Proxy } from '../kit/proxy.js';
import { startRedis, type RedisServer } from '../kit/redis.js';
import { startService, type TestService } from '../kit/service.js';
import { eventually, waitFor } from '../kit/wait.js';
import { backUp, populate, register } from './scene.js';

const server = process.env.MONGODB_URL ?? '';

if (server === '') {
  console.warn('\n!!! NOT RUN: a service whose MongoDB goes away. Set MONGODB_URL, or use `npm run test:mongo`.\n');
  describe('a service whose MongoDB goes away', () => {
    it('was not run: MONGODB_URL is not set', () => { expect(server).toBe(''); });
  });
} else {
  describe('a service whose MongoDB goes away', () => {
    const url = new URL(server);
    let proxy: Proxy;
    let service: TestService;
    let source: RedisServer;
    let instance: Instance;
    const readyz = async (): Promise<{ status: number; wrong: string[] }> => {
      const response = await fetch(`${service.url}/readyz`);
      const { checks } = (await response.json()) as { checks: { name: string; ok: boolean }[] };
      return { status: response.status, wrong: checks.filter(({ ok }) => !ok).map(({ name }) => name) };
    };

    beforeAll(async () => {
      proxy = await startProxy(Number(url.port));
      url.hostname = '127.0.0.1';
      url.port = String(proxy.port);
      url.pathname = `/lost_${randomUUID().replaceAll('-', '')}`;
      url.searchParams.set('directConnection', 'true');
      [service, source] = await Promise.all([startService({ env: { MONGODB_URL: url.href } }), startRedis()]);
      await populate(source, 100, 10);
      instance = await register(service, 'source', source);
    });
    afterAll(async () => {
      await Promise.all([service?.stop(), source?.stop()]);
      const client = await MongoClient.connect(url.href);
      await client.db().dropDatabase();
      await client.close();
      await proxy?.stop();
    });

    it('says so, answers callers meanwhile, and does what they asked for when it is back', async () => {
      await backUp(service, instance.id, 'before');
      expect(await readyz()).toEqual({ status: 200, wrong: [] });
      proxy.cut();
      await eventually(async () => expect(await readyz()).toEqual({ status: 503, wrong: ['clock'] }));

      const asked = performance.now();
      const { backup, job } = await service.sdk.backups.create({ instanceId: instance.id, name: 'meanwhile' });
      expect(performance.now() - asked).toBeLessThan(20_000);
      expect(await service.sdk.backups.list().toArray({ limit: 10 })).toHaveLength(2);
      expect(await service.sdk.jobs.get(job)).toMatchObject({ state: 'QUEUED' });

      proxy.mend();
      await waitFor(async () => (await service.sdk.jobs.get(job))?.state === 'COMPLETED');
      expect(await service.sdk.backups.get(backup)).toMatchObject({ state: 'AVAILABLE' });
      await eventually(async () => expect(await readyz()).toEqual({ status: 200, wrong: [] }));
      await backUp(service, instance.id, 'after');
    });
  });
}
