import { type DatabaseCount } from '../../domain/backup.js';
import { DomainError } from '../../domain/errors.js';
import { type Control } from '../control.js';
import { estimatedMemory } from './estimate.js';
import { readFacts, type TargetFacts } from './facts.js';
import { blockersOf, highestDatabase, verdictOn, warningsOf, type Finding, type FindingOptions, type Warning } from './findings.js';
import { openRestoreListener, plainAddress } from './listener.js';
import { type RdbFacts } from './source.js';

/** Where the restore listener is to be, when the local address of the control connection is not what the target can dial. */
export interface LinkPlace {
  /** Numeric local address to bind. */
  bindHost?: string | undefined;
  /** Name or address that the target is told. */
  advertisedHost?: string | undefined;
  ports?: { from: number; to: number } | undefined;
}

/** What restoring this backup into this target would do, as it stands now. */
export interface TargetFindings {
  facts: TargetFacts;
  keysAfter: readonly DatabaseCount[];
  /** Highest use while and after the load, in bytes. */
  estimatedMemory: bigint;
  compatibility: { loads: boolean; reason: string | null };
  blockers: Finding[];
  warnings: Warning[];
}

const listenBackBlocker = async (control: Control, place: LinkPlace): Promise<Finding | undefined> => {
  try {
    const listener = await openRestoreListener({
      host: place.bindHost ?? plainAddress(control.local.address), ports: place.ports, peers: [], handshakeMs: 1_000,
    });
    await listener.close();
    return undefined;
  } catch (error) {
    if (!(error instanceof DomainError)) throw error;
    return { name: 'CANNOT_LISTEN_BACK', code: error.code, message: error.message, hint: error.hint ?? 'Check the address and ports of the restore listener.' };
  }
};

/**
 * Looks at a target before a restore into it; changes nothing there. What it may not look at becomes a warning that has to be
 * accepted by name. Fails as `readFacts` does.
 */
export const inspectTarget = async (
  control: Control, rdb: RdbFacts, options: FindingOptions & { link?: LinkPlace | undefined },
): Promise<TargetFindings> => {
  const facts = await readFacts(control, { highestDatabase: highestDatabase(rdb), modules: rdb.summary.modules.length > 0 });
  const verdict = verdictOn(facts, rdb);
  const noWayBack = await listenBackBlocker(control, options.link ?? {});
  return {
    facts,
    keysAfter: rdb.summary.databases,
    estimatedMemory: estimatedMemory(facts, rdb),
    compatibility: verdict.ok ? { loads: true, reason: null } : { loads: false, reason: verdict.reason },
    blockers: [...blockersOf(facts, rdb), ...(noWayBack ? [noWayBack] : [])],
    warnings: warningsOf(facts, rdb, options),
  };
};
