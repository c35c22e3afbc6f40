import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openArchive, readManifest, rotateBackupKey, type KeyRing } from '../../../server/engine/archive/archive.js';
import { type Store } from '../../../server/engine/store/store.js';
import { BACKUP_ID, KIB, MASTER, OTHER_ID, OTHER_MASTER, RING, randomBytesOf, readPlain, scratchStore, textOf, writeArchive, type Scratch } from './archive-kit.js';

const B = 256 * KIB;
const OTHER_RING: KeyRing = { current: OTHER_MASTER, all: [OTHER_MASTER] };
const BOTH: KeyRing = { current: OTHER_MASTER, all: [OTHER_MASTER, MASTER] };

describe('keys of archives', () => {
  let at: Scratch;
  beforeEach(async () => { at = await scratchStore(); });
  afterEach(() => at.dispose());

  const objects = async (backupId = BACKUP_ID): Promise<string[]> => {
    const names: string[] = [];
    for await (const { key } of at.store.list(`backups/${backupId}/`)) names.push(key.split('/')[2]!);
    return names;
  };

  it('nothing of the data can be seen in the store, and equal data look different', async () => {
    const plain = Buffer.concat([textOf(B, 1), randomBytesOf(B, 2)]);
    await writeArchive(at.store, plain, { codec: { name: 'none' }, blockSize: B });
    await writeArchive(at.store, plain, { codec: { name: 'none' }, blockSize: B, backupId: OTHER_ID });
    const [one, other] = await Promise.all([at.get(`backups/${BACKUP_ID}/rdb`), at.get(`backups/${OTHER_ID}/rdb`)]);
    for (let from = 0; from < plain.length; from += 64) expect(one.includes(plain.subarray(from, from + 24))).toBe(false);
    let equal = 0;
    for (let i = 64; i < one.length - 24; i += 1) if (one[i] === other[i]) equal += 1;
    expect(equal / one.length).toBeLessThan(0.01);
  });

  it('without the right master key an archive is KEY_UNAVAILABLE, and the message says which one', async () => {
    await writeArchive(at.store, textOf(1000, 1));
    for (const keys of [undefined, OTHER_RING]) {
      for (const run of [openArchive, readManifest]) {
        await expect(run(at.store, BACKUP_ID, { keys })).rejects.toMatchObject({ code: 'KEY_UNAVAILABLE', message: expect.stringContaining(`wrapped by master key ${MASTER.id}`) as string });
      }
    }
  });

  it('a key that is gone from the store under every master key is damage: nobody can give it back', async () => {
    await writeArchive(at.store, textOf(1000, 1));
    await at.store.remove(`backups/${BACKUP_ID}/key.${MASTER.id}`);
    for (const keys of [RING, OTHER_RING, undefined]) {
      await expect(openArchive(at.store, BACKUP_ID, { keys })).rejects.toMatchObject({ code: 'CORRUPT', details: { part: 'key' }, message: expect.stringContaining('it is missing') as string });
    }
  });

  it('a rotation that comes between two looks for the key is waited for', async () => {
    await writeArchive(at.store, textOf(1000, 1));
    let rotated = false;
    const rotating: Store = Object.assign(Object.create(at.store) as Store, {
      async *read(key: string, options: Parameters<Store['read']>[1]): AsyncGenerator<Uint8Array> {
        const old = key.endsWith(`/key.${MASTER.id}`);
        if (old && !rotated) {
          rotated = true;
          await rotateBackupKey(at.store, BOTH, BACKUP_ID);
        }
        yield* at.store.read(key, options);
      },
    });
    expect((await readManifest(rotating, BACKUP_ID, { keys: BOTH })).backup.id).toBe(BACKUP_ID);
    expect(rotated).toBe(true);
  });

  it('rotation adds a wrapped key, then removes the old one, and touches neither data nor manifest', async () => {
    const plain = textOf(3 * B, 4);
    await writeArchive(at.store, plain, { blockSize: B });
    const before = await Promise.all(['rdb', 'manifest'].map((name) => at.get(`backups/${BACKUP_ID}/${name}`)));
    expect(await rotateBackupKey(at.store, BOTH, BACKUP_ID)).toBe(true);
    expect(await objects()).toEqual([`key.${OTHER_MASTER.id}`, 'manifest', 'rdb']);
    expect(await Promise.all(['rdb', 'manifest'].map((name) => at.get(`backups/${BACKUP_ID}/${name}`)))).toEqual(before);
    await (await openArchive(at.store, BACKUP_ID, { keys: OTHER_RING })).verify();
    await expect(readPlain(at.store)).rejects.toMatchObject({ code: 'KEY_UNAVAILABLE' });
    expect(await rotateBackupKey(at.store, BOTH, BACKUP_ID)).toBe(false);
  });

  it('a rotation that is cut off anywhere leaves the archive readable and can be repeated', async () => {
    for (const stopAt of ['create', 'remove'] as const) {
      await writeArchive(at.store, textOf(1000, 1));
      const dying: Store = Object.assign(Object.create(at.store) as Store, { [stopAt]: () => Promise.reject(new Error('killed')) });
      await expect(rotateBackupKey(dying, BOTH, BACKUP_ID)).rejects.toThrow('killed');
      await (await openArchive(at.store, BACKUP_ID, { keys: BOTH })).verify();
      await rotateBackupKey(at.store, BOTH, BACKUP_ID);
      await (await openArchive(at.store, BACKUP_ID, { keys: OTHER_RING })).verify();
      for (const name of await objects()) await at.store.remove(`backups/${BACKUP_ID}/${name}`);
    }
  });

  it('rotation needs the old key, never trusts a damaged new one, and leaves archives without encryption alone', async () => {
    await writeArchive(at.store, textOf(1000, 1));
    await expect(rotateBackupKey(at.store, OTHER_RING, BACKUP_ID)).rejects.toMatchObject({ code: 'KEY_UNAVAILABLE' });
    const half = await at.store.create(`backups/${BACKUP_ID}/key.${OTHER_MASTER.id}`);
    await half.write(Buffer.alloc(76));
    await half.commit();
    await (await openArchive(at.store, BACKUP_ID, { keys: BOTH })).verify();
    await expect(rotateBackupKey(at.store, BOTH, BACKUP_ID)).rejects.toMatchObject({ code: 'CORRUPT' });
    expect(await objects()).toContain(`key.${MASTER.id}`);

    await writeArchive(at.store, textOf(1000, 1), { keys: undefined, backupId: OTHER_ID });
    expect(await rotateBackupKey(at.store, BOTH, OTHER_ID)).toBe(false);
    expect(await objects(OTHER_ID)).toEqual(['manifest', 'rdb']);
    await (await openArchive(at.store, OTHER_ID)).verify();
  });
});
