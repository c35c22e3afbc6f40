import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { exited, guardProcess, makeTempDir, releaseProcess, removeTempDir } from '../../kit/processes.js';
import { type FuzzOrder, type FuzzReport } from './order.js';

export type FuzzWish = Pick<FuzzOrder, 'corpus' | 'seed' | 'amount'> & {
  /** The fuzzer as JavaScript. */
  program: string;
  /** Where an input goes that shows a fault. */
  faultFile: string;
  from?: number;
};

const LOOK_MS = 250;
/** An input that so many looks in a row find under way hangs. Looks and not time: a machine that stands still stops both. */
const HANGS_LOOKS = 120;
/** Of JavaScript's own: a reader that keeps what files declare ends the process. */
const HEAP_MIB = 160;

/** Runs the fuzzer in a process of its own, so that whatever a file does to it is seen: its end, its memory, or that nothing happens any more. */
export const fuzzRdb = async ({ program, from = 1, ...wish }: FuzzWish): Promise<FuzzReport> => {
  const folder = makeTempDir('fuzz');
  const order: FuzzOrder = { ...wish, from, progressFile: join(folder, 'progress') };
  const child = spawn(process.execPath, [`--max-old-space-size=${HEAP_MIB}`, program, JSON.stringify(order)], { stdio: ['ignore', 'pipe', 'pipe'] });
  guardProcess(child.pid ?? 0);
  let output = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => { output += text; });
  child.stderr.setEncoding('utf8').on('data', (text: string) => { errors = (errors + text).slice(-4_000); });
  const current = (): string => {
    try {
      return readFileSync(order.progressFile, 'utf8').trim();
    } catch {
      return 'none yet';
    }
  };
  let last = '';
  let looks = 0;
  let hung = false;
  const watch = setInterval(() => {
    const now = current();
    looks = now === last && now !== '' && now !== 'none yet' ? looks + 1 : 0;
    last = now;
    if (looks >= HANGS_LOOKS) {
      hung = true;
      child.kill('SIGKILL');
    }
  }, LOOK_MS);
  try {
    await exited(child);
    await new Promise<void>((done) => { if (child.stdout.readableEnded) done(); else child.stdout.once('close', () => { done(); }); });
  } finally {
    clearInterval(watch);
    releaseProcess(child.pid ?? 0);
  }
  const at = current();
  await removeTempDir(folder);
  if (hung) throw new Error(`Input ${at} of seed ${wish.seed} hangs: it is under way for ${(HANGS_LOOKS * LOOK_MS) / 1_000} s. To see it: --seed ${wish.seed} --from ${at}`);
  if (child.exitCode !== 0) throw new Error(`Input ${at} of seed ${wish.seed} ended the fuzzer (${String(child.signalCode ?? child.exitCode)}). To see it: --seed ${wish.seed} --from ${at}\n${errors}`);
  return JSON.parse(output) as FuzzReport;
};
