import { type Scope } from './scope.js';

/** What of a restore plan or a restore tells of data, sealed: patterns and names of keys. */
export interface RestoreDetail extends Scope {
  /** Of the plan or the restore. */
  ownerId: string;
  sealed: Buffer;
}

export interface RestoreDetailRepository {
  get(scope: Scope, ownerId: string): Promise<Buffer | null>;
  getMany(scope: Scope, ownerIds: readonly string[]): Promise<RestoreDetail[]>;
  put(scope: Scope, detail: { ownerId: string; sealed: Buffer; at: Date }): Promise<void>;
  /** Under another master key, over all tenants, in the order of `ownerId`. */
  notUnder(keyId: string, afterId: string, limit: number): Promise<RestoreDetail[]>;
  /** false: it is gone or has been replaced meanwhile. */
  reseal(detail: RestoreDetail, sealed: Buffer): Promise<boolean>;
  /** Removes at most `limit` of more than 30 days ago. */
  forgetOld(limit: number): Promise<void>;
}
