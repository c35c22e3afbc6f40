import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { statSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterEach, describe, expect, it } from 'vitest';
import { DomainError } from '../../../server/domain/errors.js';
import { isAlive } from '../../../server/embedded/process-identity.js';
import { type SampleRedis, startSampleRedis } from '../../../server/embedded/sample-redis.js';
import { exited, guardProcess, makeTempDir, releaseProcess, removeTempDir } from '../../kit/processes.js';
import { redisBinary } from '../../kit/redis-binary.js';
import { transpile } from '../../kit/transpile.js';

const quiet = (): void => undefined;
const log = { debug: quiet, info: quiet, warn: quiet, error: quiet };

const cleanups: (() => Promise<unknown> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const folder = (): string => {
  const dir = makeTempDir('sample');
  cleanups.push(() => removeTempDir(dir));
  return join(dir, 'data');
};

const start = async (dataDir: string, binary?: string): Promise<SampleRedis> => {
  const sample = await startSampleRedis({ dataDir, binary: binary ?? (await redisBinary()).server, log });
  guardProcess(sample.pid);
  cleanups.push(async () => {
    await sample.stop();
    releaseProcess(sample.pid);
  });
  return sample;
};

const connect = ({ host, port, password }: { host: string; port: number; password: string }): Redis => {
  const client = new Redis({ host, port, password, disableClientInfo: true });
  client.on('error', quiet);
  cleanups.push(() => { client.disconnect(); });
  return client;
};

describe('the sample Redis', () => {
  it('holds thousands of keys of every type, behind a password, on loopback', async () => {
    const dataDir = folder();
    const sample = await start(dataDir);
    const client = connect(sample);
    expect(await client.dbsize()).toBeGreaterThan(2_500);
    const types = new Set<string>();
    for (const key of ['user:1', 'session:1', 'queue:mail', 'tags:8', 'leaderboard:go', 'orders']) types.add(await client.type(key));
    expect([...types].sort()).toEqual(['hash', 'list', 'set', 'stream', 'string', 'zset']);
    expect(await client.config('GET', 'bind')).toEqual(['bind', '127.0.0.1']);
    expect(statSync(join(dataDir, 'password')).mode & 0o777).toBe(0o600);
    expect(statSync(join(dataDir, 'redis.conf')).mode & 0o777).toBe(0o600);
    const stranger = new Redis({ host: sample.host, port: sample.port, lazyConnect: true, enableReadyCheck: false, disableClientInfo: true });
    cleanups.push(() => { stranger.disconnect(); });
    await expect(stranger.get('user:1')).rejects.toThrow('NOAUTH');
  });

  it('keeps port, password and data over a stop, and is not seeded again', async () => {
    const dataDir = folder();
    const first = await start(dataDir);
    const client = connect(first);
    await client.flushall();
    await client.set('mine', 'kept');
    await first.stop();
    expect(await isAlive(first.pid)).toBe(false);
    const second = await start(dataDir);
    expect([second.port, second.password]).toEqual([first.port, first.password]);
    expect(await connect(second).dbsize()).toBe(1);
  });

  it('takes over the server of a killed service as it is', async () => {
    const dataDir = folder();
    const script = `
      const { startSampleRedis } = await import(${JSON.stringify(join(transpile('server/embedded', 'server/domain', 'server/engine/ports.ts'), 'server/embedded/sample-redis.js'))});
      const log = { debug() {}, info() {}, warn() {}, error() {} };
      const { host, port, password, pid } = await startSampleRedis({ dataDir: ${JSON.stringify(dataDir)}, binary: ${JSON.stringify((await redisBinary()).server)}, log });
      console.log(JSON.stringify({ host, port, password, pid }));
      process.stdin.resume();`;
    const owner = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['pipe', 'pipe', 'inherit'] });
    guardProcess(owner.pid ?? 0);
    const [line] = (await once(owner.stdout, 'data')) as [Buffer];
    const first = JSON.parse(line.toString()) as { host: string; port: number; password: string; pid: number };
    guardProcess(first.pid);
    await connect(first).set('unsaved', 'yes');
    await expect(start(dataDir)).rejects.toMatchObject({ code: 'CONFLICT' });
    owner.kill('SIGKILL');
    await exited(owner);
    const second = await start(dataDir);
    expect(second.pid).toBe(first.pid);
    expect(await connect(second).get('unsaved')).toBe('yes');
  });

  it('moves to another port when its own was taken', async () => {
    const dataDir = folder();
    const first = await start(dataDir);
    await first.stop();
    const squatter = createServer().listen(first.port, '127.0.0.1');
    await once(squatter, 'listening');
    cleanups.push(() => { squatter.close(); });
    const second = await start(dataDir);
    expect(second.port).not.toBe(first.port);
    expect(await connect(second).dbsize()).toBeGreaterThan(2_500);
  });

  it('says why it did not start', async () => {
    const error = await start(folder(), '/no/such/redis-server').catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(DomainError);
    expect(String(error)).toContain('/no/such/redis-server');
  });
});
