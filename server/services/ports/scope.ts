/** The tenant. A required argument of every read and write of tenants' rows, so that forgetting it does not compile. */
export interface Scope {
  readonly projectId: string;
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
