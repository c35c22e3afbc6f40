import { type JobProgress, type Phase, type PhaseRecord } from '../domain/job.js';
import { type Clock, type EngineProgress, type OnProgress } from '../engine/ports.js';
import { type ClaimedJob, type JobChange, type JobEventDraft } from '../services/ports.js';
import { type Lease } from './lease.js';
import { Rate } from './rate.js';

/**
 * At most four progress events a second in the beginning, one a second in the end: each is a transaction, and an execution for every
 * topic, on the thread that also feeds the archive; and who watches a job that lasts sees no more in four.
 */
const PROGRESS_EVERY_MS = 250;
const PROGRESS_EVERY_MS_LATER = 1_000;
/** A run is so many times as old as the pause between two of its events, in between. */
const PAUSES_OLD = 8;

type Write = { change: JobChange; event: JobEventDraft };

const NONE: JobProgress = { bytesDone: 0n, bytesTotal: null, keysDone: 0n, keysTotal: null, bytesPerSecond: null, remainingSeconds: null };

/**
 * Writes what a run reports into its job: row and event in one transaction, only while the run's fence holds, in the order reported.
 * Phases and notices are never dropped: while the database is away they wait. Of progress only the newest is written. A refused write
 * means that the lease is lost, and nothing is written from then on.
 */
export class JobJournal {
  phase: Phase | null;
  phases: PhaseRecord[];
  progress: JobProgress | null = null;
  private readonly rate = new Rate();
  private tail: Promise<void> = Promise.resolve();
  private timer: NodeJS.Timeout | undefined;
  private progressWaits = false;
  private writtenAt = -Infinity;
  private readonly begunAt = performance.now();
  private closed = false;

  constructor(private readonly claimed: ClaimedJob, private readonly lease: Lease, private readonly clock: Clock) {
    this.phase = claimed.job.phase;
    this.phases = [...claimed.job.phases];
  }

  readonly onProgress: OnProgress = (report) => this.report(report);

  /** Waits for everything reported so far, the last progress included. */
  async flush(): Promise<void> {
    if (this.timer) this.writeProgress();
    await this.tail;
  }

  /** What is reported from now on is forgotten. */
  close(): void {
    this.closed = true;
    this.cancelTimer();
  }

  /** As the job's row is to have them at its end. */
  closedPhases(at: Date): PhaseRecord[] {
    return this.phases.map((record) => (record.endedAt ? record : { ...record, endedAt: at }));
  }

  private report(report: EngineProgress): void {
    if (this.closed || this.lease.lost) return;
    const at = this.clock.now();
    if (report.kind === 'phase') {
      if (report.phase === this.phase && this.phases.at(-1)?.endedAt === null) return;
      this.phases = [...this.closedPhases(at), { phase: report.phase, startedAt: at, endedAt: null }];
      this.phase = report.phase;
      this.progress = NONE;
      this.rate.reset();
      this.cancelTimer();
      this.write({ change: { phase: this.phase, phases: this.phases, progress: NONE }, event: { kind: 'PHASE', at } });
    } else if (report.kind === 'notice') {
      this.write({ change: {}, event: { kind: 'NOTICE', at, notice: { code: report.code, message: report.message } } });
    } else {
      this.measure(report);
      if (this.timer || this.progressWaits) return;
      const now = performance.now();
      const pause = Math.min(PROGRESS_EVERY_MS_LATER, Math.max(PROGRESS_EVERY_MS, (now - this.begunAt) / PAUSES_OLD));
      const wait = Math.max(0, this.writtenAt + pause - now);
      this.timer = setTimeout(() => this.writeProgress(), wait);
    }
  }

  private measure({ bytesDone, bytesTotal, keysDone, keysTotal }: Extract<EngineProgress, { kind: 'amount' }>): void {
    this.rate.add(performance.now(), bytesDone);
    const perSecond = this.rate.bytesPerSecond;
    this.progress = { bytesDone, bytesTotal, keysDone, keysTotal, bytesPerSecond: perSecond === null ? null : Math.round(perSecond), remainingSeconds: null };
    if (perSecond === null || perSecond <= 0) return;
    // Without a total of bytes, keys tell how far it is: the server's own count, a little off while it takes writes.
    const share = keysTotal !== null && keysTotal > 0n ? Math.min(1, Number(keysDone) / Number(keysTotal)) : 0;
    const bytesLeft = bytesTotal !== null ? Number(bytesTotal - bytesDone) : share > 0.01 ? (Number(bytesDone) * (1 - share)) / share : null;
    if (bytesLeft !== null) this.progress.remainingSeconds = Math.max(0, Math.round(bytesLeft / perSecond));
  }

  private cancelTimer(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }

  /** One progress waits at most: it is read when its turn has come, and is the newest then. */
  private writeProgress(): void {
    this.cancelTimer();
    if (this.progressWaits) return;
    this.progressWaits = true;
    this.write(() => {
      this.progressWaits = false;
      this.writtenAt = performance.now();
      return { change: { progress: this.progress }, event: { kind: 'PROGRESS', at: this.clock.now() } };
    });
  }

  private write(write: Write | (() => Write)): void {
    this.tail = this.tail.then(async () => {
      if (this.lease.lost) return;
      const { change, event } = typeof write === 'function' ? write() : write;
      const { job, fence } = this.claimed;
      try {
        const written = await this.lease.transaction((tx) => tx.jobs.change(job.id, { fence }, change, event));
        if (!written) this.lease.lose();
      } catch (error) {
        // What the job's followers must see cannot be written: the run ends here, and another one, or the last attempt, says why.
        this.lease.lose(error);
      }
    });
  }
}
