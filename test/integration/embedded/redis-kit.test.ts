import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { isAlive } from '../../../server/embedded/process-identity.js';
import { type RedisServer, type RedisServerOptions, startRedis, startSentinel } from '../../kit/redis.js';
import { transpile } from '../../kit/transpile.js';
import { waitFor } from '../../kit/wait.js';

const running: RedisServer[] = [];
const start = async (options?: RedisServerOptions): Promise<RedisServer> => {
  const server = await startRedis(options);
  running.push(server);
  return server;
};
afterEach(async () => {
  await Promise.all(running.splice(0).map((server) => server.stop()));
});

describe('the Redis launcher of the tests', () => {
  it('starts a server, talks to it, and leaves neither process nor folder behind', async () => {
    const server = await start();
    expect(await server.cli('ping')).toBe('PONG');
    expect(await server.client().debug('OBJECT', 'x').catch((error: unknown) => String(error))).toContain('no such key');
    expect(server.version).toMatch(/^\d+\.\d+\.\d+$/);
    await server.stop();
    expect(await isAlive(server.pid)).toBe(false);
    expect(existsSync(server.dir)).toBe(false);
  });

  it('gives a password, ACL users, TLS, a replica, a cluster node and a Sentinel', async () => {
    const master = await start({ password: 'secret one', acl: ['reader on >pw ~* +get +ping'], config: { requirepass: '"secret one"' } });
    expect(await master.client().acl('WHOAMI')).toBe('default');
    const reader = master.client({ username: 'reader', password: 'pw', enableReadyCheck: false });
    expect(await reader.set('a', '1').catch((error: unknown) => String(error))).toContain('NOPERM');
    const plain = await start();
    const replica = await start({ replicaOf: plain });
    await waitFor(async () => (await replica.client().info('replication')).includes('master_link_status:up'));
    const tls = await start({ tls: true });
    expect(await tls.client().ping()).toBe('PONG');
    expect(await tls.cli('ping')).toBe('PONG');
    const node = await start({ cluster: true });
    expect(await node.client().set('a', '1')).toBe('OK');
    const sentinel = await startSentinel({ master: plain });
    running.push(sentinel);
    expect(await sentinel.client().call('SENTINEL', 'get-master-addr-by-name', 'main')).toEqual(['127.0.0.1', String(plain.port)]);
  });

  it('comes back on its port with what it saved', async () => {
    const server = await start({ config: { appendonly: 'yes', appendfsync: 'always' } });
    const { port, pid } = server;
    await server.client().set('kept', 'yes');
    await server.restart({ signal: 'SIGKILL' });
    expect(server.port).toBe(port);
    expect(server.pid).not.toBe(pid);
    expect(await server.client().get('kept')).toBe('yes');
  });

  it('reports what the server said when it cannot start', async () => {
    await expect(start({ config: { 'no-such-setting': '1' } })).rejects.toThrow(/no-such-setting|Bad directive/);
  });

  it('ends the processes and folders of a process that was killed', async () => {
    const code = `
      const { guardProcess, makeTempDir } = await import(${JSON.stringify(join(transpile('test/kit/processes.ts'), 'test/kit/processes.js'))});
      const { spawn } = await import('node:child_process');
      const dir = makeTempDir('guarded');
      const child = spawn('sleep', ['600'], { detached: true, stdio: 'ignore' });
      guardProcess(child.pid);
      console.log(JSON.stringify({ pid: child.pid, dir }));`;
    const owner = spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: ['ignore', 'pipe', 'inherit'] });
    const [line] = (await once(owner.stdout, 'data')) as [Buffer];
    const { pid, dir } = JSON.parse(line.toString()) as { pid: number; dir: string };
    expect(await isAlive(pid)).toBe(true);
    owner.kill('SIGKILL');
    await waitFor(async () => !(await isAlive(pid)) && !existsSync(dir), { message: 'the guarded process and folder to go' });
  });
});
