import { type VerificationLevel } from '../domain/backup.js';
import { DomainError, isDamageCode } from '../domain/errors.js';
import { listArchives, type KeyRing } from '../engine/archive/archive.js';
import { type Store } from '../engine/store/store.js';
import { verifyArchive } from '../engine/verify.js';
import { type Console, EXIT, type ExitCode } from './console.js';
import { checksOf } from './list.js';
import { printable, size } from './text.js';

export interface VerifyOptions {
  /** Empty: all of the store. */
  backupIds: readonly string[];
  level: VerificationLevel;
}

const sealedIn = async (store: Store, signal: AbortSignal): Promise<string[]> => {
  const ids: string[] = [];
  for await (const { backupId, sealed } of listArchives(store, { signal })) if (sealed) ids.push(backupId);
  return ids;
};

/** A line for each archive. Goes on after one that is damaged or that nobody could look at. */
export const verify = async ({ store, keys }: { store: Store; keys: KeyRing | undefined }, { backupIds, level }: VerifyOptions, console: Console, signal: AbortSignal): Promise<ExitCode> => {
  const ids = backupIds.length > 0 ? backupIds : await sealedIn(store, signal);
  const ended = { good: 0, damaged: 0, prevented: 0 };
  for (const backupId of ids) {
    try {
      const manifest = await verifyArchive({ backupId, level }, { store, keys }, signal, (progress) => {
        if (progress.kind === 'amount' && progress.bytesTotal) console.progress(`${backupId} ${Number((progress.bytesDone * 100n) / progress.bytesTotal)} %`);
      });
      ended.good += 1;
      await console.out(`${backupId} good (${level}, ${size(manifest.artifacts[0].plainSize)}, ${checksOf(manifest)})\n`);
    } catch (error) {
      if (!(error instanceof DomainError) || signal.aborted) throw error;
      const isDamaged = isDamageCode(error.code);
      ended[isDamaged ? 'damaged' : 'prevented'] += 1;
      await console.out(`${backupId} ${isDamaged ? 'DAMAGED' : 'not verified'}: ${error.code}: ${printable(error.message)}\n`);
      if (!isDamaged && error.hint !== undefined) console.err(error.hint);
    }
  }
  console.err(ids.length === 0 ? `There are no archives in ${store.location}.` : `${ended.good} of ${ids.length} good, ${ended.damaged} damaged, ${ended.prevented} could not be verified.`);
  return ended.damaged > 0 ? EXIT.DAMAGED : ended.prevented > 0 ? EXIT.PREVENTED : EXIT.DONE;
};
