import { randomBytes } from 'node:crypto';
import { type DatabaseCount } from '../domain/backup.js';
import { abortReason, DomainError } from '../domain/errors.js';
import { mergedDatabases, type RestoreOptions } from '../domain/restore-options.js';
import { openControl, ServerReplyError, type Control } from './control.js';
import { type Dial, type Endpoint, type Log, type OnProgress } from './ports.js';
import { type Loss } from './rdb/losses.js';
import { type TransferTarget } from './rdb/transfer.js';
import { highestDatabase, type Finding, type Warning } from './target/findings.js';
import { readFacts, type TargetFacts } from './target/facts.js';
import { memoryNeeded, pipelineWarnings, selectionBlockers, targetBlockers } from './target/pipeline/findings.js';
import { presentLibraries } from './target/pipeline/functions.js';
import { KeyRules } from './target/pipeline/key-rules.js';
import { Ledger } from './target/pipeline/ledger.js';
import { keysOnTarget, readClock, rightToRestore } from './target/pipeline/looks.js';
import { emptyReport, PipelineFailure, type PipelineReport } from './target/pipeline/report.js';
import { Router } from './target/pipeline/router.js';
import { type SelectedKeys } from './target/pipeline/selected-keys.js';
import { surveyArchive, type KeyProblem, type Survey } from './target/pipeline/survey.js';
import { transferKeys } from './target/pipeline/transfer-keys.js';
import { type RdbSource } from './target/source.js';
import { DEFAULT_TIMES, type RestoreTimes } from './target/times.js';
import { assertAsPlanned } from './target/verdict.js';

export { PipelineFailure, type PipelineDataNow, type PipelineReport } from './target/pipeline/report.js';
export { type Comparison, type SampleKey, type SelectedKeys } from './target/pipeline/selected-keys.js';

/** What a restore key by key is to do, and with which target. */
export interface PipelinePlanFacts {
  endpoint: Endpoint;
  /** Options that `checkRestoreOptions` has passed. */
  options: RestoreOptions;
  /** When the backup was taken: what SHIFT counts from. */
  takenAt: Date;
  times?: Partial<RestoreTimes> | undefined;
}

/** A plan that was confirmed. */
export interface PipelineRestorePlan extends PipelinePlanFacts {
  /** The plan is bound to this process and version of the target; in a cluster, of the node at the endpoint. */
  runId: string;
  version: string;
  /** Names of warnings that the caller accepts. */
  acceptedWarnings: readonly string[];
}

export interface PipelineDeps {
  dial: Dial;
  log: Log;
  /** Read once or twice; ranges of it again for values of more than 8 MiB. */
  source: RdbSource;
}

export interface PipelineRestoreDeps extends PipelineDeps {
  /** Takes the PRE_RESTORE backup. Absent: none is wanted. When it fails, the target has not been touched. */
  safetyBackup?: ((signal: AbortSignal, onProgress: OnProgress) => Promise<{ replicationOffset: bigint | null }>) | undefined;
  /** Rejects when this work is no longer ours (the lease is lost). Awaited right before the target is changed for the first time; from then on, abort the signal. */
  assertOwned(): Promise<void>;
  /** Awaited right before the target is changed for the first time: whoever finds this work abandoned later has to take its data for a mix. */
  beforeFirstWrite?: (() => Promise<void>) | undefined;
}

/** What restoring a selection into a target would do, as it stands now. */
export interface PipelineFindings {
  facts: TargetFacts;
  selected: SelectedKeys;
  /** What would be left behind; to be accepted by name. */
  losses: Loss[];
  /** Single keys behind the blockers. */
  problems: KeyProblem[];
  blockers: Finding[];
  warnings: Warning[];
  /** Keys on the target, in a cluster of all its masters. */
  keysNow: readonly DatabaseCount[];
  /** What is selected takes there beside what stays, in bytes. */
  estimatedMemory: bigint;
}

/**
 * Looks at what a restore key by key would do, and writes nothing: reads the archive once, and asks the target, for every selected key, what it has
 * in its place. Fails as `readFacts`, `surveyArchive` and connections do, or with the signal's reason.
 */
export const inspectSelection = async (plan: PipelinePlanFacts & { safetyBackup: boolean }, deps: PipelineDeps, signal: AbortSignal, onProgress: OnProgress): Promise<PipelineFindings> => {
  onProgress({ kind: 'phase', phase: 'PREPARING' });
  const visit = await Visit.begin(plan, deps, signal);
  try {
    onProgress({ kind: 'phase', phase: 'VERIFYING' });
    // What cannot be restored into anyway is not compared with.
    const survey = await visit.survey(visit.blockers.length === 0 ? 'COMPARE' : null, onProgress);
    return {
      facts: visit.facts, selected: survey.selected, losses: survey.losses, problems: survey.problems, ...visit.findings(survey, plan.safetyBackup),
      keysNow: await keysOnTarget(visit.facts, visit.router), estimatedMemory: (plan.options.flush === 'NOTHING' ? visit.facts.usedMemory : 0n) + memoryNeeded(deps.source.facts, survey),
    };
  } finally {
    visit.end();
  }
};

/**
 * Restores a backup, or a selection of it, into a running server or cluster by pipelined commands, in this order: look again at everything the plan
 * saw; read the whole archive, compare it with its manifest and find out what is selected (with a blocker, a loss that is not accepted, or, under
 * FAIL, a key that is there already, nothing is touched); take the safety backup; empty databases, where that is wanted; load functions; write the keys.
 * Each key appears whole, at one moment. A lost connection is opened again, to the same process of the same server, and what had not been answered is
 * sent again.
 *
 * Aborting the signal cancels at any time; what has been written by then stays.
 *
 * Fails with PipelineFailure only; its report says what was written. Its code is the cause's: TARGET_BLOCKED and the blockers' own codes (also: the target
 * has become a replica, loads, …), CONFIRMATION_REQUIRED (target changed, a warning or loss not accepted), CONFLICT (FAIL), INSUFFICIENT_MEMORY,
 * PERMISSION_MISSING, CONNECT_FAILED, TARGET_STATE_UNKNOWN (the target was restarted or replaced meanwhile), CORRUPT, …; single keys that the target refused end
 * it with TARGET_BLOCKED after all others have been written.
 */
export const runPipelineRestore = async (plan: PipelineRestorePlan, deps: PipelineRestoreDeps, signal: AbortSignal, onProgress: OnProgress): Promise<PipelineReport> => {
  const run = new PipelineRun(plan, deps, signal, onProgress);
  try {
    await run.prepare();
    await run.transfer();
    return await run.finish();
  } catch (error) {
    throw await run.fail(error);
  } finally {
    run.close();
  }
};

/** Connections to a target, and what was found there at first. */
class Visit {
  private constructor(
    private readonly plan: PipelinePlanFacts, private readonly deps: PipelineDeps, private readonly signal: AbortSignal, readonly times: RestoreTimes,
    readonly control: Control, readonly facts: TargetFacts, readonly blockers: Finding[], readonly router: Router, readonly rules: KeyRules, readonly bulkBytes: number,
  ) {}

  static async begin(plan: PipelinePlanFacts & Partial<PipelineRestorePlan>, deps: PipelineDeps, signal: AbortSignal): Promise<Visit> {
    const times = { ...DEFAULT_TIMES, ...plan.times };
    const { summary, source } = deps.source.facts;
    const control = await openControl(plan.endpoint, deps, { timeoutMs: times.commandMs, signal });
    let router: Router | undefined;
    try {
      const facts = await readFacts(control, { highestDatabase: highestDatabase(deps.source.facts), modules: summary.modules.length > 0, disklessLoad: false });
      const blockers = [...targetBlockers(facts, plan.options.commandsOnly ? null : await rightToRestore(control))];
      const target: TransferTarget = { engine: facts.engine, version: facts.version, commandsOnly: plan.options.commandsOnly, ...(facts.modules === null ? {} : { modules: facts.modules }) };
      router = await Router.open({ endpoint: plan.endpoint, dial: deps.dial, times, signal, cluster: facts.mode === 'CLUSTER', expected: { runId: facts.runId, version: facts.version } });
      const rules = new KeyRules(plan.options, summary.magic, target, source, plan.takenAt.getTime(), await readClock(control));
      return new Visit(plan, deps, signal, times, control, facts, blockers, router, rules, await bulkLimit(control));
    } catch (error) {
      router?.close();
      control.close();
      if (signal.aborted) throw abortReason(signal);
      throw error;
    }
  }

  survey(look: 'CONFLICTS' | 'COMPARE' | null, onProgress: OnProgress): Promise<Survey> {
    const { source } = this.deps;
    const { keys, bytes } = source.facts.summary;
    return surveyArchive({
      source, options: this.plan.options, rules: this.rules, look: look === null ? null : { kind: look, router: this.router }, bulkBytes: this.bulkBytes,
      stallMs: this.times.sourceStallMs, signal: this.signal,
      onRead: (bytesDone, keysDone) => onProgress({ kind: 'amount', bytesDone, bytesTotal: bytes, keysDone, keysTotal: keys }),
    });
  }

  findings(survey: Survey, safetyBackup: boolean): { blockers: Finding[]; warnings: Warning[] } {
    const rdb = this.deps.source.facts;
    return {
      blockers: [...this.blockers, ...selectionBlockers(this.facts, rdb, survey)],
      warnings: [...pipelineWarnings(this.facts, rdb, survey, { ...this.plan.options, safetyBackup })],
    };
  }

  end(): void {
    this.router.close();
    this.control.close();
  }
}

/** `proto-max-bulk-len`, or its default where it cannot be read. */
const bulkLimit = async (control: Control): Promise<number> => {
  try {
    const reply = await control.call('CONFIG', 'GET', 'proto-max-bulk-len');
    const value = Array.isArray(reply) ? Number(reply[1]) : NaN;
    return value > 0 ? value : DEFAULT_BULK_BYTES;
  } catch (error) {
    if (error instanceof ServerReplyError || (error instanceof DomainError && error.code === 'PERMISSION_MISSING')) return DEFAULT_BULK_BYTES;
    throw error;
  }
};

const DEFAULT_BULK_BYTES = 512 * 1024 * 1024;
/** After a failure, for answers that are still on their way. */
const SETTLE_MS = 2_000;

class PipelineRun {
  private readonly report: PipelineReport = emptyReport();
  private visit: Visit | undefined;
  private found: Survey | undefined;
  private ledger: Ledger | undefined;
  private startedAt: number | undefined;

  constructor(private readonly plan: PipelineRestorePlan, private readonly deps: PipelineRestoreDeps, private readonly signal: AbortSignal, private readonly onProgress: OnProgress) {}

  /** Everything up to the first change. */
  async prepare(): Promise<void> {
    const { plan, deps, signal, onProgress } = this;
    const { options } = plan;
    onProgress({ kind: 'phase', phase: 'PREPARING' });
    const visit = await Visit.begin(plan, deps, signal);
    this.visit = visit;
    this.report.keysBefore = await keysOnTarget(visit.facts, visit.router);
    const address = visit.router.address;
    assertAsPlanned(address, { facts: visit.facts, blockers: visit.blockers, warnings: [] }, plan);
    onProgress({ kind: 'phase', phase: 'VERIFYING' });
    const survey = await visit.survey(options.onConflict === 'FAIL' && options.flush === 'NOTHING' ? 'CONFLICTS' : null, onProgress);
    this.found = survey;
    assertAsPlanned(address, { facts: visit.facts, ...visit.findings(survey, deps.safetyBackup !== undefined) }, plan);
    const open = survey.losses.filter(({ name }) => !options.acceptedLosses.includes(name));
    if (open.length > 0) {
      throw new DomainError('CONFIRMATION_REQUIRED', `Not all of the backup gets to ${address}: ${open.map(({ name, what }) => `${name}: ${what}`).join(' ')}`, {
        hint: 'Name them in acceptedLosses to restore the rest, or restore into a server that takes them.', details: { losses: open.map(({ name }) => name).join(' ') },
      });
    }
    await this.refuseConflicts(survey);
    await deps.assertOwned();
    if (deps.safetyBackup) {
      const { replicationOffset } = await deps.safetyBackup(signal, onProgress);
      onProgress({ kind: 'phase', phase: 'PREPARING' });
      const { mode, offset } = await this.lookAgain();
      // The nodes of a cluster count each for itself.
      if (replicationOffset !== null && mode !== 'CLUSTER') this.report.unsavedWriteBytes = offset > replicationOffset ? offset - replicationOffset : 0n;
    }
    if (signal.aborted) throw abortReason(signal);
    await deps.beforeFirstWrite?.();
    await deps.assertOwned();
  }

  /** Under FAIL nothing may be there. */
  private async refuseConflicts(survey: Survey): Promise<void> {
    const { options } = this.plan;
    if (options.onConflict !== 'FAIL') return;
    const merged = mergedDatabases(options, survey.selected.databases.map(({ database }) => database));
    if (merged !== null) {
      throw new DomainError('CONFLICT', `Databases ${merged.databases.join(' and ')} of the backup would both go into database ${merged.into}, where keys of one name would meet.`, { hint: 'Map them to different databases, or restore with SKIP or REPLACE.' });
    }
    if (survey.conflicts.keys > 0) {
      this.report.failures = survey.conflicts.named.map((key) => ({ key, reason: 'The target has it already.' }));
      throw new DomainError('CONFLICT', `The target has ${survey.conflicts.keys} of the selected keys already.`, { hint: 'Restore with SKIP or REPLACE, give the keys a prefix, or select others.', details: { keys: survey.conflicts.keys } });
    }
    if (survey.functions.length === 0) return;
    for (const node of present(this.visit).router.all) {
      const libraries = await presentLibraries(node, survey.functions);
      if (libraries.length > 0) throw new DomainError('CONFLICT', `The target has function libraries of the backup already: ${libraries.join(', ')}.`, { hint: 'Restore with SKIP or REPLACE.' });
    }
  }

  /** The safety backup has taken its time. */
  private async lookAgain(): Promise<TargetFacts> {
    const { router, times } = present(this.visit);
    const control = await openControl(this.plan.endpoint, this.deps, { timeoutMs: times.commandMs, signal: this.signal });
    try {
      const facts = await readFacts(control, { highestDatabase: 0, modules: false, disklessLoad: false });
      assertAsPlanned(router.address, { facts, blockers: [...targetBlockers(facts, null)], warnings: [] }, this.plan);
      return facts;
    } finally {
      control.close();
    }
  }

  async transfer(): Promise<void> {
    const { plan, deps, signal, onProgress, report } = this;
    const [visit, survey] = [present(this.visit), present(this.found)];
    onProgress({ kind: 'phase', phase: 'TRANSFERRING' });
    this.startedAt = performance.now();
    const ledger = new Ledger(visit.router, plan.options.onConflict);
    this.ledger = ledger;
    await transferKeys({
      router: visit.router, ledger, rules: visit.rules, options: plan.options, survey, source: deps.source, bulkBytes: visit.bulkBytes, stallMs: visit.times.sourceStallMs, signal,
      keysBefore: report.keysBefore,
      token: randomBytes(6).toString('hex'),
      onFlushed: (database) => {
        if (!report.flushed.includes(database)) report.flushed.push(database);
      },
      onFunctions: (count) => { report.functions = count; },
      onSent: (bytesDone) => onProgress({ kind: 'amount', bytesDone, bytesTotal: deps.source.facts.summary.bytes, keysDone: BigInt(ledger.done), keysTotal: survey.selected.keys }),
    });
  }

  async finish(): Promise<PipelineReport> {
    const visit = present(this.visit);
    this.onProgress({ kind: 'phase', phase: 'FINALIZING' });
    this.count();
    this.report.dataNow = 'NEW';
    this.report.bgsaveSuggested = !visit.facts.appendOnly;
    this.report.keysAfter = await keysOnTarget(null, visit.router);
    if (this.report.failed > 0n) {
      this.report.dataNow = 'MIXED';
      throw new DomainError('TARGET_BLOCKED', `${visit.router.address} has refused ${this.report.failed} keys, the first of them with: ${this.report.failures[0]?.reason ?? ''}`, { hint: 'The report names the first of them and the reasons.' });
    }
    return this.report;
  }

  async fail(error: unknown): Promise<PipelineFailure> {
    const { visit, ledger, report } = this;
    if (visit !== undefined && ledger !== undefined) {
      await visit.router.settled(SETTLE_MS);
      this.count();
      const lost = error instanceof DomainError && error.code === 'TARGET_STATE_UNKNOWN';
      // What was sent and not answered may have been done.
      const touched = ledger.touched || report.flushed.length > 0 || !visit.router.isSettled;
      report.dataNow = !touched ? 'OLD' : lost ? 'UNKNOWN' : 'MIXED';
    }
    return new PipelineFailure(report, error);
  }

  close(): void {
    this.visit?.end();
  }

  private count(): void {
    const [{ router }, ledger] = [present(this.visit), present(this.ledger)];
    const { report } = this;
    report.restored = BigInt(ledger.restored);
    report.replaced = BigInt(ledger.replaced);
    report.skipped = BigInt(ledger.skipped);
    report.expired = BigInt(ledger.expired);
    report.failed = BigInt(ledger.failed);
    report.uncertain = BigInt(ledger.uncertain);
    report.failures = ledger.failures;
    report.lost = [...ledger.losses].map(([name, count]) => ({ name, count: BigInt(count) }));
    report.bytesSent = BigInt(router.bytesSent);
    report.reconnects = router.reconnects;
    report.loadMs = this.startedAt === undefined ? null : Math.round(performance.now() - this.startedAt);
  }
}

/** Steps run in order; what an earlier one has set is there. */
const present = <T>(value: T | undefined): T => {
  if (value === undefined) throw new DomainError('INTERNAL', 'A step of the restore ran before the one it builds on.');
  return value;
};
