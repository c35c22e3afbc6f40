import { abortReason, DomainError } from '../../domain/errors.js';
import { type OnProgress } from '../ports.js';
import { findingsOn, inspectTarget, type LinkPlace, type TargetFindings } from './check.js';
import { type TargetConnection } from './connection.js';
import { loadsDiskless } from './estimate.js';
import { readFacts, type TargetFacts } from './facts.js';
import { needsOf, type FindingOptions } from './findings.js';
import { checkSource } from './payload.js';
import { type RdbSource } from './source.js';
import { assertAsPlanned, type PlanBinding } from './verdict.js';

export interface GateOptions {
  source: RdbSource;
  plan: PlanBinding;
  finding: Omit<FindingOptions, 'linkTls'>;
  link: LinkPlace | undefined;
  sourceStallMs: number;
  signal: AbortSignal;
  onProgress: OnProgress;
}

/**
 * Looks at a target as often as a restore comes to a step that takes time or changes something, and fails where it is no longer as planned:
 * with the blockers' codes or CONFIRMATION_REQUIRED. Changes nothing there.
 */
export class TargetGate {
  private verified = false;

  constructor(private readonly target: TargetConnection, private readonly options: GateOptions) {}

  /**
   * A server that takes a payload straight from the socket ends itself at the first byte it cannot read: for such a one, everything is read
   * and compared with its digest before, and the target looked at again after that. One that takes it into a file never gets the last bytes of a
   * wrong one.
   * @param listening whether the restore's own listener is open already, and with it perhaps the only port there is
   */
  async pass({ listening }: { listening: boolean }): Promise<TargetFindings> {
    const found = await this.look(listening);
    if (!this.takesUnread(found.facts)) return found;
    const { source, sourceStallMs, signal, onProgress } = this.options;
    onProgress({ kind: 'phase', phase: 'VERIFYING' });
    await checkSource(source, {
      stallMs: sourceStallMs, signal,
      onRead: (read, total) => onProgress({ kind: 'amount', bytesDone: read, bytesTotal: total > 0n ? total : null, keysDone: 0n, keysTotal: null }),
    });
    this.verified = true;
    onProgress({ kind: 'phase', phase: 'PREPARING' });
    return this.look(listening);
  }

  /**
   * The last look, right before the first byte, at a target that follows us already. Only what stands in the way counts: some servers refuse to
   * tell a replica's client the rest while it has no master (`replica-serve-stale-data no`).
   */
  async passFollower(): Promise<void> {
    const { source, plan, finding, link } = this.options;
    const facts = await readFacts(await this.target.control(), needsOf(source.facts, finding));
    const found = findingsOn(facts, source.facts, { ...finding, linkTls: link?.tls !== undefined });
    assertAsPlanned(this.target.address, { ...found, warnings: [], blockers: found.blockers.filter(({ name }) => name !== 'TARGET_IS_REPLICA') }, plan);
    if (this.takesUnread(found.facts)) {
      throw new DomainError('CONFLICT', `The setting repl-diskless-load of ${this.target.address} was changed just now.`, { hint: 'Find out who does that, then make a new plan.', retryable: true });
    }
  }

  private takesUnread(facts: TargetFacts): boolean {
    return !this.verified && (facts.disklessLoad === null || loadsDiskless(facts));
  }

  private async look(listening: boolean): Promise<TargetFindings> {
    const { source, plan, finding, link, signal } = this.options;
    if (signal.aborted) throw abortReason(signal);
    const found = await inspectTarget(await this.target.control(), source.facts, { ...finding, link, listening });
    assertAsPlanned(this.target.address, found, plan);
    return found;
  }
}
