import { type ChildProcess, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * Reads "run SIGNAL PID", "gone PID", "keep DIR" and "drop DIR" lines. When its input closes (this process ended, however it ended,
 * kill -9 included) it signals what still runs, kills what does not end within five seconds, and removes the folders.
 */
const WATCHDOG = `
trap '' INT TERM HUP
pids=" "; dirs=""
while read -r verb a b; do
  case $verb in
    run) pids="$pids$b:$a " ;;
    gone) new=" "; for p in $pids; do case $p in "$a":*) ;; *) new="$new$p " ;; esac; done; pids=$new ;;
    keep) dirs="$dirs
$a" ;;
    drop) dirs=$(printf '%s' "$dirs" | grep -vxF -- "$a") ;;
  esac
done
for p in $pids; do kill -s "\${p#*:}" "\${p%%:*}" 2>/dev/null; done
tries=0
for p in $pids; do
  while kill -0 "\${p%%:*}" 2>/dev/null && [ $tries -lt 100 ]; do tries=$((tries+1)); sleep 0.05; done
  kill -s KILL "\${p%%:*}" 2>/dev/null
done
printf '%s\\n' "$dirs" | while read -r d; do [ -n "$d" ] && rm -rf -- "$d"; done
`;

let watchdog: ChildProcess | undefined;

/** Sent at once (a pipe write of this size goes straight to the kernel), so a guard holds even when we are killed right after. */
const tell = (line: string): void => {
  if (watchdog === undefined) {
    watchdog = spawn('sh', ['-c', WATCHDOG], { detached: true, stdio: ['pipe', 'ignore', 'ignore'], cwd: '/' });
    watchdog.unref();
    const input = watchdog.stdin as unknown as { unref(): void; on(event: 'error', listener: () => void): void };
    input.unref();
    input.on('error', () => undefined);
  }
  watchdog.stdin?.write(`${line}\n`);
};

/** From now on the process cannot outlive this one. `signal` is what ends it then: PostgreSQL wants QUIT, most need KILL. */
export const guardProcess = (pid: number, signal: 'KILL' | 'QUIT' | 'TERM' = 'KILL'): void => {
  tell(`run ${signal} ${String(pid)}`);
};

/** To be called once the process is known to have ended, since its id may be given to another. */
export const releaseProcess = (pid: number): void => {
  tell(`gone ${String(pid)}`);
};

/** A new temporary folder (mode 0700) that disappears with this process at the latest. */
export const makeTempDir = (label = 'test'): string => {
  const path = mkdtempSync(join(tmpdir(), `snapback-${label}-`));
  tell(`keep ${path}`);
  return path;
};

export const removeTempDir = async (path: string): Promise<void> => {
  await rm(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
  tell(`drop ${path}`);
};

/**
 * A loopback port that nobody listened on a moment ago. Below the range the kernel gives to outgoing connections, so only another
 * caller of this can take it meanwhile: whoever binds it must be ready to try another.
 * @param spread offset of a second port that must be free too (a cluster node's bus)
 */
export const freePort = async (spread = 0): Promise<number> => {
  for (let i = 0; i < 200; i += 1) {
    const port = randomInt(10_500, 22_000);
    if ((await canListen(port)) && (spread === 0 || (await canListen(port + spread)))) return port;
  }
  throw new Error('No free port found in 200 tries');
};

const canListen = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => {
      resolve(false);
    });
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => {
      server.close(() => {
        resolve(true);
      });
    });
  });

/** Resolves when the child has ended (at once when it already has). */
export const exited = (child: ChildProcess): Promise<void> =>
  new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) resolve();
    else child.once('exit', () => { resolve(); });
  });
