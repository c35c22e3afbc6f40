import { DomainError } from '../../domain/errors.js';
import { stateIn, type TargetConnection } from './connection.js';
import { type ReplicaLink } from './link.js';
import { type RestoreTimes } from './times.js';

export interface LoadWatch {
  link: ReplicaLink;
  target: TargetConnection;
  times: RestoreTimes;
  /** What the replica acknowledges once it has loaded. */
  offset: bigint;
  signal: AbortSignal;
  assertOwned(): Promise<void>;
  onLoading(loaded: bigint, total: bigint): void;
}

/**
 * Waits for the acknowledgement that the payload is loaded. An aborted signal no longer ends the restore here: the target loads
 * whatever we do, and leaving it a replica helps nobody; only lost ownership ends it, with what `assertOwned` rejects with.
 *
 * Returns false when the link ended first, which says nothing about the load. Fails with TOO_SLOW when nothing moved for
 * `loadStallMs`.
 */
export const awaitLoad = async (watch: LoadWatch): Promise<boolean> => {
  const { link, target, times, offset, signal } = watch;
  let movedAt = performance.now();
  let seen = '';
  let looking = false;
  let asked = false;
  const lookOnce = async (): Promise<void> => {
    const { loading, loadedBytes, loadTotalBytes } = stateIn(await target.ask(undefined, { patienceMs: 0 }));
    if (loading) watch.onLoading(loadedBytes, loadTotalBytes);
    const now = `${loading} ${loadedBytes}`;
    if (now !== seen) movedAt = performance.now();
    seen = now;
  };
  for (;;) {
    if (link.hasAcknowledged(offset)) return true;
    if (!link.alive) return false;
    if (signal.aborted && !asked) {
      asked = true;
      await watch.assertOwned();
    }
    if (performance.now() - movedAt > times.loadStallMs) {
      throw new DomainError('TOO_SLOW', `${target.address} has neither acknowledged the load nor moved on with it for ${times.loadStallMs} ms.`, { hint: 'Look at the target\'s log.' });
    }
    await link.change(times.pollMs);
    if (!looking && !link.hasAcknowledged(offset)) {
      looking = true;
      // A target that is emptying its old data answers late or not at all; what is missed is a step of the progress bar.
      void lookOnce().catch(() => undefined).finally(() => {
        looking = false;
      });
    }
  }
};
