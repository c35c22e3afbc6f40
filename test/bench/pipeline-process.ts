import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { DEFAULT_RESTORE_OPTIONS, type RestoreOptions } from '../../server/domain/restore-options.js';
import { createArchive, openArchive, SealingThreads, type KeyRing } from '../../server/engine/archive/archive.js';
import { openControl } from '../../server/engine/control.js';
import { runPipelineRestore } from '../../server/engine/restore-pipeline.js';
import { openFilesystemStore } from '../../server/engine/store/filesystem.js';
import { archiveSource } from '../../server/engine/target/archive-source.js';
import { verifyArchive } from '../../server/engine/verify.js';
import { ALLOW_EVERYTHING, createDial } from '../../server/security/dial.js';
import { masterKeysFromText } from '../../server/security/master-key.js';
import { exited, guardProcess, releaseProcess } from '../kit/processes.js';
import { ProcessMeter } from './process-meter.js';

/** What the process does when asked; sizes and counts as numbers, since they pass between processes. */
export interface Asked {
  /** Seals a file, encrypted. */
  archive: { file: string; root: string; backupId: string };
  verify: { root: string; backupId: string };
  restore: { root: string; backupId: string; port: number; options: Partial<RestoreOptions> };
}
export interface Answered {
  archive: null;
  verify: { ms: number };
  /** `loadMs`: first byte to last answer. */
  restore: { ms: number; loadMs: number; restored: number };
}

export interface PipelineProcess {
  meter: ProcessMeter;
  ask<K extends keyof Asked>(kind: K, what: Asked[K]): Promise<Answered[K]>;
  stop(): Promise<void>;
}

/** The engine in a process of its own, so that its memory is that of a restore. */
export const startPipelineProcess = async (profileDirectory: string | undefined): Promise<PipelineProcess> => {
  const execArgv = profileDirectory === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileDirectory}`];
  const child: ChildProcess = fork(fileURLToPath(import.meta.url), { stdio: 'inherit', execArgv });
  const { pid } = child;
  if (pid === undefined) throw new Error('A forked process has an id');
  guardProcess(pid, 'TERM');
  await once(child, 'message');
  return {
    meter: new ProcessMeter(pid),
    ask: async (kind, what) => {
      const stop = new AbortController();
      const ended = once(child, 'exit', { signal: stop.signal }).then(() => { throw new Error(`The process ended over "${kind}"`); });
      ended.catch(() => undefined);
      const answered = once(child, 'message', { signal: stop.signal });
      child.send({ kind, what });
      const [answer] = (await Promise.race([answered, ended])) as [{ failed: string } | { answer: never }];
      stop.abort();
      if ('failed' in answer) throw new Error(answer.failed);
      return answer.answer;
    },
    async stop() {
      child.disconnect();
      await exited(child);
      releaseProcess(pid);
    },
  };
};

const master = masterKeysFromText('5a'.repeat(32)).current;
const keys: KeyRing = { current: master, all: [master] };
/** As the service has them. `npm run build` has to have run. */
const threads = new SealingThreads(new URL('../../../server/data-thread.js', import.meta.url));
const log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
const signal = new AbortController().signal;

const work: { [K in keyof Asked]: (what: Asked[K]) => Promise<Answered[K]> } = {
  archive: async ({ file, root, backupId }) => {
    const { createReadStream } = await import('node:fs');
    const store = await openFilesystemStore({ root, create: true });
    const writer = await createArchive(store, { backupId, keys, walk: true });
    for await (const chunk of createReadStream(file, { highWaterMark: 512 * 1024 })) await writer.write(chunk as Buffer);
    const rdb = await writer.content();
    await writer.seal({
      backup: { projectId: 'prj_01hzy0000000000000000000p1', name: 'bench', trigger: 'MANUAL' },
      source: { instanceId: 'ins_01hzy0000000000000000000n1', instanceName: 'source', engine: 'REDIS', version: rdb.aux['redis-ver'] ?? '7.0.0', runId: '0'.repeat(40), address: null, node: null },
      capture: { method: 'REPLICATION', consistency: 'POINT_IN_TIME' }, coverage: { kind: 'INSTANCE' }, replication: null, rdb,
      startedAt: new Date(), completedAt: new Date(), createdBy: { software: 'snapback', version: '0.1.0' },
    });
    await store.close();
    return null;
  },
  verify: async ({ root, backupId }) => {
    const store = await openFilesystemStore({ root, create: false });
    const begun = performance.now();
    await verifyArchive({ backupId, level: 'CONTENT' }, { store, keys }, signal, () => undefined);
    const ms = performance.now() - begun;
    await store.close();
    return { ms };
  },
  restore: async ({ root, backupId, port, options }) => {
    const dial = createDial(ALLOW_EVERYTHING);
    const endpoint = { host: '127.0.0.1', port };
    const control = await openControl(endpoint, { dial, log });
    const info = await control.info();
    control.close();
    const store = await openFilesystemStore({ root, create: false });
    const begun = performance.now();
    const reader = await openArchive(store, backupId, { keys, threads });
    const report = await runPipelineRestore({
      endpoint, runId: info.get('run_id') ?? '', version: info.get('valkey_version') ?? info.get('redis_version') ?? '', takenAt: new Date(), acceptedWarnings: [],
      options: { ...DEFAULT_RESTORE_OPTIONS, ...options },
    }, { dial, log, source: archiveSource(reader), assertOwned: () => Promise.resolve() }, signal, () => undefined);
    const ms = performance.now() - begun;
    await reader.close();
    await store.close();
    return { ms, loadMs: report.loadMs ?? 0, restored: Number(report.restored) };
  },
};

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.on('message', ({ kind, what }: { kind: keyof Asked; what: never }) => {
    work[kind](what).then((answer) => process.send?.({ answer }), (error: unknown) => process.send?.({ failed: error instanceof Error ? (error.stack ?? error.message) : String(error) }));
  });
  process.send?.('ready');
}
