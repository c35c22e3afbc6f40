import { afterEach, expect, it } from 'vitest';
import { createArchive } from '../../../server/engine/archive/archive.js';
import { nodeFsOps } from '../../../server/engine/store/fs-ops.js';
import { RING, BACKUP_ID, KIB, facts, randomBytesOf, readPlain, scratchStore, type Scratch } from './archive-kit.js';

let at: Scratch;
afterEach(() => at.dispose());

it('a disk that stands still stops the writer within 4 MiB, and nothing is lost when it goes on', async () => {
  let release = (): void => undefined;
  let gate: Promise<void> | undefined;
  let waiting = 0;
  at = await scratchStore({
    ...nodeFsOps,
    createFile: async (path) => {
      const file = await nodeFsOps.createFile(path);
      return { ...file, append: async (chunk) => {
        if (gate !== undefined) {
          waiting += 1;
          await gate;
        }
        await file.append(chunk);
      } };
    },
  });
  const writer = await createArchive(at.store, { keys: RING, backupId: BACKUP_ID });
  gate = new Promise((resolve) => { release = resolve; });
  const plain = randomBytesOf(16 * KIB * KIB, 1);
  let accepted = 0;
  const writing = (async () => {
    for (let from = 0; from < plain.length; from += 65_536) {
      await writer.write(plain.subarray(from, from + 65_536));
      accepted = from + 65_536;
    }
  })();
  // Until two looks 50 ms apart see the same amount, with a write held at the gate and as much waiting as only that explains.
  await expect.poll(async () => {
    const before = accepted;
    await new Promise((resolve) => setTimeout(resolve, 50));
    return waiting === 1 && accepted === before && accepted > 512 * KIB;
  }).toBe(true);
  expect(accepted).toBeLessThanOrEqual(4 * KIB * KIB);
  gate = undefined;
  release();
  await writing;
  await writer.seal(facts());
  expect((await readPlain(at.store)).equals(plain)).toBe(true);
});
