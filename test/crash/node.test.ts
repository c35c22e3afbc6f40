import { afterAll, beforeAll, describe, it } from 'vitest';
import { startCrashScene, type CrashScene } from './node-crash.js';
import { LINK, LOADED, SAFETY, SETTING, type Point } from './points.js';

const POINTS: readonly Point[] = [...SAFETY, ...LINK, ...LOADED];

describe('a node that is killed in the middle of a restore', () => {
  let scene: CrashScene;
  beforeAll(async () => {
    scene = await startCrashScene();
  });
  afterAll(async () => {
    await scene?.stop();
  });
  describe.each([{ name: 'without an append-only file', logged: false }, { name: 'with an append-only file', logged: true }])('into a target $name', ({ logged }) => {
    it.each(POINTS.filter((point) => logged || point.logged === undefined))('when $name', async (point) => scene.crash(point, logged));
  });
  describe('into a target that is set to load while it receives', () => {
    // It loads while not all has come: a node that dies then leaves it the old data.
    const points = [...SETTING, ...LINK, ...LOADED].filter((point) => point.logged === undefined).map((point) => ('seen' in point.moment ? { ...point, data: null } : point));
    it.each(points)('when $name', async (point) => scene.crash(point, false, true));
  });
  describe('key by key', () => {
    it('while the safety copy is taken', async () => scene.crashByKeys({ at: 'said', way: 'down', text: '$EOF:', passed: true }, 'OLD'));
    it.each([[false], [true]])('when the first keys are written (passed on: %s)', async (passed) => scene.crashByKeys({ at: 'said', way: 'up', text: 'new:', passed }, 'MIXED'));
  });
});
