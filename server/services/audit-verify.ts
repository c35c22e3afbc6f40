import { chainHash } from './audit-chain.js';
import { type AuditSigner, type Database } from './ports.js';

const BATCH = 500;

export interface ChainReport {
  projectId: string;
  events: number;
  /** Signed ends that its hashes lead to. */
  checkpoints: number;
  /** Signed under master keys that are not given: these could not be checked. */
  unchecked: number;
  /** For people; empty when all is as it was written. */
  faults: string[];
}

/** Reads a project's chain from its beginning, compares every hash, its end and all signed ends. Memory stays flat. */
export const verifyChain = async (db: Database, signer: AuditSigner, projectId: string): Promise<ChainReport> => {
  const report: ChainReport = { projectId, events: 0, checkpoints: 0, unchecked: 0, faults: [] };
  const fault = (text: string): void => {
    if (report.faults.length < 20) report.faults.push(text);
  };
  const signed = await db.read.audit.checkpoints({ projectId });
  // After the checkpoints: what is added meanwhile belongs to none of them.
  const end = (await db.read.audit.ends({ unsigned: false })).find((one) => one.projectId === projectId);
  const bySequence = new Map(signed.map((checkpoint) => [checkpoint.sequence, checkpoint]));
  let hash: Buffer = Buffer.alloc(32);
  let atEnd: Buffer | undefined;
  let last = 0n;
  for (;;) {
    const batch = await db.read.audit.chain({ projectId }, last, BATCH);
    for (const { hash: stored, ...event } of batch) {
      report.events += 1;
      if (event.sequence !== last + 1n) fault(`Between ${last} and ${event.sequence} events are missing.`);
      const wanted = chainHash(hash, event);
      if (!wanted.equals(stored)) fault(`Event ${event.sequence} (${event.id}) is not what was written.`);
      // From here on by what stands there, so that one change is told once.
      hash = stored;
      last = event.sequence;
      const checkpoint = bySequence.get(last);
      if (checkpoint && !checkpoint.hash.equals(hash)) fault(`The end that was signed at event ${last} is another than the one that stands there: events were written anew.`);
      if (end?.sequence === last) atEnd = hash;
    }
    if (batch.length < BATCH) break;
  }
  for (const checkpoint of signed) {
    const holds = signer.verify(checkpoint);
    if (holds === undefined) report.unchecked += 1;
    else if (!holds) fault(`The signature of the end at event ${checkpoint.sequence} is not ours.`);
    else report.checkpoints += 1;
    if (checkpoint.sequence > last) fault(`Event ${checkpoint.sequence} was signed on ${checkpoint.createdAt.toISOString()} and is not there: the chain was cut off.`);
  }
  if (end && !atEnd?.equals(end.hash)) fault(`The chain's end at event ${end.sequence} is not there: the chain was cut off or written anew.`);
  if (!end && report.events > 0) fault('The chain has events and no end.');
  return report;
};

/** All chains that the database has anything of. */
export const verifyAudit = async (db: Database, signer: AuditSigner): Promise<ChainReport[]> => {
  const projects = (await db.read.upkeep.projects()).map(({ id }) => id);
  const chains = (await db.read.audit.ends({ unsigned: false })).map(({ projectId }) => projectId);
  const reports: ChainReport[] = [];
  for (const projectId of [...new Set([...projects, ...chains])].sort()) reports.push(await verifyChain(db, signer, projectId));
  return reports;
};
