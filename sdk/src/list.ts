import { SnapbackError } from './errors.js';
import type { ListOrder, PageInfoFragment } from './generated/operations.js';

/** What every list takes beside its filter. */
export interface ListOptions {
  /** Default: newest first. */
  order?: ListOrder;
  /** Items fetched at once, 1 to 100. Default 50. */
  pageSize?: number;
  /** Begin after this cursor: a page's `endCursor`. */
  after?: string;
}

export interface Page<Item> {
  items: Item[];
  /** Items in the whole list, when the page was fetched, counted up to 10,000: that number stands for so many or more. */
  totalCount: number;
  /** Give it as `after` to begin behind this page; null on an empty page. */
  endCursor: string | null;
  hasNextPage: boolean;
}

/** A list that is fetched page by page while it is read. Each reading begins anew; items that vanish meanwhile are skipped. */
export interface List<Item> extends AsyncIterable<Item> {
  pages(): AsyncIterableIterator<Page<Item>>;
  /** The first item, or null when there is none. */
  first(): Promise<Item | null>;
  /** At most `limit` items: a bound the caller chooses, since a list can be longer than memory. */
  toArray(bound: { limit: number }): Promise<Item[]>;
}

export interface ConnectionPage<Item> {
  nodes: Item[];
  pageInfo: PageInfoFragment;
  /** Counted up to 10,000: that number stands for so many or more. */
  totalCount: number;
}

export type FetchPage<Item> = (page: { order: ListOrder | undefined; first: number; after: string | undefined }) => Promise<ConnectionPage<Item>>;

export const createList = <Item>(what: string, { order, pageSize = 50, after }: ListOptions, fetchPage: FetchPage<Item>): List<Item> => {
  async function* pages(size: number): AsyncGenerator<Page<Item>, void> {
    let cursor = after;
    for (;;) {
      const { nodes, pageInfo, totalCount } = await fetchPage({ order, first: size, after: cursor });
      const { endCursor, hasNextPage } = pageInfo;
      yield { items: nodes, totalCount, endCursor, hasNextPage };
      if (!hasNextPage) return;
      if (endCursor === null || endCursor === cursor) {
        throw new SnapbackError('protocol', 'CURSOR_STUCK', `${what} says that more follows, but its cursor does not move.`);
      }
      cursor = endCursor;
    }
  }
  async function* items(size = pageSize): AsyncGenerator<Item, void> {
    for await (const page of pages(size)) yield* page.items;
  }
  return {
    [Symbol.asyncIterator]: () => items(),
    pages: () => pages(pageSize),
    first: async () => {
      for await (const item of items(1)) return item;
      return null;
    },
    toArray: async ({ limit }) => {
      const found: Item[] = [];
      if (limit <= 0) return found;
      for await (const item of items(Math.min(pageSize, limit))) {
        found.push(item);
        if (found.length >= limit) break;
      }
      return found;
    },
  };
};

/** Splits a list's input into the filter that goes to the service and the options that rule the reading. */
export const splitListInput = <Filter extends object>(input: Filter & ListOptions): { filter: Filter; list: ListOptions } => {
  const { order, pageSize, after, ...filter } = input;
  return { filter: filter as unknown as Filter, list: { order, pageSize, after } };
};
