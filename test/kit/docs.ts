import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const repository = fileURLToPath(new URL('../../', import.meta.url));
const FENCE = /^```([^\s`]*)(?: +([^\n]*))?\n([\s\S]*?)^```$/gm;

/** A fenced block of a Markdown file. */
export interface DocBlock {
  /** `file:line` of its fence. */
  at: string;
  language: string;
  /** What follows `run=`: a test runs the block under this name. */
  run: string | undefined;
  /** What follows `not-run=`: why no test runs it, as a key of the test's list of reasons. */
  notRun: string | undefined;
  code: string;
}

export const readDoc = (path: string): string => readFileSync(join(repository, path), 'utf8');

/** Every fenced block of a Markdown file, in its order. */
export const readBlocks = (path: string): DocBlock[] => {
  const text = readDoc(path);
  return [...text.matchAll(FENCE)].map(({ index, 1: language = '', 2: info = '', 3: code = '' }) => {
    const word = (name: string): string | undefined => new RegExp(`(?:^|\\s)${name}=([\\w-]+)`).exec(info)?.[1];
    return { at: `${path}:${String(text.slice(0, index).split('\n').length)}`, language, run: word('run'), notRun: word('not-run'), code };
  });
};

/** The rows (without head and rule) of the first table below a heading, cells trimmed. Throws when there is none. */
export const readTable = (path: string, heading: string): string[][] => {
  const text = readDoc(path);
  const lines = text.split('\n');
  const from = lines.findIndex((line) => /^#+ /.test(line) && line.replace(/^#+ /, '') === heading);
  const first = from < 0 ? -1 : lines.findIndex((line, at) => at > from && line.startsWith('|'));
  if (first < 0) throw new Error(`${path} has no table below "${heading}".`);
  const end = lines.findIndex((line, at) => at > first && !line.startsWith('|'));
  return lines.slice(first + 2, end < 0 ? undefined : end).map((line) => line.split('|').slice(1, -1).map((cell) => cell.trim()));
};

/** The texts in backticks of a Markdown text. */
export const codeIn = (text: string): string[] => [...text.matchAll(/`([^`]+)`/g)].map(([, code = '']) => code);

/** Commands as somebody types them into redis-cli, one a line, split into words. */
export const redisCommands = (code: string): string[][] =>
  code.split('\n').map((line) => line.trim()).filter((line) => line !== '').map((line) => line.split(/\s+/));

export interface ReaderShell {
  /** Runs a block in the session, whose variables and functions stay. @returns what it printed, on either stream */
  run(block: Pick<DocBlock, 'code' | 'at'>): Promise<string>;
  stop(): Promise<void>;
}

/** One session of `sh`, as a reader has it who pastes block after block. A block whose last command fails is an error with its output. */
export const startReaderShell = (folder: string, env: Readonly<Record<string, string>>): ReaderShell => {
  const child = spawn('sh', [], { cwd: folder, stdio: ['pipe', 'pipe', 'inherit'], env: { PATH: process.env['PATH'], HOME: folder, ...env } });
  let printed = '';
  let notify = (): void => undefined;
  const ended = new Promise<void>((resolve) => child.once('close', () => {
    resolve();
    notify();
  }));
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    printed += text;
    notify();
  });
  child.stdin.on('error', () => undefined);
  return {
    async run({ code, at }) {
      const mark = `end-${randomUUID()}`;
      const file = join(folder, `${mark}.sh`);
      writeFileSync(file, code);
      printed = '';
      child.stdin.write(`{ . ${file}; } < /dev/null 2>&1; printf '\\n%s %s\\n' ${mark} "$?"\n`);
      const end = new RegExp(`\\n${mark} (\\d+)\\n`);
      while (!end.test(printed)) {
        if (child.exitCode !== null) throw new Error(`${at} ended the shell: ${printed}`);
        await new Promise<void>((resolve) => { notify = resolve; });
      }
      const status = end.exec(printed)?.[1];
      const output = printed.slice(0, printed.search(end));
      if (status !== '0') throw new Error(`${at} ended with ${String(status)}: ${output}`);
      return output;
    },
    async stop() {
      child.stdin.end();
      child.kill();
      await ended;
    },
  };
};
