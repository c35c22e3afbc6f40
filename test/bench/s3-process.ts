import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { exited, guardProcess, releaseProcess } from '../kit/processes.js';
import { startS3 } from '../kit/s3/server.js';

export interface S3Process {
  /** What the service is to be started with. */
  settings: Readonly<Record<string, string>>;
  stop(): Promise<void>;
}

/** The S3 double in a process of its own, so that what it takes is not counted with anybody. */
export const startS3Process = async (): Promise<S3Process> => {
  const child = fork(fileURLToPath(import.meta.url), { stdio: 'inherit' });
  const { pid } = child;
  if (pid !== undefined) guardProcess(pid, 'TERM');
  const [settings] = (await once(child, 'message')) as [Record<string, string>];
  return {
    settings,
    async stop() {
      child.kill('SIGTERM');
      await exited(child);
      if (pid !== undefined) releaseProcess(pid);
    },
  };
};

if (process.send) process.send((await startS3()).settings('bench'));
