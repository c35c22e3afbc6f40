import { DomainError } from '../../../domain/errors.js';
import { type ConflictRule } from '../../../domain/restore-options.js';
import { type LossName } from '../../rdb/losses.js';
import { ReplyError } from '../../resp.js';
import { type Batch, Unit } from './batch.js';
import { keyIn, repliesWithoutAsking, shownKey } from './commands-in.js';
import { type NodePipeline } from './node-pipeline.js';
import { refusalOf } from './refusals.js';
import { type Reply } from './reply-parser.js';
import { type Router } from './router.js';

/** A key that could not be restored. */
export interface KeyFailure {
  /** Its name on the target, escaped and bounded. */
  key: string;
  reason: string;
}

const MOST_NAMED = 20;
const MOST_REASON = 300;
/** A target that refuses so many keys one by one is not going to take the rest. */
const MOST_FAILED = 10_000;

/** Counts what has become of each key, out of the replies. */
export class Ledger {
  restored = 0;
  replaced = 0;
  skipped = 0;
  expired = 0;
  failed = 0;
  uncertain = 0;
  /** Keys that were left behind as a loss. */
  left = 0;
  /** Whether anything on the target may have changed. */
  touched = false;
  readonly failures: KeyFailure[] = [];
  readonly losses = new Map<LossName, number>();

  constructor(private readonly router: Router, private readonly onConflict: ConflictRule) {}

  /** Keys that are done with, however. */
  get done(): number {
    return this.restored + this.skipped + this.expired + this.failed + this.left;
  }

  lose(name: LossName, count: number): void {
    this.losses.set(name, (this.losses.get(name) ?? 0) + count);
  }

  fail(key: string, reason: string): void {
    this.failed += 1;
    this.note(key, reason);
    if (this.failed >= MOST_FAILED) {
      this.router.fail(new DomainError('TARGET_BLOCKED', `The target has refused ${this.failed} keys, the first of them with: ${this.failures[0]?.reason ?? ''}`, { hint: 'The report names the first of them and the reasons.' }));
    }
  }

  private note(key: string, reason: string): void {
    if (this.failures.length < MOST_NAMED) this.failures.push({ key, reason: reason.slice(0, MOST_REASON) });
  }

  written(replaced: boolean, again: boolean): void {
    this.restored += 1;
    this.touched = true;
    if (!replaced) return;
    // It may be what our own first try has written.
    if (again) this.uncertain += 1;
    else this.replaced += 1;
  }

  readonly settle = (node: NodePipeline, batch: Batch, unit: number, replies: Reply | Reply[]): void => {
    const kind = batch.kindOf(unit);
    const group = kind === Unit.REPLACING_GROUP || kind === Unit.NEW_GROUP;
    const all = Array.isArray(replies) && (batch.replies[unit] as number) > 1;
    const asked = batch.asking[unit] === 1 && all ? repliesWithoutAsking(replies, group) : replies;
    const again = unit < batch.sentAgain;
    switch (kind) {
      case Unit.RESTORE: {
        const reply = batch.asking[unit] === 1 && Array.isArray(asked) ? asked[0] : asked;
        if (reply === 'OK') this.written(false, again);
        else this.refused(node, batch, unit, reply ?? null, again);
        return;
      }
      case Unit.COUNTED_RESTORE: {
        const [found, reply] = asked as Reply[];
        if (reply === 'OK') this.written(found === 1, again);
        else this.refused(node, batch, unit, reply ?? null, again);
        return;
      }
      case Unit.REPLACING_GROUP:
      case Unit.NEW_GROUP:
        this.settleGroup(node, batch, unit, kind, asked as Reply[], again);
        return;
      case Unit.REMOVE: {
        const reply = batch.asking[unit] === 1 && Array.isArray(asked) ? asked[0] : asked;
        if (typeof reply === 'number') {
          this.expired += 1;
          if (reply > 0) this.touched = true;
        } else this.refused(node, batch, unit, reply ?? null, again);
        return;
      }
      default:
        if (replies instanceof ReplyError) this.router.fail(refusalOf(node.address, replies) ?? new DomainError('TARGET_BLOCKED', `${node.address} answered: ${replies.text}`));
    }
  };

  /** The last reply is EXEC's: what each command was answered, or that one of them was refused before. */
  private settleGroup(node: NodePipeline, batch: Batch, unit: number, kind: Unit, replies: readonly Reply[], again: boolean): void {
    const executed = replies.at(-1);
    if (!Array.isArray(executed)) {
      const cause = replies.find((reply) => reply instanceof ReplyError) ?? executed ?? null;
      this.refused(node, batch, unit, cause, again);
      return;
    }
    this.touched = true;
    const error = executed.find((reply) => reply instanceof ReplyError);
    if (error !== undefined) {
      // The rest was carried out all the same: what is there now is not what the backup has.
      void node.call([Buffer.from('DEL'), Buffer.from(keyIn(batch.bytesOf(unit)))]).catch(() => undefined);
      this.refused(node, batch, unit, error, again);
    }
    else if (kind === Unit.REPLACING_GROUP) this.written(executed[0] === 1, again);
    else if (executed.at(-2) === 1) this.written(false, again);
    else this.conflict(shownKey(keyIn(batch.bytesOf(unit))), again);
  }

  private refused(node: NodePipeline, batch: Batch, unit: number, reply: Reply, again: boolean): void {
    if (!(reply instanceof ReplyError)) {
      this.router.fail(new DomainError('PROTOCOL_ERROR', `${node.address} answered with something that is no reply to what it was asked.`));
      return;
    }
    if (reply.code === 'BUSYKEY') this.conflict(shownKey(keyIn(batch.bytesOf(unit))), again);
    else if (!this.router.redirect(node, batch, unit, reply)) this.refusedFor(node, shownKey(keyIn(batch.bytesOf(unit))), reply);
  }

  /** An error that is final, for one key or for all. */
  refusedFor(node: NodePipeline, key: string, reply: ReplyError): void {
    const refusal = refusalOf(node.address, reply);
    if (refusal !== undefined) this.router.fail(refusal);
    else this.fail(key, reply.text);
  }

  /** The key is there already, and was not to be replaced. */
  conflict(key: string, again: boolean): void {
    if (this.onConflict === 'FAIL') {
      // All of them were asked for before, and none was there: what a lost answer leaves open is decided by that.
      if (again) this.written(false, true);
      else {
        this.note(key, 'It is there by now, or two keys of the backup come out under this name.');
        this.router.fail(new DomainError('CONFLICT', 'The target has a selected key by now that was not there when the restore began, or two keys of the backup come out under one name.', { hint: 'Restore with SKIP or REPLACE, or find out who writes there.' }));
      }
      return;
    }
    if (again) this.written(true, true);
    else this.skipped += 1;
  }
}
