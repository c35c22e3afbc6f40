import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openFilesystemStore } from '../../../server/engine/store/filesystem.js';
import { type Store } from '../../../server/engine/store/store.js';
import { onDouble, underAll } from './s3-double.js';
import { storeConformance } from './suite.js';

// Buckets that know less, and ones in trouble: test/outages/store.test.ts.
onDouble('S3', {});

storeConformance('file system under all wrappers', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'snapback-store-'));
  const open = async (create: boolean): Promise<Store> => underAll(await openFilesystemStore({ root: join(folder, 'store'), create }));
  return { store: await open(true), tracedFrom: 1, reopen: () => open(false), dispose: () => rm(folder, { recursive: true, force: true }) };
});
