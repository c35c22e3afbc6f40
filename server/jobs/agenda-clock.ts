import { Agenda, type Job } from 'agenda';
import { DomainError } from '../domain/errors.js';
import { type Log } from '../engine/ports.js';
import { openPostgresStore } from './agenda-postgres.js';
import { ClockRepository, RowReplaced } from './agenda-repository.js';
import { type AgendaStore, type ErrandData, POLICY_DUE, RUN_JOB } from './agenda-store.js';
import { TroubleLog } from './agenda-trouble.js';
import { type ClockHandlers, type StopOptions, type WorkClock } from './clock.js';

export interface AgendaClockOptions {
  /** PostgreSQL, which holds Agenda's rows unless `mongoUrl` is given. Its migrations have run. */
  databaseUrl: string;
  /** MongoDB for Agenda's rows instead. */
  mongoUrl?: string | undefined;
  /** Name of this process, unlike that of any other that runs: rows it holds are unlocked by it. */
  name: string;
  /** How many jobs run at once in this process; also how many rows it holds, so that no process hoards. */
  concurrency: number;
  log: Log;
  /** How often rows are looked for. They are taken up to this long before their instant and started on it. Default 1,000 ms. */
  processEveryMs?: number | undefined;
  /** The recurring pass. Default 60,000 ms. */
  tickEveryMs?: number | undefined;
  /** After this long the rows of a process that died are taken by another. Renewed at a quarter of it. Default 20,000 ms. */
  lockLifetimeMs?: number | undefined;
}

/** Planning is quick: one claim by SQL. The rows of one busy minute may be held by one process. */
const POLICY_CONCURRENCY = 10;
const POLICY_LOCK_LIMIT = 100;
const COMPARE_CLOCKS_MS = 10_000;
const CLOCK_SKEW_WORTH_TELLING_MS = 2_000;
const LONGEST_PAUSE_MS = 60_000;

/**
 * WorkClock over Agenda 6. Agenda finds, locks and times the rows; everything it leaves open is done here: rows unique per subject
 * (AgendaStore), the database's time (ClockRepository), renewal of locks, redelivery, and a stop that loses nothing.
 * The recurring pass is a timer of each process and no row of Agenda's: a net must hold when the rows are gone, and `every()`
 * would put a due run off at each boot.
 */
export class AgendaClock implements WorkClock {
  private readonly rows: ClockRepository;
  private agenda: Agenda | undefined;
  private readonly running = new Set<Promise<void>>();
  private readonly timers: NodeJS.Timeout[] = [];
  private ceased: Promise<void> | undefined;
  private stopped: Promise<void> | undefined;
  private ticking = false;

  private constructor(private readonly store: AgendaStore, private readonly options: AgendaClockOptions, private readonly troubles: TroubleLog) {
    this.rows = new ClockRepository(store.repository, troubles);
  }

  /** Connects; INTERNAL when the database does not answer. Rows can then be written; nothing is delivered before `start`. */
  static async open(options: AgendaClockOptions): Promise<AgendaClock> {
    const troubles = new TroubleLog(options.log);
    const store = options.mongoUrl === undefined
      ? await openPostgresStore(options.databaseUrl, troubles)
      // Loaded only where it is used: the client costs 20 MiB.
      : await (await import('./agenda-mongo.js')).openMongoStore(options.mongoUrl);
    return new AgendaClock(store, options, troubles);
  }

  async start(handlers: ClockHandlers): Promise<void> {
    if (this.agenda || this.ceased) throw new DomainError('INTERNAL', 'The clock was started twice, or after it had stopped.');
    const { concurrency, name, processEveryMs = 1_000, lockLifetimeMs = 20_000, tickEveryMs = 60_000 } = this.options;
    await this.compareClocks();
    const agenda = new Agenda({
      // Connected already: Agenda does not catch what its own connecting rejects with.
      backend: {
        name: this.store.name, repository: this.rows.repository, notificationChannel: this.store.channel, ownsConnection: false,
        connect: () => Promise.resolve(), disconnect: () => Promise.resolve(),
      },
      name, processEvery: processEveryMs, defaultConcurrency: concurrency, defaultLockLimit: concurrency,
      maxConcurrency: concurrency + POLICY_CONCURRENCY, defaultLockLifetime: lockLifetimeMs,
    });
    this.agenda = agenda;
    agenda.on('error', (error: unknown) => {
      if (!(error instanceof RowReplaced)) this.troubles.trouble('Agenda could not read or write its rows', error);
    });
    // Agenda itself looks for the next row only at its interval, however short the runs are. It frees the place just after this event.
    for (const errand of [RUN_JOB, POLICY_DUE] as const) {
      agenda.on(`complete:${errand}`, () => setImmediate(() => { this.store.nudge(errand); }));
    }
    const backoff = ({ attempt }: { attempt: number }): number => Math.min(LONGEST_PAUSE_MS, 1_000 * 2 ** Math.min(attempt - 1, 10));
    agenda.define<ErrandData>(RUN_JOB, (job) => this.deliver(job, (id) => handlers.runJob(id)), { backoff });
    agenda.define<ErrandData>(POLICY_DUE, (job) => this.deliver(job, (id) => handlers.policyDue(id)), {
      backoff, concurrency: POLICY_CONCURRENCY, lockLimit: POLICY_LOCK_LIMIT,
    });
    await agenda.start();
    this.every(COMPARE_CLOCKS_MS, () => this.compareClocks());
    const tick = (): Promise<void> => this.tick(handlers);
    this.every(tickEveryMs, tick);
    void this.keep(tick());
  }

  enqueueJob(jobId: string): Promise<void> {
    return this.store.put(RUN_JOB, jobId, null);
  }

  schedulePolicy(policyId: string, at: Date | null): Promise<void> {
    return at ? this.store.put(POLICY_DUE, policyId, at) : this.store.remove(POLICY_DUE, policyId);
  }

  enqueued(): Promise<string[]> {
    return this.store.subjects(RUN_JOB);
  }

  async pending(): Promise<{ policyId: string; at: Date }[]> {
    return (await this.store.list(POLICY_DUE)).map(({ subject, at }) => ({ policyId: subject, at }));
  }

  async reachable(ms: number): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<false>((resolve) => {
      timer = setTimeout(() => { resolve(false); }, ms);
    });
    try {
      return await Promise.race([this.store.now().then(() => true, () => false), late]);
    } finally {
      clearTimeout(timer);
    }
  }

  cease(): Promise<void> {
    this.ceased ??= this.takeNoMore();
    return this.ceased;
  }

  stop(options: StopOptions = {}): Promise<void> {
    this.stopped ??= this.drain(options.signal);
    return this.stopped;
  }

  private async takeNoMore(): Promise<void> {
    for (const timer of this.timers) clearInterval(timer);
    this.rows.close();
    await this.rows.idle();
    try {
      // Agenda's own drain() goes on starting what it holds and leaves the rest locked; stop() starts nothing more.
      await this.agenda?.stop(false);
    } catch (error) {
      this.troubles.trouble('Agenda could not give back its rows; their locks lapse by themselves', error);
    }
  }

  private async drain(signal: AbortSignal | undefined): Promise<void> {
    await this.cease();
    const aborted = new Promise<void>((resolve) => {
      if (signal?.aborted) resolve();
      signal?.addEventListener('abort', () => { resolve(); }, { once: true });
    });
    await Promise.race([Promise.allSettled(this.running), aborted]);
    await this.rows.idle();
    try {
      await this.store.handBack(this.options.name);
    } catch (error) {
      this.troubles.trouble('Rows of the clock could not be handed back; their locks lapse by themselves', error);
    }
    await this.store.close();
  }

  /** Runs a handler for a row. Rejects, and is told again later, when the handler does or when the row cannot be removed after it. */
  private deliver(job: Job<ErrandData>, handle: (subject: string) => Promise<void>): Promise<void> {
    if (this.ceased) return Promise.reject(new DomainError('INTERRUPTED', 'This process is stopping.', { retryable: true }));
    return this.keep(this.run(job, handle));
  }

  private async run(job: Job<ErrandData>, handle: (subject: string) => Promise<void>): Promise<void> {
    const { _id: id, name, data: { subject } } = job.attrs;
    let touched: Promise<void> = Promise.resolve();
    const renewal = setInterval(() => {
      touched = job.touch().catch((error: unknown) => {
        if (!(error instanceof RowReplaced)) this.troubles.trouble('The lock of a row of the clock could not be renewed', error);
      });
    }, (this.options.lockLifetimeMs ?? 20_000) / 4);
    try {
      await handle(subject);
    } catch (error) {
      this.options.log.warn(`The handler of ${name} failed; it is told again`, { subject, attempt: (job.attrs.failCount ?? 0) + 1, error });
      throw error;
    } finally {
      clearInterval(renewal);
      // A renewal that lands after Agenda's last write would lock the row once more.
      await touched;
    }
    // By row id: a row which the handler itself put for the same subject is another one and stays.
    if (id) await this.store.repository.removeJobs({ id });
  }

  private async tick(handlers: ClockHandlers): Promise<void> {
    if (this.ticking) return;
    this.ticking = true;
    try {
      await handlers.tick();
    } catch (error) {
      this.options.log.warn('The recurring pass failed; the next one follows', { error });
    } finally {
      this.ticking = false;
    }
  }

  private async compareClocks(): Promise<void> {
    try {
      const skewMs = await this.rows.compareClocks(() => this.store.now());
      if (Math.abs(skewMs) > CLOCK_SKEW_WORTH_TELLING_MS) {
        this.troubles.trouble('The clock of this machine differs from the database\'s, which is used', { skewMs });
      }
    } catch (error) {
      this.troubles.trouble('The clocks could not be compared', error);
    }
  }

  private every(ms: number, action: () => Promise<void>): void {
    this.timers.push(setInterval(() => { void this.keep(action()); }, ms));
  }

  /** Counts work as running until it has settled. `action` of `every` never rejects. */
  private keep(work: Promise<void>): Promise<void> {
    const settled: Promise<void> = work.then(() => undefined, () => undefined).finally(() => this.running.delete(settled));
    this.running.add(settled);
    return work;
  }
}
