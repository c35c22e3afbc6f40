import { type ChildProcess, spawn } from 'node:child_process';
import { DomainError } from '../domain/errors.js';

export interface RunOptions {
  cwd?: string | undefined;
  /** Added to the environment of this process. */
  env?: Readonly<Record<string, string>> | undefined;
  uid?: number | undefined;
  gid?: number | undefined;
  signal?: AbortSignal | undefined;
  /** Default 60,000 ms; the program is stopped after it. */
  timeoutMs?: number | undefined;
}

export interface CommandOutput {
  stdout: string;
  stderr: string;
}

const MOST_OUTPUT = 16 * 1024 * 1024;
/** Between being asked to end and being killed. */
const PATIENCE_MS = 2_000;

/** Ends a program and all that it has started, which are a group of their own. */
const stopGroup = ({ pid }: ChildProcess): NodeJS.Timeout => {
  const tell = (signal: NodeJS.Signals): void => {
    try {
      if (pid !== undefined) process.kill(-pid, signal);
    } catch {
      // Nobody is left.
    }
  };
  tell('SIGTERM');
  return setTimeout(() => { tell('SIGKILL'); }, PATIENCE_MS);
};

/**
 * Runs a program to its end without a shell and returns what it printed (at most 16 MiB). Resolves and rejects when it has ended, and with it
 * all that it started and that may still print: nothing works on in a folder that the caller then takes for its own, also not when `signal` ended it.
 * A program that is missing, fails, or takes too long is INTERNAL with its last lines in the message; never hand in secrets as arguments.
 */
export const runCommand = (program: string, args: readonly string[], options: RunOptions = {}): Promise<CommandOutput> =>
  new Promise((resolve, reject) => {
    const { cwd, env, uid, gid, signal, timeoutMs = 60_000 } = options;
    const fail = (why: string, said = '', cause?: unknown): void => {
      reject(new DomainError('INTERNAL', `${program} ${args.join(' ')} ${why}${said === '' ? '' : `: ${said}`}`, { cause }));
    };
    if (signal?.aborted === true) return fail('was not begun', '', signal.reason);
    const extended = env === undefined ? [] : Object.entries(env).map(([name, value]) => `${name}=${value}`);
    // `env NAME=value program …` extends the inherited environment without this module reading it.
    const [file, argv] = extended.length === 0 ? [program, [...args]] : ['env', [...extended, program, ...args]];
    const child = spawn(file, argv, { cwd, uid, gid, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
    let stopped: { why: string; killing: NodeJS.Timeout } | undefined;
    const stop = (why: string): void => { stopped ??= { why, killing: stopGroup(child) }; };
    const interrupt = (): void => { stop('was interrupted'); };
    const timer = setTimeout(() => { stop(`was stopped after ${String(timeoutMs)} ms`); }, timeoutMs);
    signal?.addEventListener('abort', interrupt);
    const output = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8').on('data', (text: string) => {
        if (output[name].length + text.length > MOST_OUTPUT) stop('printed too much');
        else output[name] += text;
      });
    }
    const release = (): void => {
      clearTimeout(timer);
      clearTimeout(stopped?.killing);
      signal?.removeEventListener('abort', interrupt);
    };
    child.once('error', (error) => {
      release();
      fail(`failed (${'code' in error ? String(error.code) : error.message})`, '', error);
    });
    child.once('close', (code, killedBy) => {
      release();
      if (stopped === undefined && code === 0) return resolve(output);
      fail(stopped?.why ?? `failed (${String(code ?? killedBy)})`, `${output.stdout}\n${output.stderr}`.trim().split('\n').slice(-5).join(' | '));
    });
  });
