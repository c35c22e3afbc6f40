import { DomainError } from '../../domain/errors.js';
import { removeArchive } from '../../engine/archive/archive.js';
import { type Store } from '../../engine/store/store.js';
import { type Task } from '../task.js';

/** Manifest first, then the data; every step can be repeated, by another attempt or by another deletion. */
export const createDeleteTask = ({ store }: { store: Store }): Task => ({
  async run({ job, signal, assertOwned, onProgress }) {
    const { backupId } = job;
    if (backupId === null) throw new DomainError('NOT_FOUND', `Job ${job.id} has no backup.`);
    onProgress({ kind: 'phase', phase: 'FINALIZING' });
    await assertOwned();
    await removeArchive(store, backupId, { signal });
    return async (tx) => {
      await tx.backups.change(job, backupId, ['DELETING'], { state: 'DELETED' });
    };
  },

  // Its manifest may be gone, and what was decided stands: what is DELETING and no job works on, the upkeep brings to its end.
  fail: () => () => Promise.resolve(),
});
