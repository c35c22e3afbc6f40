import { readdir } from 'node:fs/promises';
import { expect } from 'vitest';
import {
  type Backup, type BackupAndJob, type ErrorCode, type Instance, isSnapbackError, type Job, type JobEvent, type RegisterInstanceInput, type RestoreAndJob,
  type RestorePlan, type SnapbackError,
} from '@snapback/sdk';
import { type RedisServer } from '../kit/redis.js';
import { type TestService } from '../kit/service.js';

type Address = Pick<RedisServer, 'host' | 'port'>;

export const register = ({ sdk }: TestService, name: string, { host, port }: Address, rest: Partial<RegisterInstanceInput> = {}): Promise<Instance> =>
  sdk.instances.register({ name, host, port, ...rest });

/** The error a call ends with; fails the test when there is none, or one that the SDK did not make. */
export const caught = async (work: Promise<unknown>): Promise<SnapbackError> => {
  const outcome: unknown = await work.then(() => 'no error', (error: unknown) => error);
  if (isSnapbackError(outcome)) return outcome;
  throw new Error(`Expected an error of the SDK, got ${String(outcome)}`, { cause: outcome });
};

/** The error's code, and the input's fields it points to. */
export const refusal = async (work: Promise<unknown>): Promise<{ code: string; field: readonly string[] | null }> => {
  const { code, userErrors } = await caught(work);
  return { code, field: userErrors[0]?.field ?? null };
};

export const backUp = async ({ sdk }: TestService, instanceId: string, name = 'backup'): Promise<Backup> =>
  sdk.backups.wait(await sdk.backups.create({ instanceId, name }), { timeoutMs: 60_000 });

/** Names of the warnings that have to be accepted. */
export const toAccept = (plan: RestorePlan): string[] => plan.warnings.filter(({ mustAccept }) => mustAccept).map(({ name }) => name);

export interface RestoreOptions {
  safetyBackup?: boolean;
}

/** Plans, confirms and starts a restore; throws when the plan has blockers. */
export const startRestore = async ({ sdk }: TestService, backupId: string, target: Instance, { safetyBackup = false }: RestoreOptions = {}): Promise<RestoreAndJob> => {
  const plan = await sdk.restores.plan({ backupId, instanceId: target.id, safetyBackup });
  expect(plan.blockers).toEqual([]);
  return sdk.restores.run({ planId: plan.id, confirmation: target.name, acceptedWarnings: toAccept(plan) });
};

/** The first event of a job that fits. Fails when the job ends before. */
export const firstEvent = async ({ sdk }: TestService, job: { id: string }, fits: (event: JobEvent) => boolean): Promise<JobEvent> => {
  for await (const event of sdk.jobs.watch(job.id, { signal: AbortSignal.timeout(60_000) })) {
    if (fits(event)) return event;
    if (event.job.state === 'COMPLETED') throw new Error(`The job ended before: ${JSON.stringify(event.job)}`);
  }
  throw new Error('The events ended before');
};

/** Whether bytes flow, from a source or to a target. */
export const flows = ({ job: { phase, progress } }: JobEvent): boolean => phase === 'TRANSFERRING' && BigInt(progress?.bytesDone ?? 0) > 0n;

/** Everything that lies in the store besides its own marker: temporaries, objects of unsealed and of sealed archives. */
export const storedFiles = async ({ storeRoot }: Pick<TestService, 'storeRoot'>): Promise<string[]> => {
  const entries = await readdir(storeRoot, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => `${parentPath.slice(storeRoot.length)}/${name}`.replace(/^\/+/, ''))
    .filter((path) => !path.startsWith('.snapback-store'))
    // Each service has a master key of its own.
    .map((path) => path.replace(/\/key\.[0-9a-f]{8}/, '/key')).sort();
};

/** The whole archives of exactly these backups, and nothing else. */
export const archivesOf = (...backupIds: string[]): string[] => backupIds.flatMap((id) => ['key', 'manifest', 'rdb'].map((name) => `backups/${id}/${name}`)).sort();

/** A job that says why it failed and what to do. */
export const expectFailedJob = async ({ sdk }: TestService, job: { id: string }, code: ErrorCode): Promise<Job> => {
  expect(await caught(sdk.jobs.wait(job.id, { timeoutMs: 60_000 }))).toMatchObject({ kind: 'job_failed', code, jobId: job.id });
  const ended = await sdk.jobs.get(job.id);
  expect(ended).toMatchObject({
    state: 'COMPLETED', conclusion: 'FAILED', cancellable: false, completedAt: expect.any(String) as string,
    failure: { code, message: expect.stringMatching(/\w+ \w+/) as string, hint: expect.stringMatching(/\w+ \w+/) as string, phase: expect.any(String) as string },
  });
  expect(ended?.phases.every(({ endedAt }) => endedAt !== null)).toBe(true);
  return ended as Job;
};

/** A backup that came to nothing: its job says why, it can neither be downloaded nor restored, and of it there is no byte in the store. */
export const expectFailedBackup = async (service: TestService, { backup, job }: BackupAndJob, code: ErrorCode): Promise<Job> => {
  const { sdk } = service;
  const ended = await expectFailedJob(service, job, code);
  expect(await sdk.backups.get(backup)).toMatchObject({ state: 'FAILED', integrity: null, sha256: null, sizeBytes: null });
  const good = await sdk.backups.list({ states: ['AVAILABLE'] }).toArray({ limit: 100 });
  expect(good.map(({ id }) => id)).not.toContain(backup.id);
  expect(await refusal(sdk.backups.link(backup))).toMatchObject({ code: 'BACKUP_NOT_AVAILABLE' });
  expect(await storedFiles(service)).toEqual(archivesOf(...good.map(({ id }) => id)));
  return ended;
};

/** So many keys of so many bytes, at once; needs DEBUG. */
export const populate = async (server: RedisServer, keys: number, bytes: number, prefix = 'key'): Promise<void> => {
  await server.cli('DEBUG', 'POPULATE', String(keys), prefix, String(bytes));
};

/** Makes the server save so slowly that there is time for something to happen in the middle. */
export const saveSlowly = async (server: RedisServer, microsecondsPerKey: number): Promise<void> => {
  await server.cli('CONFIG', 'SET', 'rdb-key-save-delay', String(microsecondsPerKey));
};

/** The same for loading; it answers INFO meanwhile. */
export const loadSlowly = async (server: RedisServer, microsecondsPerKey: number): Promise<void> => {
  await server.cli('CONFIG', 'SET', 'loading-process-events-interval-bytes', '1024');
  await server.cli('CONFIG', 'SET', 'key-load-delay', String(microsecondsPerKey));
};

export const infoOf = async (server: RedisServer): Promise<Record<string, string>> =>
  Object.fromEntries((await server.cli('INFO')).split(/\r?\n/).flatMap((line) => (line.includes(':') ? [[line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]] : [])));
