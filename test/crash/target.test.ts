import { beforeAll, describe, it } from 'vitest';
import { LINK, LOADED, type Point } from './points.js';
import { crashTarget, makeNewData, type NewData } from './target-crash.js';

const POINTS: readonly Point[] = [...LINK, ...LOADED];

describe.each([{ name: 'without an append-only file', logged: false }, { name: 'with an append-only file', logged: true }])('a target that is killed, $name', ({ logged }) => {
  let data: NewData;
  beforeAll(async () => {
    data = await makeNewData();
  });
  it.each(POINTS.filter((point) => logged || point.logged === undefined))('when $name', async (point) => crashTarget(data, point, logged));
});
