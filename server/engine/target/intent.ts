import { type TargetConnection, type TargetState } from './connection.js';
import { type LinkProof } from './handshake.js';
import { type RdbFacts } from './source.js';
import { randomReplicationId, sha256Hex, storedCounts, type UndoRecord } from './undo-record.js';

/** What is about to be done to a target. Nothing of it has been done. */
export interface LinkIntent {
  record: UndoRecord;
  proof: LinkProof;
  /** A `masterauth` to set and to take away again: before 4.0, where there is none. */
  oneTimeMasterauth: string | null;
  /** The target's own position, and the one it is given: a new master's begins at 1, so that 0 acknowledges nothing. */
  offsetBefore: bigint;
  offset: bigint;
}

const masterauthOf = async (target: TargetConnection): Promise<string> => {
  const reply = await target.tell('CONFIG', 'GET', 'masterauth');
  return Array.isArray(reply) && typeof reply[1] === 'string' ? reply[1] : '';
};

/**
 * The undo record and the proof for a target that stands as `state` says. Where it shows a replication id, that one is demanded; before 4.0
 * the `masterauth` it has, or one that is made for this once. Fails as CONFIG GET does.
 * @param disklessLoadBefore as in the record
 */
export const makeIntent = async (target: TargetConnection, state: TargetState, rdb: RdbFacts, listener: { host: string; port: number }, disklessLoadBefore: string | null, startedAt: Date): Promise<LinkIntent> => {
  const { replid } = state;
  const present = replid === null ? await masterauthOf(target) : '';
  const oneTimeMasterauth = replid === null && present === '' ? randomReplicationId() : null;
  return {
    proof: replid === null ? { kind: 'PASSWORD', password: oneTimeMasterauth ?? present } : { kind: 'REPLICATION_ID', replid },
    oneTimeMasterauth,
    offsetBefore: state.offset,
    offset: state.offset > 0n ? state.offset : 1n,
    record: {
      format: 1,
      runId: state.runId,
      listenerHost: listener.host,
      listenerPort: listener.port,
      replidBefore: replid,
      linkReplid: randomReplicationId(),
      keysBefore: storedCounts(state.keys),
      // Counts end where the walk of the backup ended.
      keysAfter: rdb.summary.unknown === null ? storedCounts(rdb.summary.databases) : null,
      appendOnly: state.appendOnly,
      oneTimeMasterauthSha256: oneTimeMasterauth === null ? null : sha256Hex(oneTimeMasterauth),
      disklessLoadBefore,
      committed: false,
      startedAt: startedAt.toISOString(),
    },
  };
};
