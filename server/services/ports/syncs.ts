import { type SyncRecord } from '../../domain/source-sync.js';

/** Attempts at full synchronisations, by the server that was asked, over all tenants and nodes. Judged by the database's clock. */
export interface SyncRepository {
  /**
   * Those that began within the window or are under way, but the one named. Nobody else can judge or add one of that server until the
   * transaction ends.
   */
  ofServer(runId: string, options: { windowMs: number; exceptId: string }): Promise<SyncRecord[]>;
  /** Of a run that owns its job; it is RUNNING until its end, or until that run is over. The same id again changes nothing. */
  insert(sync: { id: string; runId: string; jobId: string; fence: number }): Promise<void>;
  /** The first end counts. @param good whether a backup came of it */
  end(id: string, good: boolean): Promise<void>;
  /** Removes at most `limit` that no window reaches any more. */
  forgetOld(limit: number): Promise<void>;
}
