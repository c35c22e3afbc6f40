import { type Inventory } from './inventory.js';
import { type UpkeepContext } from './context.js';

/** Removes files of backups that nobody works on, last written to before `olderThan` and never sealed. Returns how many archives' or temporaries' they were. */
export const sweepUnsealed = async ({ leftovers, untidy }: Inventory, olderThan: Date, ctx: UpkeepContext): Promise<number> => {
  const busy = new Set(await ctx.db.read.upkeep.busyBackups());
  await ctx.assertOurs();
  const swept = await ctx.archives.sweep(olderThan, (backupId) => busy.has(backupId));
  for (const { backupId, modifiedAt } of leftovers) {
    if (modifiedAt >= olderThan || busy.has(backupId)) continue;
    await ctx.assertOurs();
    if (await ctx.archives.removeUnsealed(backupId)) swept.push(backupId);
  }
  for (const { backupId, modifiedAt } of untidy) {
    if (modifiedAt >= olderThan || busy.has(backupId)) continue;
    await ctx.assertOurs();
    if ((await ctx.archives.removeStrays(backupId, ctx.signal)) > 0) swept.push(backupId);
  }
  if (swept.length > 0) ctx.log.info('Unsealed files that nobody works on were removed.', { count: swept.length, keys: swept.slice(0, 20) });
  return swept.length;
};
