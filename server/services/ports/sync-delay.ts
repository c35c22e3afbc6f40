import { type SyncDelayHold } from '../../engine/source/sync-delay/hold.js';
import { type Scope } from './scope.js';

/** A server's delay as one run of a job holds it. */
export interface SyncDelayHoldRow extends SyncDelayHold {
  projectId: string;
  /** Whose credentials lead there. */
  instanceId: string;
  jobId: string;
  fence: number;
}

/** Who settles a hold whose run is dead. */
export interface Settler {
  name: string;
  /** Nobody else does for so long. */
  leaseMs: number;
}

/** Servers whose delay is ours at the moment. By the database's clock; over all tenants where no scope is asked for. */
export interface SyncDelayRepository {
  /** false: that server is held already, by another run. Repeated by the same run it is true again. */
  take(hold: SyncDelayHoldRow): Promise<boolean>;
  /** Whether that run has the hold, and nobody settles it. */
  isHeld(hold: SyncDelayHoldRow): Promise<boolean>;
  release(hold: SyncDelayHoldRow): Promise<void>;
  /**
   * Holds whose run does not own its job any more, and that nobody else settles at the moment: those of one instance, or all that are due (after
   * each attempt to settle one, after a longer pause).
   */
  claimDead(settler: Settler, of: { instanceId: string } | { limit: number }): Promise<SyncDelayHoldRow[]>;
  /** Whether it is still that settler's. */
  isClaimed(runId: string, settler: string): Promise<boolean>;
  /** The hold is over; false: it was no longer that settler's. */
  settled(runId: string, settler: string): Promise<boolean>;
  /** It could not be settled now: others may try, too. */
  giveUp(runId: string, settler: string): Promise<void>;
  /** One whose job has ended, of an instance. */
  leftOn(scope: Scope, instanceId: string): Promise<SyncDelayHoldRow | null>;
  /** Forgets all of an instance, unsettled. */
  abandon(scope: Scope, instanceId: string): Promise<void>;
}
