import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Backup, type Instance } from '@snapback/sdk';
import { digest } from '../kit/digest.js';
import { fillBytes } from '../kit/fill.js';
import { startRedis, type RedisServer } from '../kit/redis.js';
import { realS3, type RealS3 } from '../kit/s3/real.js';
import { seedAllTypes } from '../kit/seed.js';
import { startService, type TestService } from '../kit/service.js';
import { archivesOf, backUp, register, startRestore } from './scene.js';

const url = process.env['S3_TEST_URL'] ?? '';

if (url === '') {
  console.warn('\n!!! NOT RUN: a service with its archives on a real S3 server. Set S3_TEST_URL, or use `npm run test:s3`.\n');
  describe('archives on a real S3 server', () => {
    it('was not run: S3_TEST_URL is not set', () => { expect(url).toBe(''); });
  });
} else {
  describe('archives on a real S3 server', () => {
    let real: RealS3;
    let service: TestService;
    let source: RedisServer;
    let target: RedisServer;
    let instance: Instance;
    let backup: Backup;

    beforeAll(async () => {
      real = realS3(url, 'service');
      [service, source, target] = await Promise.all([startService({ env: { ...real.settings } }), startRedis(), startRedis()]);
      await seedAllTypes(source, { keysPerType: 20 });
      // Enough for several parts of 8 MiB once it is compressed.
      await fillBytes(source, { mib: 32 });
      instance = await register(service, 'source', source);
      backup = await backUp(service, instance.id, 'first');
    });
    afterAll(async () => {
      await Promise.all([service?.stop(), source?.stop(), target?.stop()]);
      await real?.clear();
    });

    /** Whole archives of these backups, and the store's marker. */
    const expectStored = async (...ids: string[]): Promise<void> => {
      const { objects, uploads } = await real.content();
      expect(objects.map((key) => key.replace(/\/key\.[0-9a-f]{8}/, '/key')).sort()).toEqual(['.snapback-store', ...archivesOf(...ids)].sort());
      expect(uploads).toEqual([]);
    };

    it('are whole, and read back to the last byte', async () => {
      expect(backup).toMatchObject({ state: 'AVAILABLE', integrity: 'STRUCTURE_AND_CHECKSUM' });
      expect(Number(backup.storedBytes)).toBeGreaterThan(16 * 1024 * 1024);
      await expectStored(backup.id);
      expect(await service.sdk.backups.wait(await service.sdk.backups.verify({ backupId: backup.id, level: 'CONTENT' }))).toMatchObject({ state: 'AVAILABLE', verification: { level: 'CONTENT', result: 'PASSED' } });
    });

    it('are restored into a running server', async () => {
      const { restore } = await startRestore(service, backup.id, await register(service, 'target', target));
      expect(await service.sdk.restores.wait(restore)).toMatchObject({ dataNow: 'NEW', report: { promoted: true } });
      expect(await digest(target)).toBe(await digest(source));
    });

    it('are found again by a service that starts anew, and gone when they are deleted', async () => {
      await service.restart();
      expect(await service.sdk.service.info()).toMatchObject({ store: { kind: 'S3', writable: true } });
      const second = await backUp(service, instance.id, 'second');
      await expectStored(backup.id, second.id);
      await service.sdk.jobs.wait((await service.sdk.backups.delete({ backupId: second.id, force: true })).job);
      await expectStored(backup.id);
      expect(service.logs()).not.toContain(real.settings['S3_SECRET_ACCESS_KEY'] ?? 'no secret given');
    });
  });
}
