import { DomainError } from '../domain/errors.js';
import { type ListName, listCursor, parseListCursor } from '../domain/cursor.js';
import { type PageQuery, type PageResult } from './ports.js';
import { type Page, type PageArgs } from './records.js';

export const MAX_PAGE_SIZE = 100;
const DEFAULT_PAGE_SIZE = 20;

/** BAD_INPUT for a size that no page has. */
const size = (name: 'first' | 'last', value: number): number => {
  if (value >= 1 && value <= MAX_PAGE_SIZE) return value;
  throw new DomainError('BAD_INPUT', `"${name}" must be from 1 to ${MAX_PAGE_SIZE}.`, { field: [name] });
};

/** How many of a list that is only read forward. */
export const pageSize = (first: number | null | undefined): number => (first == null ? DEFAULT_PAGE_SIZE : size('first', first));

/** Checks Relay arguments and turns them into a walk: `first`/`after` forward, `last`/`before` backward. */
export const pageQuery = (list: ListName, args: PageArgs): PageQuery => {
  const { first, after, last, before } = args;
  const order = args.order ?? 'NEWEST_FIRST';
  if (first != null && last != null) throw new DomainError('BAD_INPUT', 'Give "first" or "last", not both.', { field: ['last'] });
  if (last != null || before != null) {
    if (first != null || after != null) {
      throw new DomainError('BAD_INPUT', '"last" and "before" go together, as do "first" and "after".', { field: ['before'] });
    }
    return {
      order, forward: false, limit: last != null ? size('last', last) : DEFAULT_PAGE_SIZE,
      from: before != null ? parseListCursor(list, before, 'before') : null,
    };
  }
  return {
    order, forward: true, limit: first != null ? size('first', first) : DEFAULT_PAGE_SIZE,
    from: after != null ? parseListCursor(list, after, 'after') : null,
  };
};

/** What a list is ordered by: lists of slots have their planned instants in place of a creation. */
type Placed = { id: string } & ({ createdAt: Date } | { plannedAt: Date });

const placeOf = (item: Placed): { createdAt: Date; id: string } => ({ id: item.id, createdAt: 'createdAt' in item ? item.createdAt : item.plannedAt });

/** A page as the edge wants it. Behind a cursor that was given there is at least the item it stands for. */
export const toPage = <T extends Placed>(
  list: ListName,
  query: PageQuery,
  result: PageResult<T>,
  totalCount: () => Promise<number>,
): Page<T> => ({
  items: result.items.map((item) => ({ cursor: listCursor(list, placeOf(item)), item })),
  hasNextPage: query.forward ? result.more : query.from !== null,
  hasPreviousPage: query.forward ? query.from !== null : result.more,
  totalCount,
});

/** One page of each of several parents. Their counts are asked for together, by the first that is wanted. */
export const toPages = <T extends Placed>(list: ListName, query: PageQuery, results: readonly PageResult<T>[], totalCounts: () => Promise<readonly number[]>): Page<T>[] => {
  let counts: Promise<readonly number[]> | undefined;
  return results.map((result, at) => toPage(list, query, result, async () => (await (counts ??= totalCounts()))[at] ?? 0));
};
