import { type AuditEventRecord, type AuditFilter } from '../records.js';
import { type PageQuery, type PageResult, type Scope } from './scope.js';

/** A place in a project's chain, and the hash that all before it lead to. */
export interface ChainEnd {
  projectId: string;
  /** 0: nothing yet. */
  sequence: bigint;
  hash: Buffer;
}

/** An end that was signed, so that a chain that was cut off or written anew from then on can be told. */
export interface AuditCheckpoint extends ChainEnd {
  createdAt: Date;
  /** The master key it was signed under. */
  keyId: string;
  signature: Buffer;
}

/** Signs under the current master key. */
export interface AuditSigner {
  sign(end: ChainEnd, at: Date): AuditCheckpoint;
  /** undefined: its master key is not given. */
  verify(checkpoint: AuditCheckpoint): boolean | undefined;
}

/** Who did what. Nothing of it is ever changed or removed. */
export interface AuditRepository {
  makeId(at: Date): string;
  /** The end of a project's chain, locked until the transaction ends. */
  lockEnd(scope: Scope): Promise<ChainEnd>;
  /** The next event of a chain whose end is locked. */
  append(event: AuditEventRecord): Promise<void>;
  get(scope: Scope, id: string): Promise<AuditEventRecord | null>;
  list(scope: Scope, filter: AuditFilter, page: PageQuery): Promise<PageResult<AuditEventRecord>>;
  count(scope: Scope, filter: AuditFilter): Promise<number>;
  /** The ends of all chains, over all tenants; with `unsigned` those that no checkpoint was made of. */
  ends(which: { unsigned: boolean }): Promise<ChainEnd[]>;
  addCheckpoint(checkpoint: AuditCheckpoint): Promise<void>;
  /** In the order of the chain. */
  chain(scope: Scope, afterSequence: bigint, limit: number): Promise<AuditEventRecord[]>;
  checkpoints(scope: Scope): Promise<AuditCheckpoint[]>;
}
