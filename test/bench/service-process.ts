import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createClient, type Client } from '../../sdk/src/index.js';
import { exited, guardProcess, releaseProcess } from '../kit/processes.js';
import { ProcessMeter } from './process-meter.js';

/** `npm run build` has to have run; this file itself is run from dist/bench/test/bench. */
const MAIN = fileURLToPath(new URL('../../../server/main.js', import.meta.url));

export interface ServiceProcess {
  sdk: Client;
  readonly port: number;
  /** Of its first administrator. */
  readonly token: string;
  meter: ProcessMeter;
  /** One value of /metrics. */
  metric(name: string): Promise<number>;
  stop(): Promise<void>;
}

/** The built service in a process of its own, with embedded PostgreSQL, as `npm start` runs it but without the sample server. */
export const startServiceProcess = async ({ dataDir, profileDirectory, settings = {}, token: known }: {
  dataDir: string; profileDirectory: string | undefined; settings?: Readonly<Record<string, string>>;
  /** Of an installation that has been started before. */
  token?: string;
}): Promise<ServiceProcess> => {
  const profiling = profileDirectory === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileDirectory}`];
  const { DATABASE_URL: _database, MONGODB_URL: _mongo, ...inherited } = process.env;
  const child = spawn(process.execPath, [...profiling, MAIN], {
    env: { ...inherited, DATA_DIR: dataDir, HOST: '127.0.0.1', PORT: '0', SAMPLE_REDIS: 'false', LOG_LEVEL: 'warn', NODE_ENV: 'production', SOURCE_SYNCS: '10000', ...settings },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child, 'spawn');
  const { pid } = child;
  if (pid === undefined) throw new Error('A spawned process has an id');
  guardProcess(pid, 'TERM');
  child.once('exit', () => releaseProcess(pid));

  const url = await new Promise<string>((resolve, reject) => {
    let said = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      said += text;
      const running = /running at (\S+)\n/.exec(said);
      if (running?.[1] !== undefined) resolve(running[1]);
    });
    child.once('exit', (code) => reject(new Error(`The service ended at its start with code ${String(code)}`)));
  });
  const token = known ?? (await readFile(join(dataDir, 'admin-key'), 'utf8')).trim();
  const sdk = createClient({ url, token });
  return {
    sdk, token,
    port: Number(new URL(url).port),
    meter: new ProcessMeter(pid),
    async metric(name) {
      const text = await (await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${token}` } })).text();
      const value = new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1];
      if (value === undefined) throw new Error(`/metrics has no ${name}`);
      return Number(value);
    },
    async stop() {
      sdk.close();
      child.kill('SIGTERM');
      await exited(child);
    },
  };
};
