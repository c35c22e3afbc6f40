import { afterAll, beforeAll, describe, it } from 'vitest';
import { startCrashScene, type CrashScene } from '../crash/node-crash.js';
import { LINK, LOADED, type Point } from '../crash/points.js';
import { crashTarget, makeNewData } from '../crash/target-crash.js';

const point = (part: string): Point => {
  const found = [...LINK, ...LOADED].find(({ name }) => name.includes(part));
  if (found === undefined) throw new Error(`No point of a restore is called ${part}`);
  return found;
};

/** The short form of `npm run test:crash`, which strikes at every point. */
describe('killed in the middle of a restore', () => {
  let scene: CrashScene;
  beforeAll(async () => {
    scene = await startCrashScene();
  });
  afterAll(async () => {
    await scene?.stop();
  });

  it('a node, when the point of no return is behind and the last bytes have not arrived', async () => scene.crash(point('point of no return'), true));
  it('a node, when half has passed to a target that was set to load while it receives', async () => scene.crash(point('half has passed'), false, true));
  it('a target, when it is a master again and has acknowledged a write', async () => crashTarget(await makeNewData(), point('answered'), true));
});
