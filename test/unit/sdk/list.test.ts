import { describe, expect, it } from 'vitest';
import { createList, splitListInput, type ConnectionPage, type List, type ListOptions } from '../../../sdk/src/list.js';

interface Fetched {
  first: number;
  after: string | undefined;
}

const numbers = (count: number, options: ListOptions = {}): { list: List<number>; fetched: Fetched[] } => {
  const fetched: Fetched[] = [];
  const list = createList('Numbers', options, async ({ first, after }): Promise<ConnectionPage<number>> => {
    fetched.push({ first, after });
    const from = after === undefined ? 0 : Number(after) + 1;
    const nodes = Array.from({ length: Math.max(0, Math.min(first, count - from)) }, (_, i) => from + i);
    const last = nodes.at(-1);
    return { nodes, totalCount: count, pageInfo: { hasNextPage: last !== undefined && last < count - 1, endCursor: last === undefined ? null : String(last) } };
  });
  return { list, fetched };
};

const collect = async <T>(items: AsyncIterable<T>): Promise<T[]> => {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
};

describe('a list', () => {
  it('reads over all pages, each time anew', async () => {
    const { list, fetched } = numbers(7, { pageSize: 3 });
    expect(await collect(list)).toEqual([0, 1, 2, 3, 4, 5, 6]);
    expect(fetched).toEqual([{ first: 3, after: undefined }, { first: 3, after: '2' }, { first: 3, after: '5' }]);
    expect(await collect(list)).toHaveLength(7);
  });

  it('fetches nothing before it is read, and no page that is not needed', async () => {
    const { list, fetched } = numbers(100, { pageSize: 10 });
    expect(fetched).toHaveLength(0);
    for await (const item of list) if (item === 4) break;
    expect(fetched).toHaveLength(1);
  });

  it('gives pages with what is needed to go on later', async () => {
    const { list } = numbers(5, { pageSize: 2 });
    const pages = await collect(list.pages());
    expect(pages[0]).toEqual({ items: [0, 1], totalCount: 5, endCursor: '1', hasNextPage: true });
    expect(pages.at(-1)).toEqual({ items: [4], totalCount: 5, endCursor: '4', hasNextPage: false });
    expect(await collect(numbers(5, { after: '1' }).list)).toEqual([2, 3, 4]);
  });

  it('first() fetches one item', async () => {
    const { list, fetched } = numbers(9);
    expect(await list.first()).toBe(0);
    expect(fetched).toEqual([{ first: 1, after: undefined }]);
    expect(await numbers(0).list.first()).toBeNull();
  });

  it('toArray() stops at its limit and asks for no more than that', async () => {
    const { list, fetched } = numbers(100, { pageSize: 40 });
    expect(await list.toArray({ limit: 3 })).toEqual([0, 1, 2]);
    expect(fetched).toEqual([{ first: 3, after: undefined }]);
    expect(await list.toArray({ limit: 1_000 })).toHaveLength(100);
    expect(await list.toArray({ limit: 0 })).toEqual([]);
  });

  it.each([['the same cursor', 'c'], ['no cursor', null]])('refuses %s while more is said to follow', async (_, endCursor) => {
    let fetches = 0;
    const list = createList('Numbers', {}, async () => {
      fetches += 1;
      return { nodes: [fetches], totalCount: 9, pageInfo: { hasNextPage: true, endCursor } };
    });
    await expect(collect(list)).rejects.toMatchObject({ kind: 'protocol', code: 'CURSOR_STUCK' });
    expect(fetches).toBeLessThanOrEqual(2);
  });
});

it('splitListInput keeps the filter apart from the options', () => {
  expect(splitListInput<{ nameContains?: string }>({ nameContains: 'x', order: 'OLDEST_FIRST', pageSize: 5, after: 'c' })).toEqual({
    filter: { nameContains: 'x' }, list: { order: 'OLDEST_FIRST', pageSize: 5, after: 'c' },
  });
});
