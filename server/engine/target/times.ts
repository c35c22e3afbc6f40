/** How long a restore waits for what, in milliseconds. Tests shorten them; operators have no reason to. */
export interface RestoreTimes {
  /** One command to the target. */
  commandMs: number;
  /** From `REPLICAOF` to the target's proven `PSYNC`. A replica dials within a second. */
  linkMs: number;
  /** A connection to the restore listener that has not said `PSYNC` by then is cut. */
  handshakeMs: number;
  /** The archive gives no byte. Well below `repl-timeout`: a target with diskless load is frozen as long as we stall. */
  sourceStallMs: number;
  /** The recorder keeps the point of no return; the target may be frozen meanwhile. */
  recorderMs: number;
  /** The target takes no byte. */
  sendStallMs: number;
  /** The target neither acknowledges nor shows any progress of its load. Emptying a huge dataset shows none. */
  loadStallMs: number;
  /** The append-only file is rewritten before the promotion. */
  appendOnlyMs: number;
  /** The target has not got its last try at that right, and does not try again. */
  appendOnlyRetryMs: number;
  /** A target that cannot be reached any more is tried again for so long. */
  reconnectMs: number;
  /** A life of one `CLIENT PAUSE`: what a crash of ours leaves behind at most. */
  pauseMs: number;
  /** It is renewed so often. */
  pauseRenewMs: number;
  /** Between two looks at the target. */
  pollMs: number;
  /** Between two signs of life on the link once the payload is sent, as a master's `repl-ping-replica-period`. */
  pingMs: number;
}

export const DEFAULT_TIMES: RestoreTimes = {
  commandMs: 5_000,
  linkMs: 30_000,
  handshakeMs: 5_000,
  sourceStallMs: 10_000,
  recorderMs: 5_000,
  sendStallMs: 60_000,
  loadStallMs: 600_000,
  appendOnlyMs: 3_600_000,
  appendOnlyRetryMs: 30_000,
  reconnectMs: 60_000,
  pauseMs: 30_000,
  pauseRenewMs: 10_000,
  pollMs: 250,
  pingMs: 2_000,
};
