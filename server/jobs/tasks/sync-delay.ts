import { DomainError } from '../../domain/errors.js';
import { type SyncDelayHold, type SyncDelayRecorder } from '../../engine/source/sync-delay/hold.js';
import { type TaskContext } from '../task.js';

/** Keeps in mind, under this run's fence, that the delay of a server of an instance is ours. */
export const syncDelayRecorder = ({ job, fence, write }: Pick<TaskContext, 'job' | 'fence' | 'write'>, instanceId: string): SyncDelayRecorder => {
  let held: SyncDelayHold | undefined;
  const row = () => {
    if (!held) throw new Error('A delay that was never taken is looked for');
    return { ...held, projectId: job.projectId, instanceId, jobId: job.id, fence };
  };
  return {
    take(hold) {
      held = hold;
      return write((tx) => tx.syncDelays.take(row()));
    },
    async assertHeld() {
      if (await write((tx) => tx.syncDelays.isHeld(row()))) return;
      throw new DomainError('INTERRUPTED', `The delay of ${row().host}:${row().port} is no longer this run's to change.`, { retryable: true });
    },
    release: () => write((tx) => tx.syncDelays.release(row())),
  };
};
