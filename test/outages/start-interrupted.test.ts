import { type ChildProcess, spawn } from 'node:child_process';
import { access, chmod, readdir, readFile, readlink, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createClient } from '@snapback/sdk';
import { exited, guardProcess, makeTempDir, releaseProcess, removeTempDir } from '../kit/processes.js';
import { redisBinary } from '../kit/redis-binary.js';
import { waitFor } from '../kit/wait.js';

const START = fileURLToPath(new URL('../../start.mjs', import.meta.url));

describe('a start', () => {
  let dataDir: string;
  let redisServer: string;
  const children: ChildProcess[] = [];

  beforeAll(async () => {
    dataDir = makeTempDir('interrupted');
    redisServer = (await redisBinary()).server;
  });
  afterAll(async () => {
    for (const child of children) {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill('SIGTERM');
        await exited(child);
      }
    }
    await removeTempDir(dataDir);
  });

  const processesIn = async (folder: string): Promise<number[]> => {
    const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
    const places = await Promise.all(pids.map((pid) => readlink(`/proc/${pid}/cwd`).catch(() => '')));
    return pids.filter((_, at) => places[at]?.startsWith(folder));
  };

  const start = (): { child: ChildProcess; output: () => string } => {
    let output = '';
    const env = { PATH: process.env['PATH'], HOME: process.env['HOME'], DATA_DIR: dataDir, PORT: '0', REDIS_SERVER_BIN: redisServer };
    const child = spawn(process.execPath, [START], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    children.push(child);
    const pid = child.pid ?? 0;
    guardProcess(pid, 'TERM');
    child.once('exit', () => releaseProcess(pid));
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
    return { child, output: () => output };
  };
  const ready = async ({ child, output }: ReturnType<typeof start>): Promise<string> => {
    const url = await waitFor(() => {
      if (child.exitCode !== null) throw new Error(`The service ended (${child.exitCode}):\n${output()}`);
      return /running at (http:\S+)/.exec(output())?.[1];
    }, { message: () => `the service to start:\n${output()}` });
    for (const server of await processesIn(dataDir)) guardProcess(server);
    return url;
  };
  const stop = async ({ child }: ReturnType<typeof start>): Promise<number | null> => {
    child.kill('SIGTERM');
    await exited(child);
    return child.exitCode;
  };

  it('that is interrupted leaves nothing running, and the next one is as if it had not been', async () => {
    const interrupted = start();
    await waitFor(() => access(join(dataDir, 'postgres', 'service.lock')).then(() => true, () => false), { message: () => `PostgreSQL to be set up:\n${interrupted.output()}` });
    expect(await stop(interrupted)).toBe(0);
    expect(interrupted.output()).not.toContain('running at');
    expect(await processesIn(dataDir)).toEqual([]);

    // Left there by somebody, open to all.
    await writeFile(join(dataDir, 'admin-key'), 'an old one');
    await chmod(join(dataDir, 'admin-key'), 0o644);
    const first = start();
    const url = await ready(first);
    expect((await stat(join(dataDir, 'admin-key'))).mode & 0o777).toBe(0o600);
    const token = (await readFile(join(dataDir, 'admin-key'), 'utf8')).trim();
    const sdk = createClient({ url, token });
    const [sample] = await sdk.instances.list().toArray({ limit: 10 });
    expect(sample).toMatchObject({ name: 'sample', server: { mode: 'STANDALONE' } });
    expect(await processesIn(join(dataDir, 'sample-redis'))).toHaveLength(1);
    await sdk.instances.remove(sample?.id ?? '');
    expect(await stop(first)).toBe(0);

    // Nobody wants the sample any more.
    const second = start();
    const again = createClient({ url: await ready(second), token });
    expect(await processesIn(join(dataDir, 'sample-redis'))).toEqual([]);
    expect(await again.instances.list().toArray({ limit: 10 })).toEqual([]);
    expect(await again.instances.get(sample?.id ?? '')).toMatchObject({ name: 'sample', removedAt: expect.any(String) as string });
    expect(await stop(second)).toBe(0);
    expect(await processesIn(dataDir)).toEqual([]);
  });
});
