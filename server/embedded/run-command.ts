import { execFile } from 'node:child_process';
import { DomainError } from '../domain/errors.js';

export interface RunOptions {
  cwd?: string | undefined;
  /** Added to the environment of this process. */
  env?: Readonly<Record<string, string>> | undefined;
  uid?: number | undefined;
  gid?: number | undefined;
  signal?: AbortSignal | undefined;
  /** Default 60,000 ms; the program is killed after it. */
  timeoutMs?: number | undefined;
}

export interface CommandOutput {
  stdout: string;
  stderr: string;
}

/**
 * Runs a program to its end without a shell and returns what it printed (at most 16 MiB).
 * A program that is missing, fails, or takes too long is INTERNAL with its last lines in the message; never hand in secrets as arguments.
 */
export const runCommand = (program: string, args: readonly string[], options: RunOptions = {}): Promise<CommandOutput> =>
  new Promise((resolve, reject) => {
    const { cwd, env, uid, gid, signal, timeoutMs = 60_000 } = options;
    const extended = env === undefined ? [] : Object.entries(env).map(([name, value]) => `${name}=${value}`);
    // `env NAME=value program …` extends the inherited environment without this module reading it.
    const [file, argv] = extended.length === 0 ? [program, [...args]] : ['env', [...extended, program, ...args]];
    execFile(
      file,
      argv,
      { cwd, uid, gid, signal, timeout: timeoutMs, killSignal: 'SIGKILL', maxBuffer: 16 * 1024 * 1024, encoding: 'utf8' },
      (error, stdout, stderr) => {
        if (error === null) {
          resolve({ stdout, stderr });
          return;
        }
        const said = `${stdout}\n${stderr}`.trim().split('\n').slice(-5).join(' | ');
        const why = error.killed === true ? `was stopped after ${String(timeoutMs)} ms` : `failed (${String(error.code ?? error.signal)})`;
        reject(new DomainError('INTERNAL', `${program} ${args.join(' ')} ${why}${said === '' ? '' : `: ${said}`}`, { cause: error }));
      },
    );
  });
