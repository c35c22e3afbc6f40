/*
 * From 7.0 on a server waits before a diskless save, five seconds by default, for further replicas to come and share it. A backup has nothing to gain by
 * that. The wait is a setting, `repl-diskless-sync-delay`, which is 0 from just before our PSYNC until the server has begun to save, and what it was again.
 */

export const SYNC_DELAY = 'repl-diskless-sync-delay';

/** A server whose delay is ours at the moment, or may be: all that any node needs to put it back. Plain, without secrets; written down before the server is touched. */
export interface SyncDelayHold {
  /** The server's process at the time; another id later means that it was restarted. */
  runId: string;
  /** As dialled. */
  host: string;
  port: number;
  /** Seconds, as CONFIG GET showed it. */
  before: string;
  /** What we set. */
  ours: string;
}

/** Where the hold of one backup is kept. One server is held once at a time, whichever nodes and instances lead to it. */
export interface SyncDelayRecorder {
  /** True when the hold would survive a crash; false when somebody else holds the server. Nothing of the server has been touched before. */
  take(hold: SyncDelayHold): Promise<boolean>;
  /** Resolves while it is still ours to change the server; rejects when another run or node may be at it. */
  assertHeld(): Promise<void>;
  /** Nothing of ours is left on the server. */
  release(): Promise<void>;
}
