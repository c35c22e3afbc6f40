import { type Rights } from '../../domain/principal.js';
import { type ApiKeyFilter, type ApiKeyRecord, type ProjectRecord } from '../records.js';
import { type PageQuery, type PageResult, type Scope } from './scope.js';

export interface ApiKeyRow extends ApiKeyRecord {
  secretHash: Buffer;
}

export interface ApiKeyRepository {
  /** Across tenants: this is how a caller becomes somebody. */
  findForLogin(id: string): Promise<ApiKeyRow | null>;
  /** What keys grant now, across tenants: revoked ones are left out. Whether they have expired is the caller's to see. */
  standing(ids: readonly string[]): Promise<(Rights & { id: string })[]>;
  /** Notes that a key was used; of several notes within a minute the first stands. */
  touch(id: string, at: Date): Promise<void>;
  get(scope: Scope, id: string): Promise<ApiKeyRecord | null>;
  list(scope: Scope, filter: ApiKeyFilter, page: PageQuery): Promise<PageResult<ApiKeyRecord>>;
  count(scope: Scope, filter: ApiKeyFilter): Promise<number>;
  insert(key: ApiKeyRow): Promise<void>;
  /** From the commit on nobody gets in with it; who follows anything with it is told. false: it was revoked already. */
  revoke(scope: Scope, id: string, at: Date): Promise<boolean>;
  /** Service-wide ADMIN keys that have neither been revoked nor will ever expire, locked until the transaction ends. */
  lockLasting(): Promise<string[]>;
  /** Whose a key is, across tenants; null when there is none. */
  projectOf(id: string): Promise<string | null>;
}

export interface ProjectRepository {
  get(id: string): Promise<ProjectRecord | null>;
  findByName(name: string): Promise<ProjectRecord | null>;
  /** Over all tenants. */
  list(page: PageQuery): Promise<PageResult<ProjectRecord>>;
  count(): Promise<number>;
  /** false: the name is taken. */
  insert(project: ProjectRecord): Promise<boolean>;
}

export interface NewApiKey {
  /** What its owner is given. */
  text: string;
  /** What is stored of it. */
  secretHash: Buffer;
}

/** Makes keys, and, with the seed of one, its text once more. */
export interface ApiKeyMaker {
  make(keyId: string): NewApiKey & { seed: string };
  /** undefined: that is not the key's seed, or the master key that it was made under is not there any more. */
  makeAgain(key: Pick<ApiKeyRow, 'id' | 'secretHash'>, seed: string): string | undefined;
}
