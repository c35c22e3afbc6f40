import { addressOf } from '../../../domain/address.js';
import { abortReason, DomainError, type ErrorCode } from '../../../domain/errors.js';
import { type Control, openControl, ServerReplyError } from '../../control.js';
import { type Dial, type Endpoint, type Log, type OnProgress } from '../../ports.js';
import { SYNC_DELAY, type SyncDelayHold, type SyncDelayRecorder } from './hold.js';
import { byHand, putBack, type SyncDelaySettlement } from './put-back.js';
import { readDelay, readWait } from './settings.js';

export interface SyncDelaySkipDeps {
  dial: Dial;
  log: Log;
  recorder: SyncDelayRecorder;
  onProgress: OnProgress;
}

const NO_DELAY = '0';
/** For a command, and for a connection. A server that is slower than this waits its own delay. */
const COMMAND_MS = 2_000;
/**
 * From "it is still ours" to the command that relies on it. Whoever takes over from a run that is thought dead does it more than a second after that
 * run's lease, so a process that froze in between, and comes back into another one's time, changes nothing.
 */
const PROMPT_MS = 500;
const PROMPT_TRIES = 3;
/** The server begins by itself once a replica has waited for the delay that it had: holding it for longer gains nothing. And never longer than this. */
const LONGEST_HOLD_MS = 60_000;
/** At the end of a backup, when the server did not answer before. */
const LAST_TRIES_MS = 4_000;
const AGAIN_MS = 200;

/** What keeps a server from being asked or changed; the backup goes on without it. All else is a fault, or the end of the run. */
const SERVERS_OWN: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['CONNECT_FAILED', 'TARGET_NOT_ALLOWED', 'AUTH_FAILED', 'PERMISSION_MISSING', 'PROTOCOL_ERROR', 'CONFLICT']);
const isAnswer = (error: unknown): boolean => error instanceof ServerReplyError || (error instanceof DomainError && error.code === 'PERMISSION_MISSING');
const isServers = (error: unknown): error is Error => error instanceof ServerReplyError || (error instanceof DomainError && SERVERS_OWN.has(error.code));

/**
 * Takes a server's delay away for one backup: `begin` right before PSYNC, `saving` when the server has begun to save, `end` whatever becomes of the backup.
 * It is taken away only where there is one, no replica is attached, and nobody else has taken it away already; all else leaves the server as it is, and is told as a
 * notice of the job. Each change is written down first, and put back only where the value is still ours.
 *
 * A replica that attaches between the last look and our PSYNC, one round trip, begins its synchronisation at once, too.
 */
export class SyncDelaySkip {
  private hold: SyncDelayHold | null = null;
  /** CONFIG SET was sent and not answered: it may still be carried out, however the server looks now. */
  private uncertain = false;
  private kept = false;
  private control: Control | undefined;
  private heldAt = 0;
  private longest: NodeJS.Timeout | undefined;
  private returning: Promise<void> = Promise.resolve();
  private readonly address: string;

  constructor(private readonly endpoint: Endpoint, private readonly runId: string, private readonly deps: SyncDelaySkipDeps) {
    this.address = addressOf(endpoint);
  }

  /** Resolves also where the delay stays. Rejects with the signal's reason, with what the recorder rejects with, and with faults of this service. */
  async begin(signal: AbortSignal): Promise<void> {
    try {
      const because = await this.take(signal);
      if (because !== null) await this.keep(because);
    } catch (error) {
      if (!isServers(error)) throw error;
      await this.keep(error.message);
    }
    if (signal.aborted) throw abortReason(signal);
  }

  /** The server has begun to save: the delay has done its part. Returns at once. */
  saving(): void {
    clearTimeout(this.longest);
    this.returning = this.returning.then(() => this.tryReturn());
  }

  /** Resolves when the delay is put back, or has to be left to whoever settles it. Never rejects. */
  async end(): Promise<void> {
    clearTimeout(this.longest);
    await this.returning;
    const deadline = performance.now() + LAST_TRIES_MS;
    await this.tryReturn();
    while (this.hold && !this.uncertain && performance.now() < deadline) {
      await new Promise((next) => setTimeout(next, AGAIN_MS));
      await this.tryReturn();
    }
    if (this.hold) {
      const { before, ours } = this.hold;
      this.tell('SYNC_DELAY_UNSETTLED', `${this.address} may have a ${SYNC_DELAY} of ${ours} instead of ${before}: it could not be put back, which is tried until the server answers. ${byHand(this.hold)}.`);
    }
    this.drop();
  }

  /** Why the delay stays; null when it is 0, by us or anyhow. */
  private async take(signal: AbortSignal): Promise<string | null> {
    const { recorder } = this.deps;
    const control = await this.reach();
    const wait = await readWait(control);
    if (wait.kind === 'NONE') {
      this.tell('SYNC_DELAY_NONE', `${this.address} has no ${SYNC_DELAY} to skip: ${wait.because}.`);
      this.drop();
      return null;
    }
    if (wait.kind !== 'SECONDS') return wait.because;
    const hindered = await this.hindrance(control);
    if (hindered !== null) return hindered;
    if (signal.aborted) throw abortReason(signal);

    const hold: SyncDelayHold = { runId: this.runId, host: this.endpoint.host, port: this.endpoint.port, before: wait.before, ours: NO_DELAY };
    if (!(await recorder.take(hold))) return 'another backup has taken it away at this moment, or it is being put back after one that was cut off';
    this.hold = hold;
    if (signal.aborted) throw abortReason(signal);
    if (!(await this.set(control, hold))) return 'somebody else is changing it, or the server or this service is too busy for it to be changed safely';
    return (await readDelay(control)) === hold.ours ? this.hindrance(control) : 'the server does not keep what is set';
  }

  /** Sets it, unless it has changed since it was written down, or too much time passes before the command. */
  private async set(control: Control, hold: SyncDelayHold): Promise<boolean> {
    for (let tries = 0; tries < PROMPT_TRIES; tries += 1) {
      const asked = performance.now();
      await this.deps.recorder.assertHeld();
      if ((await readDelay(control)) !== hold.before) return false;
      if (performance.now() - asked > PROMPT_MS) continue;
      this.heldAt = performance.now();
      await control.call('CONFIG', 'SET', SYNC_DELAY, hold.ours).catch((error: unknown) => {
        this.uncertain = !isAnswer(error);
        throw error;
      });
      await this.assertStillHeld(control, hold);
      this.longest = setTimeout(() => this.saving(), Math.min(Number(hold.before) * 1_000, LONGEST_HOLD_MS));
      return true;
    }
    return false;
  }

  /** Where the run was thought dead meanwhile, its hold may have been settled just before the change: then nobody else would put it back. */
  private async assertStillHeld(control: Control, hold: SyncDelayHold): Promise<void> {
    try {
      await this.deps.recorder.assertHeld();
    } catch (error) {
      this.hold = null;
      await putBack(hold, control, () => Promise.resolve()).catch((cause: unknown) => {
        this.deps.log.error(`A ${SYNC_DELAY} that was set by a run which had lost its lease could not be put back.`, { address: this.address, hint: byHand(hold), error: String(cause) });
      });
      throw error;
    }
  }

  /** Why it must not be 0 now. Our own link counts as a replica only from its PSYNC on. */
  private async hindrance(control: Control): Promise<string | null> {
    const info = await control.info();
    if (info.get('run_id') !== this.runId) return 'another server answers there now';
    const replicas = Number(info.get('connected_slaves') ?? 0);
    if (replicas === 0) return null;
    return `${replicas} ${replicas === 1 ? 'replica is' : 'replicas are'} attached, for which it is there`;
  }

  private async keep(because: string): Promise<void> {
    clearTimeout(this.longest);
    this.kept = true;
    this.tell('SYNC_DELAY_KEPT', `The ${SYNC_DELAY} of ${this.address} was not skipped: ${because.replace(/\.$/, '')}.`);
    if (this.hold) await this.tryReturn();
    else this.drop();
  }

  /** One attempt; where the server does not let us, the hold stays. Never rejects. */
  private async tryReturn(): Promise<void> {
    const { hold, deps: { recorder, log } } = this;
    if (!hold) return;
    try {
      const settlement = await putBack(hold, await this.reach(), () => recorder.assertHeld());
      // What was never answered may yet be carried out: the hold stays, and is settled when the backup is over.
      if (this.uncertain && settlement.action !== 'PUT_BACK') return;
      await recorder.release();
      this.hold = null;
      this.drop();
      this.report(hold, settlement);
    } catch (error) {
      this.drop();
      log.debug(`A ${SYNC_DELAY} could not be put back yet.`, { address: this.address, error: String(error) });
      // A lost lease, or a fault of this service: it is for others to settle.
      if (!isServers(error)) this.hold = null;
    }
  }

  private report(hold: SyncDelayHold, { action, message }: SyncDelaySettlement): void {
    if (action === 'LEFT_ALONE') this.tell('SYNC_DELAY_LEFT_ALONE', `${message}`);
    else if (!this.kept) {
      const ms = Math.round(performance.now() - this.heldAt);
      this.tell('SYNC_DELAY_SKIPPED', `The ${SYNC_DELAY} of ${this.address} was ${hold.ours} instead of ${hold.before} for ${ms} ms, and is ${hold.before} again.`);
    }
  }

  private tell(code: string, message: string): void {
    this.deps.onProgress({ kind: 'notice', code, message });
  }

  /** The open connection, or a new one. Not ended by the backup's signal: what was changed is put back after that, too. */
  private async reach(): Promise<Control> {
    if (this.control?.alive) return this.control;
    this.drop();
    this.control = await openControl(this.endpoint, this.deps, { timeoutMs: COMMAND_MS });
    return this.control;
  }

  private drop(): void {
    this.control?.close();
    this.control = undefined;
  }
}
