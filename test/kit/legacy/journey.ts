import { createHash } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { type BackupFragment, type InstanceFragment, type JobEventFragment, type RestoreFragment, type RestorePlanFragment } from '../../../sdk/src/generated/operations.js';
import { type Client } from '../../../sdk/src/index.js';
import { type TestService } from '../service.js';

/** The steps of a user, by the SDK alone. */

let named = 0;

export const register = (sdk: Client, server: { host: string; port: number }, password?: string): Promise<InstanceFragment> =>
  sdk.instances.register({ name: `server ${String((named += 1))}`, host: server.host, port: server.port, ...(password === undefined ? {} : { password }) });

/** Takes a backup and waits for it. Throws JobFailedError. */
export const backUp = async (sdk: Client, instance: { id: string }): Promise<BackupFragment> => {
  const begun = await sdk.backups.create({ instanceId: instance.id, name: 'by hand' });
  return sdk.backups.wait(begun);
};

export interface Restored {
  plan: RestorePlanFragment;
  restore: RestoreFragment;
  events: JobEventFragment[];
}

/** Plans a restore, confirms it with everything accepted, and follows it to its end, good or bad. */
export const restoreInto = async (sdk: Client, backup: { id: string }, instance: InstanceFragment): Promise<Restored> => {
  const plan = await sdk.restores.plan({ backupId: backup.id, instanceId: instance.id });
  const begun = await sdk.restores.run({
    planId: plan.id, confirmation: instance.name, acceptedWarnings: plan.warnings.filter(({ mustAccept }) => mustAccept).map(({ name }) => name),
  });
  const events: JobEventFragment[] = [];
  for await (const event of sdk.restores.watch(begun)) events.push(event);
  const restore = await sdk.restores.get(begun);
  if (!restore) throw new Error(`Restore ${begun.restore.id} is gone`);
  return { plan, restore, events };
};

export const download = async (sdk: Client, backup: { id: string }): Promise<Buffer> =>
  Buffer.from(await new Response(await sdk.backups.download(backup.id)).arrayBuffer());

export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** Keys per database, as a plain object. */
export const perDatabase = (counts: readonly { database: number; keys: string }[] | null): Record<string, number> =>
  Object.fromEntries((counts ?? []).map(({ database, keys }) => [String(database), Number(keys)]));

/** All files below the service's store. */
export const storedFiles = async (service: TestService): Promise<string[]> =>
  (await readdir(service.storeRoot, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile()).map(({ name }) => name).sort();
