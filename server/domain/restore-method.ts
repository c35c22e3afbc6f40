/**
 * Ways of writing a backup into a running server.
 * - REPLICATION_LINK: as its master, by one full synchronisation. Takes all of the backup and leaves nothing else; the target holds the old data or the
 *   new, never a mix.
 * - RESTORE_PIPELINE: key by key, as payloads of RESTORE, and as commands where the target does not know a payload.
 * - LOGICAL_COMMANDS: key by key, by ordinary commands alone.
 */
export const RESTORE_METHODS = ['REPLICATION_LINK', 'RESTORE_PIPELINE', 'LOGICAL_COMMANDS'] as const;
export type RestoreMethod = (typeof RESTORE_METHODS)[number];

/** What is in the way of the link alone, and no sign of anything else. */
const WAY_AROUND: ReadonlySet<string> = new Set(['CLUSTER_MODE', 'TLS_REPLICATION', 'CANNOT_LOAD', 'NO_RIGHT_TO_REPLICAOF', 'NO_LINK_PROOF', 'CANNOT_LISTEN_BACK']);
/** Dangers for the link alone. Somebody should have thought about them, so there is no way around unless it is asked for. */
const WHEN_ASKED: ReadonlySet<string> = new Set(['SENTINEL_IN_CHARGE', 'FLUSH_BEFORE_LOAD', 'REPLICA_READ_ONLY_OFF', 'DISK_FAILING']);

/** Whether a restore key by key goes around it by itself. */
export const hasWayAround = ({ name }: { name: string }): boolean => WAY_AROUND.has(name);

/** In the way of every method: a blocker that only the link has is none for a restore key by key. */
export const blocksAll = ({ name }: { name: string }): boolean => !WAY_AROUND.has(name) && !WHEN_ASKED.has(name);

export interface MethodWish {
  /** Null: ours to choose. */
  method: RestoreMethod | null;
  /** Whether it has options that only a restore key by key has. */
  keyByKey: boolean;
}

export type MethodChoice = { by: 'LINK'; reason: string } | { by: 'KEYS'; reason: string } | { by: 'NONE'; reason: string };

interface Obstacle {
  name: string;
  message: string;
}

/**
 * How a backup gets into a target. The link where it is possible, since it alone gives all or nothing.
 * @param obstacles blockers of the link
 */
export const chooseMethod = ({ method, keyByKey }: MethodWish, obstacles: readonly Obstacle[]): MethodChoice => {
  const common = obstacles.filter(blocksAll);
  const told = (list: readonly Obstacle[]): string => list.map(({ name, message }) => `${name}: ${message}`).join(' ');
  if (common.length > 0 && (method !== 'REPLICATION_LINK')) return { by: 'NONE', reason: `The target takes no restore as it is. ${told(common)}` };
  if (method !== null && method !== 'REPLICATION_LINK') return { by: 'KEYS', reason: 'It was asked for.' };
  if (keyByKey) return { by: 'KEYS', reason: 'A replication link takes all of a backup as it is and leaves nothing else: what was asked for is done key by key.' };
  if (obstacles.length === 0) return { by: 'LINK', reason: method === null ? 'The target can fetch the backup as a replica does: it holds its old data or the new, never a mix.' : 'It was asked for.' };
  if (method === 'REPLICATION_LINK') return { by: 'NONE', reason: `The replication link was asked for, and something is in its way. ${told(obstacles)}` };
  const dangers = obstacles.filter(({ name }) => WHEN_ASKED.has(name));
  if (dangers.length > 0) return { by: 'NONE', reason: `The replication link would be dangerous, and a restore key by key has to be asked for here (method RESTORE_PIPELINE). ${told(dangers)}` };
  return { by: 'KEYS', reason: `A replication link is not possible. ${told(obstacles)}` };
};
