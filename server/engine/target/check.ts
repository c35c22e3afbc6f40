import { type DatabaseCount } from '../../domain/backup.js';
import { DomainError } from '../../domain/errors.js';
import { type Control } from '../control.js';
import { type ListenerTls } from '../ports.js';
import { type RdbHeader } from '../rdb/summary.js';
import { chooseLoad } from './diskless-load.js';
import { estimatedMemory } from './estimate.js';
import { readFacts, type TargetFacts } from './facts.js';
import { blockersOf, loadWarnings, needsOf, verdictOn, warningsOf, type Finding, type FindingOptions, type Warning } from './findings.js';
import { openRestoreListener } from './listener.js';
import { plainAddress } from './peers.js';
import { type RdbFacts } from './source.js';

/** Where the restore listener is to be, when the local address of the control connection is not what the target can dial. */
export interface LinkPlace {
  /** Numeric local address to bind. */
  bindHost?: string | undefined;
  /** Name or address that the target is told. */
  advertisedHost?: string | undefined;
  ports?: { from: number; to: number } | undefined;
  /** Ranges that the target may come from besides its own address. */
  peerRanges?: readonly string[] | undefined;
  /**
   * Reads what is shown to targets that replicate over TLS, anew each time: certificates are renewed. Fails with KEY_UNAVAILABLE. Absent: no link
   * to such targets.
   */
  tls?: (() => Promise<ListenerTls>) | undefined;
  /** Told of the port that is listened on, until the answer is called. */
  holdPort?: ((port: number) => () => void) | undefined;
}

/** What restoring this backup into this target would do, as it stands now. */
export interface TargetFindings {
  /** Of `disklessLoad`: as it is while the restore loads the target. */
  facts: TargetFacts;
  /** What `repl-diskless-load` is to be put back to; null when it is not changed. */
  disklessLoadBefore: string | null;
  keysAfter: readonly DatabaseCount[];
  /** Highest use while and after the load, in bytes. */
  estimatedMemory: bigint;
  compatibility: { loads: boolean; reason: string | null };
  /** The header under which the file is sent; null: its own. */
  header: RdbHeader | null;
  blockers: Finding[];
  warnings: Warning[];
}

/** How a target is to be listened for. Fails with KEY_UNAVAILABLE. */
export const listeningFor = async (control: Control, facts: TargetFacts, place: LinkPlace): Promise<Pick<Parameters<typeof openRestoreListener>[0], 'host' | 'advertisedHost' | 'ports' | 'tls' | 'holdPort'>> => ({
  host: place.bindHost ?? plainAddress(control.local.address),
  advertisedHost: place.advertisedHost,
  ports: place.ports,
  holdPort: place.holdPort,
  tls: facts.tlsReplication === true ? await place.tls?.() : undefined,
});

const listenBackBlocker = async (control: Control, facts: TargetFacts, place: LinkPlace): Promise<Finding | undefined> => {
  try {
    const listener = await openRestoreListener({ ...(await listeningFor(control, facts, place)), peers: [], handshakeMs: 1_000 });
    await listener.close();
    return undefined;
  } catch (error) {
    if (!(error instanceof DomainError)) throw error;
    return { name: 'CANNOT_LISTEN_BACK', code: error.code, message: error.message, hint: error.hint ?? 'Check the address and ports of the restore listener.' };
  }
};

/** What the facts mean for this backup. */
export const findingsOn = (found: TargetFacts, rdb: RdbFacts, options: FindingOptions): TargetFindings => {
  const load = chooseLoad(found, rdb, options.disklessLoad);
  const { facts } = load;
  const verdict = verdictOn(facts, rdb);
  return {
    facts,
    disklessLoadBefore: load.before,
    keysAfter: rdb.summary.databases,
    estimatedMemory: estimatedMemory(facts, rdb),
    compatibility: verdict.ok ? { loads: true, reason: null } : { loads: false, reason: verdict.reason },
    header: verdict.ok ? verdict.header : null,
    blockers: blockersOf(facts, rdb, options),
    warnings: [...warningsOf(facts, rdb, options), ...loadWarnings(load)],
  };
};

/**
 * Looks at a target before a restore into it; changes nothing there. What it may not look at becomes a warning that has to be
 * accepted by name. Fails as `readFacts` does.
 * @param options.listening the restore listener is open already: whether one can be opened is no question any more
 */
export const inspectTarget = async (
  control: Control, rdb: RdbFacts, options: Omit<FindingOptions, 'linkTls'> & { link?: LinkPlace | undefined; listening?: boolean },
): Promise<TargetFindings> => {
  const { link = {}, listening = false, ...finding } = options;
  const facts = await readFacts(control, needsOf(rdb, options));
  const found = findingsOn(facts, rdb, { ...finding, linkTls: link.tls !== undefined });
  const noWayBack = listening ? undefined : await listenBackBlocker(control, facts, link);
  return noWayBack ? { ...found, blockers: [...found.blockers, noWayBack] } : found;
};
