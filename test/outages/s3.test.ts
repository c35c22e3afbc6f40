import { createHash } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Backup, type Instance } from '@snapback/sdk';
import { digest } from '../kit/digest.js';
import { readBlocks } from '../kit/docs.js';
import { fillBytes } from '../kit/fill.js';
import { startRedis, type RedisServer } from '../kit/redis.js';
import { startS3, type S3Double } from '../kit/s3/server.js';
import { type S3Operation } from '../kit/s3/faults.js';
import { seedAllTypes } from '../kit/seed.js';
import { startService, type TestService } from '../kit/service.js';
import { waitFor } from '../kit/wait.js';
import { archivesOf, backUp, expectFailedJob, refusal, register, startRestore } from '../e2e/scene.js';

const sha = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

describe('archives in S3', () => {
  let s3: S3Double;
  let service: TestService;
  let source: RedisServer;
  let target: RedisServer;
  let instance: Instance;
  let other: Instance;
  let backup: Backup;

  beforeAll(async () => {
    s3 = await startS3();
    [service, source, target] = await Promise.all([startService({ env: { ...s3.settings('team/redis'), STORE_TIMEOUT_SECONDS: '2', UNSEALED_SECONDS: '1' } }), startRedis(), startRedis()]);
    await seedAllTypes(source, { keysPerType: 20 });
    // Enough for three parts of 8 MiB once it is compressed.
    await fillBytes(source, { mib: 32 });
    instance = await register(service, 'source', source);
    other = await register(service, 'target', target);
    backup = await backUp(service, instance.id, 'first');
  });
  afterAll(async () => {
    await Promise.all([service?.stop(), source?.stop(), target?.stop()]);
    await s3?.stop();
  });
  /** After whatever happened, the service goes on. */
  afterEach(async () => {
    s3.heal();
    expect(await service.sdk.backups.list({ states: ['AVAILABLE'] }).toArray({ limit: 100 })).toHaveLength(1);
    expect(stored()).toEqual(archivesOf(backup.id));
    expect(s3.bucket.uploads.size).toBe(0);
  });

  /** Every object under the prefix but the marker. */
  const stored = (): string[] =>
    [...s3.bucket.objects.keys()].map((key) => key.replace(/^team\/redis\//, '').replace(/\/key\.[0-9a-f]{8}/, '/key')).filter((key) => key !== '.snapback-store').sort();

  it('are written in parts, and the service says where it keeps them without saying a secret', async () => {
    expect(backup).toMatchObject({ state: 'AVAILABLE', integrity: 'STRUCTURE_AND_CHECKSUM' });
    expect(s3.requests.filter(({ operation, key }) => operation === 'UploadPart' && key.includes(backup.id)).length).toBeGreaterThan(1);
    const { store } = await service.sdk.service.info();
    expect(store).toEqual({ kind: 'S3', location: `s3://archives/team/redis/ at ${s3.endpoint}`, writable: true, freeBytes: null });
    expect((await fetch(`${service.url}/readyz`)).status).toBe(200);
    expect(service.logs()).not.toContain(s3.keys.secretAccessKey);
  });

  it('are downloaded, whole and in parts', async () => {
    const { url } = await service.sdk.backups.link(backup);
    const whole = Buffer.from(await (await fetch(url)).arrayBuffer());
    expect([String(whole.length), sha(whole)]).toEqual([backup.sizeBytes, backup.sha256]);
    for (const [from, to] of [[0, 8], [9_000_000, 9_100_000], [whole.length - 8, whole.length - 1]] as const) {
      const part = await fetch(url, { headers: { range: `bytes=${from}-${to}` } });
      expect(part.status).toBe(206);
      expect(Buffer.from(await part.arrayBuffer()).equals(whole.subarray(from, to + 1))).toBe(true);
    }
  });

  it('are downloaded all the same from a server whose connections break again and again', async () => {
    const broken = s3.fail({ operation: 'GetObject', key: /rdb/, times: 5 }, { kind: 'cut body', bytes: 3_000_000 });
    const { url } = await service.sdk.backups.link(backup);
    expect(sha(Buffer.from(await (await fetch(url)).arrayBuffer()))).toBe(backup.sha256);
    expect(broken.met).toBe(5);
  });

  it('are restored into a running server', async () => {
    const { restore } = await startRestore(service, backup.id, other);
    expect(await service.sdk.restores.wait(restore)).toMatchObject({ dataNow: 'NEW', report: { promoted: true } });
    expect(await digest(target)).toBe(await digest(source));
  });

  it('are taken by a server that asks to slow down, and gone when they are deleted', async () => {
    const slow = s3.fail({ operation: ['UploadPart', 'CompleteMultipartUpload', 'PutObject'], times: 3 }, { kind: 'error', status: 503, code: 'SlowDown' });
    const lost = s3.fail({ operation: 'CompleteMultipartUpload', times: 1 }, { kind: 'cut answer' });
    const second = await backUp(service, instance.id, 'second');
    expect([second.state, slow.met, lost.met]).toEqual(['AVAILABLE', 3, 1]);
    expect(stored()).toEqual([...archivesOf(backup.id), ...archivesOf(second.id)].sort());
    await service.sdk.jobs.wait((await service.sdk.backups.delete({ backupId: second.id, force: true })).job);
  });

  it('are none when a part is refused: the job says why, and nothing is left', async () => {
    s3.fail({ operation: 'UploadPart', partNumber: 2, key: /rdb/ }, { kind: 'error', status: 403, code: 'AccessDenied' });
    const started = await service.sdk.backups.create({ instanceId: instance.id, name: 'refused' });
    const { failure } = await expectFailedJob(service, started.job, 'STORAGE_PERMISSION');
    expect(failure?.message).toMatch(/write part 2 of backups\/.* s3:\/\/archives\/team\/redis\/.*AccessDenied/);
    expect(await refusal(service.sdk.backups.link(started.backup))).toMatchObject({ code: 'BACKUP_NOT_AVAILABLE' });
  });

  it('are none when the server is gone in the middle; when it is back, one pass sweeps what it kept', async () => {
    s3.fail({ key: /rdb/, operation: 'UploadPart', partNumber: 2 }, { kind: 'cut' });
    s3.fail({ key: /rdb/, operation: 'AbortMultipartUpload' }, { kind: 'cut' });
    const started = await service.sdk.backups.create({ instanceId: instance.id, name: 'cut' });
    const { failure } = await expectFailedJob(service, started.job, 'STORAGE_IO');
    expect(failure?.message).toContain('ECONNRESET');
    expect(failure?.retryable).toBe(true);
    expect(s3.bucket.uploads.size).toBe(1);
    s3.heal();
    const [left] = s3.bucket.uploads.values();
    await waitFor(() => left && Date.now() - left.initiatedAt.getTime() > 1_500);
    expect(await service.app.upkeep.pass()).toMatchObject({ swept: 1 });
  });

  it('need the rights that the documentation names, and no others', () => {
    const right: Readonly<Record<S3Operation, string>> = {
      GetObject: 'GetObject', HeadObject: 'GetObject', DeleteObject: 'DeleteObject', ListObjectsV2: 'ListBucket', ListMultipartUploads: 'ListBucketMultipartUploads', ListParts: 'ListMultipartUploadParts',
      PutObject: 'PutObject', CreateMultipartUpload: 'PutObject', UploadPart: 'PutObject', CompleteMultipartUpload: 'PutObject', AbortMultipartUpload: 'AbortMultipartUpload',
    };
    const needed = new Set(s3.requests.map(({ operation }) => `s3:${right[operation]}`));
    const policy = JSON.parse(readBlocks('server/README.md').find(({ run }) => run === 's3-policy')?.code ?? '') as { Statement: { Action: string[] }[] };
    expect([...needed].sort()).toEqual(policy.Statement.flatMap(({ Action }) => Action).sort());
  });

  it('are not missed while the bucket cannot be read', async () => {
    s3.fail({ operation: ['GetObject', 'HeadObject', 'ListObjectsV2'] }, { kind: 'error', status: 403, code: 'AccessDenied' });
    await service.app.upkeep.pass().catch(() => null);
    expect(await service.sdk.backups.get(backup)).toMatchObject({ state: 'AVAILABLE', damage: null });
  });
});
