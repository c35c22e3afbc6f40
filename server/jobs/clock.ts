/**
 * What wakes the workers. It holds no truth: slots, jobs and leases are rows in PostgreSQL. So a delivery may come twice, and a
 * lost one is made good by the recurring pass. Handlers must claim what they are told about before they act.
 */
export interface ClockHandlers {
  /** Job `jobId` waits to be run. Resolves when the run has ended here, whatever its conclusion. */
  runJob(jobId: string): Promise<void>;
  /** The instant given for `policyId` has come. The policy has no pending row any more: the handler plans the next one. */
  policyDue(policyId: string): Promise<void>;
  /** The net: at the start, then every half minute in every process, whatever became of the clock's own rows. */
  tick(): Promise<void>;
}

export interface StopOptions {
  /** Ends the wait for handlers that still run; what they were told about is then handed to other processes. */
  signal?: AbortSignal | undefined;
}

export interface WorkClock {
  /** Begins to deliver. A handler that rejects is logged and told again after a growing pause (1 s to 60 s); it harms nothing else. */
  start(handlers: ClockHandlers): Promise<void>;
  /** Delivers `jobId` to one process as soon as one is free. A second call before the delivery changes nothing. Works before `start`. */
  enqueueJob(jobId: string): Promise<void>;
  /**
   * Makes `at` the only pending instant of a policy, or removes it (null). Under races the last call wins and one row remains.
   * Called from within `policyDue` it plans the next run. An instant in the past is delivered at once. Never delivered before `at`
   * by the clock of the clock's database.
   */
  schedulePolicy(policyId: string, at: Date | null): Promise<void>;
  /** Jobs that are to be delivered, or are being delivered. */
  enqueued(): Promise<string[]>;
  /** All pending instants of policies, soonest first. */
  pending(): Promise<{ policyId: string; at: Date }[]>;
  /** Whether its store answers. Never rejects; false within `ms` at the latest. */
  reachable(ms: number): Promise<boolean>;
  /** Takes no new work from now on, and gives back what was taken and not begun. What runs goes on. May be called twice. */
  cease(): Promise<void>;
  /** Takes no new work, waits for the handlers, gives back what was taken and not begun, closes the connections. May be called twice. */
  stop(options?: StopOptions): Promise<void>;
}
