import { describe, expect, it } from 'vitest';
import { loadRequired, makeLoader } from '../../../server/graphql/loaders.js';

const counting = () => {
  const batches: (readonly string[])[] = [];
  const loader = makeLoader(async (ids: readonly string[]) => {
    batches.push(ids);
    return ids.map((id) => (id === 'missing' ? null : `value of ${id}`));
  });
  return { loader, batches };
};

describe('a loader', () => {
  it('gathers what is asked for in one turn, also by resolvers that had to wait a little, each id once', async () => {
    const { loader, batches } = counting();
    const late = Promise.resolve().then(() => Promise.resolve()).then(() => loader.load('c'));
    expect(await Promise.all([loader.load('a'), loader.load('b'), loader.load('a'), loader.load('missing'), late])).toEqual(['value of a', 'value of b', 'value of a', null, 'value of c']);
    expect(batches).toEqual([['a', 'b', 'missing', 'c']]);
  });

  it('remembers until it is cleared', async () => {
    const { loader, batches } = counting();
    await loader.load('a');
    await loader.load('a');
    expect(batches).toHaveLength(1);
    loader.clear();
    await loader.load('a');
    expect(batches).toHaveLength(2);
  });

  it('gives a failure to all who wait, and a wrong number of answers is one', async () => {
    const failing = makeLoader<string>(() => Promise.reject(new Error('down')));
    const results = await Promise.allSettled([failing.load('a'), failing.load('b')]);
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    await expect(makeLoader<string>(async () => []).load('a')).rejects.toMatchObject({ code: 'INTERNAL' });
  });

  it('takes a missing object for a fault where one is promised', async () => {
    const { loader } = counting();
    expect(await loadRequired(loader, 'a', 'The backup x')).toBe('value of a');
    await expect(loadRequired(loader, 'missing', 'The backup x')).rejects.toMatchObject({ code: 'INTERNAL', message: 'The backup x names missing, which does not exist.' });
  });
});
