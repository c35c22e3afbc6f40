import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { appendFileSync, copyFileSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { exited, guardProcess, makeTempDir, releaseProcess, removeTempDir } from '../kit/processes.js';
import { waitFor } from '../kit/wait.js';

/** A project of the same shape as ours, small enough to install and build in a second. */
describe('start.mjs', () => {
  let dir: string;
  const main = (code: string): void => { writeFileSync(join(dir, 'server/main.js'), code); };
  const describeProject = (scripts: Record<string, string> = {}): void => {
    const builds = {
      'build:service': `node -e "fs.cpSync('server','dist/server',{recursive:true})"`, 'build:dashboard': `node -e "fs.mkdirSync('dist/dashboard',{recursive:true})"`,
    };
    writeFileSync(join(dir, 'package.json'), JSON.stringify({ name: 'x', version: '1.0.0', type: 'module', dependencies: { dep: 'file:dep' }, scripts: { ...builds, ...scripts } }));
  };
  const start = (): { child: ChildProcess; out: () => string } => {
    const child = spawn(process.execPath, ['start.mjs'], { cwd: dir, stdio: ['ignore', 'pipe', 'pipe'] });
    const pid = child.pid ?? 0;
    guardProcess(pid);
    child.once('exit', () => { releaseProcess(pid); });
    let text = '';
    child.stdout.on('data', (chunk: Buffer) => { text += chunk.toString(); });
    child.stderr.on('data', (chunk: Buffer) => { text += chunk.toString(); });
    return { child, out: () => text };
  };
  const run = async (): Promise<{ code: number | null; out: string }> => {
    const { child, out } = start();
    await new Promise((resolve) => child.once('close', resolve));
    return { code: child.exitCode, out: out() };
  };

  beforeAll(() => {
    dir = makeTempDir('start');
    for (const name of ['server', 'migrations', 'dep']) mkdirSync(join(dir, name));
    copyFileSync(fileURLToPath(new URL('../../start.mjs', import.meta.url)), join(dir, 'start.mjs'));
    writeFileSync(join(dir, 'dep/package.json'), '{"name":"dep","version":"1.0.0"}');
    describeProject();
    execFileSync('npm', ['install', '--package-lock-only', '--silent'], { cwd: dir, stdio: 'ignore' });
  });
  afterAll(() => removeTempDir(dir));

  it('installs and builds a fresh clone, then only what changed', async () => {
    main('process.exit(5)');
    const first = await run();
    expect(first.out).toMatch(/installing[^]*building/);
    expect(first.code).toBe(5);
    expect((await run()).out).toBe('');
    main('process.exit(6)');
    const edited = await run();
    expect([edited.out.includes('building'), edited.out.includes('installing'), edited.code]).toEqual([true, false, 6]);
    appendFileSync(join(dir, 'package-lock.json'), '\n');
    expect((await run()).out).toContain('installing');
    rmSync(join(dir, 'node_modules'), { recursive: true });
    expect((await run()).out).toContain('installing');
    expect(existsSync(join(dir, 'node_modules/dep'))).toBe(true);
  });

  it('is the service itself, with its dashboard or without: it gets the signal, and its end is the end', async () => {
    describeProject({ 'build:dashboard': 'exit 7' });
    main(`process.on('SIGTERM', () => { console.log('draining'); process.exit(3); }); console.log('up ' + process.pid); setInterval(() => {}, 1000);`);
    const { child, out } = start();
    await waitFor(() => out().includes('up '), { message: () => `the service to be up: ${out()}` });
    expect(out()).toContain(`up ${String(child.pid)}`);
    expect(out()).toContain('the dashboard is missing');
    child.kill('SIGTERM');
    await exited(child);
    expect(child.exitCode).toBe(3);
    await waitFor(() => out().includes('draining'));
  });

  it('fails plainly when the build fails', async () => {
    main('process.exit(0)');
    describeProject({ 'build:service': 'exit 9' });
    const { code, out } = await run();
    expect(code).toBe(1);
    expect(out).toContain('build:service failed');
  });
});
