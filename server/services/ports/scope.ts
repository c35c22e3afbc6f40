/**
 * The tenant, and for a caller that is limited to some of its instances: these. A required argument of every read and write of tenants' rows, so that
 * forgetting it does not compile. A principal is one, and so is every row of a tenant (then of all its instances): what is looked up for a caller is
 * looked up with the caller itself, never with a scope made from its `projectId`.
 */
export interface Scope {
  readonly projectId: string;
  /** null and left out: all of the tenant's. */
  readonly instanceIds?: readonly string[] | null | undefined;
}

/** A page as the repositories take it: `limit` items, starting next to `from`, walking `forward` or backward through `order`. */
export interface PageQuery {
  order: 'NEWEST_FIRST' | 'OLDEST_FIRST';
  forward: boolean;
  limit: number;
  from: { createdAt: Date; id: string } | null;
}

/** `items` stand in the list's order; `more` says whether the walk's direction holds further ones. */
export interface PageResult<T> {
  items: T[];
  more: boolean;
}
