import { abortReason, DomainError } from '../domain/errors.js';
import { type Clock, type Dial, type Endpoint, type Log, type OnProgress } from './ports.js';
import { listeningFor, type LinkPlace, type TargetFindings } from './target/check.js';
import { stateIn, TargetConnection, type TargetState } from './target/connection.js';
import { DISKLESS_LOAD, putBackByHand, putDisklessLoadBack, setDisklessLoad } from './target/diskless-load.js';
import { loadsDiskless } from './target/estimate.js';
import { TargetGate } from './target/gate.js';
import { type RefusalReason } from './target/handshake.js';
import { makeIntent, type LinkIntent } from './target/intent.js';
import { ReplicaLink } from './target/link.js';
import { openRestoreListener, type RestoreListener } from './target/listener.js';
import { awaitLoad } from './target/loading.js';
import { OpenPayload } from './target/payload.js';
import { followsUs, removeOneTimeMasterauth, releaseTarget, replicaOf, type Release, type ReleaseDeps } from './target/release.js';
import { neverLinked, RestoreFailure, type RestoreReport } from './target/report.js';
import { type RdbSource } from './target/source.js';
import { DEFAULT_TIMES, type RestoreTimes } from './target/times.js';
import { storedCounts, type UndoRecord, type UndoRecorder } from './target/undo-record.js';
import { within } from './target/waiting.js';
import { assertFollowing, leftAlone, problemWith } from './target/verdict.js';
import { WritePause } from './target/write-pause.js';

export { neverLinked, RestoreFailure, type RestoreReport } from './target/report.js';
export { type UndoRecord, type UndoRecorder } from './target/undo-record.js';
export { type DataNow } from './target/data-now.js';
export { settleRestore, type Settlement } from './target/settle.js';

/** What was planned, confirmed and is now to be done. */
export interface RestorePlanFacts {
  endpoint: Endpoint;
  /** The plan is bound to this process and version of the target. */
  runId: string;
  version: string;
  pauseWrites: boolean;
  /** Whether the target is to load while it receives, where it does not by itself: `repl-diskless-load` is changed for the time of the restore. Default false. */
  disklessLoad?: boolean | undefined;
  /** Names of warnings that the caller accepts. */
  acceptedWarnings: readonly string[];
  link?: LinkPlace | undefined;
  times?: Partial<RestoreTimes> | undefined;
  /** Bytes of the RDB that are read before the target is told to follow. Default 48 MiB. */
  readAheadBytes?: number | undefined;
}

export interface RestoreDeps {
  dial: Dial;
  log: Log;
  clock: Clock;
  source: RdbSource;
  recorder: UndoRecorder;
  /**
   * Takes the PRE_RESTORE backup and returns the offset of its FULLRESYNC, or null when it was read key by key. Absent: none is wanted. When it fails, the target has not been
   * touched.
   */
  safetyBackup?: ((signal: AbortSignal, onProgress: OnProgress) => Promise<{ replicationOffset: bigint | null }>) | undefined;
  /** Rejects when this work is no longer ours (the lease is lost). Awaited right before everything that changes the target. */
  assertOwned(): Promise<void>;
  /** Told of the first few who came to the listener and were turned away. */
  onPeerRefused?: ((reason: RefusalReason, address: string) => void) | undefined;
}

/** Refused connections that are told and logged one by one; the report has the number of all. */
const MAX_REFUSAL_NOTICES = 5;

/**
 * Restores a backup into a running server by being its replication master, in this order: look again at everything the plan saw (with a
 * blocker nothing is touched); verify the archive, for targets that load from the socket; hold back writers and take the safety
 * backup; open a listener for this one target; look again; read its replication id; write the undo record; `REPLICAOF`; await one
 * proven `PSYNC`; look a last time; send all but the last bytes; check their digest; pass the point of no return; send the rest; await the
 * acknowledgement; compare the counts per database while the target is still read-only; await its append-only file;
 * `REPLICAOF NO ONE`, if it still follows exactly our listener.
 *
 * Aborting the signal cancels until the point of no return (`deps.recorder.pointOfNoReturn`); then the restore goes on to its end
 * unless `deps.assertOwned` rejects.
 *
 * Fails with RestoreFailure only; its report says which data the target holds and whether it takes writes, its code is the cause's:
 * TARGET_BLOCKED and the blockers' own codes, CONFIRMATION_REQUIRED (target changed, or a warning not accepted), TARGET_UNREACHABLE_BACK,
 * TARGET_STATE_UNKNOWN (its hint has the command to run), CORRUPT (also: loaded, but with other counts than the archive's), ….
 */
export const runRestore = async (plan: RestorePlanFacts, deps: RestoreDeps, signal: AbortSignal, onProgress: OnProgress): Promise<RestoreReport> => {
  const run = new RestoreRun(plan, deps, signal, onProgress);
  try {
    await run.prepare();
    await run.transfer();
    return await run.finish();
  } catch (error) {
    throw await run.fail(error);
  } finally {
    await run.close();
  }
};

class RestoreRun {
  private readonly times: RestoreTimes;
  private readonly target: TargetConnection;
  private readonly gate: TargetGate;
  private readonly report: RestoreReport = {
    dataNow: 'OLD', promoted: true, keysBefore: [], keysAfter: null, bytesSent: 0n, loadMs: null, unsavedWriteBytes: null, bgsaveSuggested: false, settingLeft: false, notices: [],
  };
  private findings: TargetFindings | undefined;
  private hold: WritePause | undefined;
  private listener: RestoreListener | undefined;
  private payload: OpenPayload | undefined;
  private link: ReplicaLink | undefined;
  private intent: LinkIntent | undefined;
  private safetyOffset: bigint | null = null;
  /** Set when it has been kept: from then on the target has to be released. */
  private record: UndoRecord | undefined;
  private releaseFailed = false;

  constructor(
    private readonly plan: RestorePlanFacts, private readonly deps: RestoreDeps,
    private readonly signal: AbortSignal, private readonly onProgress: OnProgress,
  ) {
    this.times = { ...DEFAULT_TIMES, ...plan.times };
    this.target = new TargetConnection({ endpoint: plan.endpoint, ...this.times }, deps);
    this.gate = new TargetGate(this.target, {
      source: deps.source, plan, finding: { safetyBackup: deps.safetyBackup !== undefined, pauseWrites: plan.pauseWrites, disklessLoad: plan.disklessLoad ?? false }, link: plan.link,
      sourceStallMs: this.times.sourceStallMs, signal, onProgress,
    });
  }

  /** Everything up to the undo record. The target's data and settings are untouched; writers may have been held back for a while. */
  async prepare(): Promise<void> {
    this.onProgress({ kind: 'phase', phase: 'PREPARING' });
    // Before writers are held back: reading a large archive takes its time.
    this.findings = await this.gate.pass({ listening: false });
    this.report.keysBefore = this.findings.facts.keysNow;
    await this.deps.assertOwned();
    if (this.deps.safetyBackup) {
      if (this.plan.pauseWrites && this.findings.facts.mayPause === true) this.hold = await WritePause.start(this.target, this.times);
      const { replicationOffset } = await this.deps.safetyBackup(this.signal, this.onProgress);
      this.safetyOffset = replicationOffset;
      this.onProgress({ kind: 'phase', phase: 'PREPARING' });
      this.findings = await this.gate.pass({ listening: false });
      if (this.hold && !this.hold.unbroken) this.notice('PAUSE_BROKEN', 'Writers could not be held back all the time; see unsavedWriteBytes.');
    }
    this.payload = await OpenPayload.open(this.deps.source, { stallMs: this.times.sourceStallMs, readAheadBytes: this.plan.readAheadBytes, signal: this.signal });
    this.listener = await this.listen(this.findings);
    await this.payload.ready(this.signal);
    this.findings = await this.gate.pass({ listening: true });
    await this.keepRecord(this.listener, this.findings);
  }

  private async listen({ facts }: TargetFindings): Promise<RestoreListener> {
    const { link = {} } = this.plan;
    const control = await this.target.control();
    return openRestoreListener({
      ...(await listeningFor(control, facts, link)), peers: [control.remote.address], peerRanges: link.peerRanges,
      handshakeMs: this.times.handshakeMs, onRefused: (reason, address) => this.refused(reason, address),
    });
  }

  private async keepRecord(listener: RestoreListener, { disklessLoadBefore }: TargetFindings): Promise<void> {
    const intent = await makeIntent(this.target, await this.look(), this.deps.source.facts, listener, disklessLoadBefore, this.deps.clock.now());
    await this.deps.recorder.beforeReplicaOf(intent.record);
    if (this.signal.aborted) throw abortReason(this.signal);
    await this.deps.assertOwned();
    this.intent = intent;
    this.record = intent.record;
    this.report.promoted = false;
    if (intent.oneTimeMasterauth !== null) await this.target.tell('CONFIG', 'SET', 'masterauth', intent.oneTimeMasterauth);
    await setDisklessLoad({ target: this.target, assertOwned: () => this.deps.assertOwned() }, intent.record, this.signal);
  }

  /** From `REPLICAOF` to the last byte. Until `commit` resolves, every failure leaves the target its old data. */
  async transfer(): Promise<void> {
    const [listener, payload, { proof, offset }] = [present(this.listener), present(this.payload), present(this.intent)];
    const total = this.deps.source.facts.summary.bytes;
    this.onProgress({ kind: 'phase', phase: 'TRANSFERRING' });
    // Begun before the command, since the target may dial before its answer has reached us.
    const arrival = listener.expect(proof, { ms: this.times.linkMs, signal: this.signal });
    arrival.catch(() => undefined);
    const startedAt = await this.follow(listener);
    if (this.hold && !(await this.hold.end())) {
      this.notice('PAUSE_NOT_ENDED', `CLIENT UNPAUSE failed; the pause of writers ends by itself within ${this.times.pauseMs} ms.`);
    }
    const frozen = await this.frozen();
    this.link = new ReplicaLink((await arrival).socket, this.times);
    await removeOneTimeMasterauth({ target: this.target, assertOwned: this.deps.assertOwned }, present(this.record));
    await this.gate.passFollower();
    await this.link.announce(present(this.record).linkReplid, offset, total, this.signal);
    const link = this.link;
    try {
      await payload.sendTo(link, {
        header: present(this.findings).header,
        signal: this.signal,
        onSent: () => this.sent(link, total),
        commit: () => this.commit(frozen),
      });
      link.startStream();
      await this.awaitLoad(link, startedAt);
    } catch (error) {
      // After the point of no return the link may break at any moment of a load that still succeeds: `finish` finds out.
      if (!present(this.record).committed || link.alive) throw error;
    } finally {
      this.sent(link, total);
    }
  }

  /**
   * Tells the target to follow, while the work is ours. Between the question and the command this process may have slept, and whoever settles
   * the restore may have looked in vain already: so it is asked again, and what came too late is taken back by the one who did it.
   * Returns when the command was sent.
   */
  private async follow(listener: RestoreListener): Promise<number> {
    await this.deps.assertOwned();
    const startedAt = performance.now();
    await replicaOf(this.target, listener.host, String(listener.port));
    try {
      await this.deps.assertOwned();
    } catch (lost) {
      const record = present(this.record);
      if (followsUs(await this.look(), record)) await replicaOf(this.target, 'NO', 'ONE');
      await putDisklessLoadBack({ target: this.target, assertOwned: () => Promise.resolve() }, record);
      this.record = undefined;
      this.report.promoted = true;
      throw lost;
    }
    return startedAt;
  }

  /** The target as it is now that it takes no more writes. */
  private async frozen(): Promise<TargetState> {
    const state = await this.look();
    assertFollowing(this.target.address, state, present(this.record), this.plan);
    this.report.keysBefore = state.keys;
    if (this.safetyOffset !== null) {
      const { offsetBefore } = present(this.intent);
      const last = state.offset > offsetBefore ? state.offset : offsetBefore;
      this.report.unsavedWriteBytes = last > this.safetyOffset ? last - this.safetyOffset : 0n;
    }
    return state;
  }

  private async commit(frozen: TargetState): Promise<void> {
    const record: UndoRecord = { ...present(this.record), keysBefore: storedCounts(frozen.keys), committed: true };
    await this.deps.assertOwned();
    await within(this.deps.recorder.pointOfNoReturn(record), {
      ms: this.times.recorderMs,
      signal: this.signal,
      late: () => new DomainError('TOO_SLOW', `The point of no return could not be recorded within ${this.times.recorderMs} ms.`, { hint: 'Check the database of this service.', retryable: true }),
    });
    this.record = record;
  }

  private async awaitLoad(link: ReplicaLink, startedAt: number): Promise<void> {
    this.onProgress({ kind: 'phase', phase: 'LOADING' });
    const acknowledged = await awaitLoad({
      link, target: this.target, times: this.times, offset: present(this.intent).offset, signal: this.signal,
      assertOwned: () => this.deps.assertOwned(),
      onLoading: (loaded, bytes) => this.amount(loaded, bytes),
    });
    if (acknowledged) this.report.loadMs = Math.round(performance.now() - startedAt);
  }

  /** Reads back what the target holds, and lets it go. */
  async finish(): Promise<RestoreReport> {
    this.onProgress({ kind: 'phase', phase: 'FINALIZING' });
    const linkHeld = this.report.loadMs !== null;
    const released = await this.release();
    const facts = present(this.findings).facts;
    this.report.keysAfter = released.keys;
    this.report.bgsaveSuggested = loadsDiskless(facts) && !facts.appendOnly;
    const problem = problemWith(released, this.target.address);
    if (problem) throw problem;
    if (!linkHeld) this.notice('LINK_LOST_WHILE_LOADING', 'The replication link broke while the target loaded; its replication id and counts show that the load was complete.');
    if (released.exact === null) this.notice('COUNTS_NOT_COMPARED', 'The backup holds content of a type unknown here, so its keys could not be counted and compared.');
    this.countRefused();
    return this.report;
  }

  private countRefused(): void {
    const refused = this.listener?.refused ?? 0;
    if (refused === 0) return;
    this.report.notices.push(`${refused} connections to the restore listener were refused.`);
    this.deps.log.warn('connections to a restore listener were refused', { target: this.target.address, refused });
  }

  private async release(): Promise<Release> {
    const deps: ReleaseDeps = {
      target: this.target, times: this.times, assertOwned: () => this.deps.assertOwned(), acknowledged: this.report.loadMs !== null,
      onLoading: (loaded, total) => this.amount(loaded, total),
    };
    this.releaseFailed = true;
    const record = present(this.record);
    const released = await releaseTarget(record, deps);
    this.releaseFailed = false;
    this.record = undefined;
    this.report.dataNow = released.dataNow;
    this.report.promoted = released.action !== 'LEFT_ALONE';
    if (released.masterauthLeft) this.notice('MASTERAUTH_LEFT', 'The one-time masterauth of this restore could not be removed: run CONFIG SET masterauth "" on the target.');
    this.report.settingLeft = released.disklessLoad === 'LEFT';
    if (released.disklessLoad === 'LEFT') this.notice('DISKLESS_LOAD_LEFT', `${DISKLESS_LOAD} of the target could not be put back. ${putBackByHand(record)}.`);
    if (released.disklessLoad === 'PUT_BACK') this.notice('DISKLESS_LOAD_PUT_BACK', `The target loaded while it received; its ${DISKLESS_LOAD} is ${record.disklessLoadBefore ?? ''} again.`);
    return released;
  }

  /** What to throw for `error`, after the target has been let go as far as that is ours. */
  async fail(error: unknown): Promise<RestoreFailure> {
    this.payload?.close();
    this.link?.destroy();
    await this.hold?.end();
    this.countRefused();
    const failure = await this.letGo(error);
    if (neverLinked(failure)) this.onProgress({ kind: 'notice', code: failure.code, message: failure.message });
    return failure;
  }

  private async letGo(error: unknown): Promise<RestoreFailure> {
    if (this.record === undefined) return new RestoreFailure(this.report, error);
    const { committed } = this.record;
    try {
      if (this.releaseFailed) throw error;
      await this.deps.assertOwned();
      const released = await this.release();
      if (committed) this.report.keysAfter = released.keys;
      return new RestoreFailure(this.report, released.action === 'LEFT_ALONE' ? leftAlone(this.target.address, error) : error);
    } catch (failure) {
      this.deps.log.error('a restore could not let its target go', { target: this.target.address, error: failure instanceof DomainError ? failure.code : 'INTERNAL', committed });
      const unreachable = failure instanceof DomainError && failure.code === 'TARGET_STATE_UNKNOWN';
      this.report.dataNow = committed || unreachable ? 'UNKNOWN' : 'OLD';
      return new RestoreFailure(this.report, failure);
    }
  }

  async close(): Promise<void> {
    this.payload?.close();
    this.link?.destroy();
    await this.listener?.close();
    this.target.close();
  }

  private async look(): Promise<TargetState> {
    return stateIn(await this.target.ask(undefined, { signal: this.signal }));
  }

  private sent(link: ReplicaLink, total: bigint): void {
    this.report.bytesSent = link.payloadSent;
    this.amount(this.report.bytesSent, total);
  }

  private amount(done: bigint, total: bigint): void {
    this.onProgress({ kind: 'amount', bytesDone: done, bytesTotal: total > 0n ? total : null, keysDone: 0n, keysTotal: null });
  }

  private refused(reason: RefusalReason, address: string): void {
    if ((this.listener?.refused ?? 0) > MAX_REFUSAL_NOTICES) return;
    this.deps.onPeerRefused?.(reason, address);
    this.deps.log.warn('a connection to a restore listener was refused', { target: this.target.address, peer: address, reason });
    this.onProgress({ kind: 'notice', code: 'LINK_PEER_REFUSED', message: `A connection to the restore listener from ${address} was refused: ${reason}.` });
  }

  private notice(code: string, message: string): void {
    this.report.notices.push(message);
    this.onProgress({ kind: 'notice', code, message });
  }
}

/** Steps run in order; what an earlier one has set is there. */
const present = <T>(value: T | undefined): T => {
  if (value === undefined) throw new DomainError('INTERNAL', 'A step of the restore ran before the one it builds on.');
  return value;
};
