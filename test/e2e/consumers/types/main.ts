import { createClient, isSnapbackError, TypedDocumentString, type Backup, type BackupState, type Client, type Job, type Outcome, type UserError } from '@snapback/sdk';
import { UserInputError } from '@snapback/sdk/errors';
import { BackupNowDocument, type BackupNowMutation, type ListBackupsQuery } from '@snapback/sdk/operations';

const client: Client = createClient({ url: 'https://snapback.example.com', token: async () => 'sb_x', headers: { 'x-tenant': 'a' }, retry: { attempts: 2 }, timeoutMs: 5_000 });

export const use = async (signal: AbortSignal): Promise<string> => {
  for await (const backup of client.backups.list({ states: ['AVAILABLE'], pageSize: 10 }, { signal })) {
    const named: Backup = backup;
    // An open union: what a newer service may say is a string, and what is known is still completed and checked.
    const state: BackupState = named.state;
    const later: BackupState = 'FROZEN_BY_A_NEWER_SERVICE';
    if (state === 'AVAILABLE' || state === later) return named.sizeBytes ?? '0';
  }
  const outcome: Outcome<{ backup: Backup; job: Job }> = await client.backups.tryCreate({ instanceId: 'ins_1', name: 'x' }, { idempotencyKey: 'k', retry: false });
  if (!outcome.ok) {
    const errors: readonly UserError[] = outcome.error.userErrors;
    return errors[0]?.code ?? '';
  }
  const { backupNow }: BackupNowMutation = await client.execute(BackupNowDocument, { input: { instanceId: 'ins_1', name: 'x' } });
  const Names = new TypedDocumentString<{ instances: { nodes: { name: string }[] } }, { first: number }>('query Names($first: Int!) { instances(first: $first) { nodes { name } } }');
  const { instances } = await client.execute(Names, { first: 1 });
  const Phases = new TypedDocumentString<{ jobProgress: { job: { phase: string | null } } }, { jobId: string }>('subscription Phases($jobId: ID!) { jobProgress(jobId: $jobId) { job { phase } } }');
  for await (const { jobProgress } of client.subscribe(Phases, { jobId: 'job_1' }, { signal })) if (jobProgress.job.phase === null) break;
  // @ts-expect-error a variable that is missing
  client.subscribe(Phases, {});
  const stream: ReadableStream<Uint8Array> = await client.backups.download(outcome.value);
  await stream.cancel();
  const page: ListBackupsQuery['backups']['nodes'] = [];
  const options = { signal, timeoutMs: 1_000, idempotencyKey: 'k', retry: { attempts: 2 }, headers: { 'x-trace': 't' } };
  await Promise.all([client.backups.get('bak_1', options), client.backups.create({ instanceId: 'ins_1', name: 'x' }, options), client.backups.wait('bak_1', options), client.viewer(options)]);
  // @ts-expect-error an input that lacks what must be there
  await client.backups.create({ name: 'x' });
  // @ts-expect-error a variable of another type
  await client.execute(Names, { first: 'one' });
  return `${backupNow.backup?.id ?? ''}${instances.nodes[0]?.name ?? ''}${String(page.length)}`;
};

export const explain = (error: unknown): string => {
  if (!isSnapbackError(error)) return 'not ours';
  if (error.kind === 'job_failed') return error.job.conclusion ?? error.jobId;
  if (error.kind === 'user_input') return error instanceof UserInputError ? error.userErrors.map(({ message }) => message).join() : '';
  const retryAfterMs: number | undefined = error.retryAfterMs;
  return `${error.code} ${String(retryAfterMs)} ${error.requestId ?? ''}`;
};
