import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import base from '../../vitest.config.js';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** As end-to-end tests are, by test/kit/canary.ts. Not those that start a service of their own from nothing: it prints its first key, once. */
const LOOKED_THROUGH = ['archive-command', 'faults-backup', 'faults-restore', 's3', 'store-adopt'].map((name) => `test/outages/${name}.test.ts`);

/** Apart from the other projects, which have to be over in minutes: starts from nothing, nodes that are killed, databases that are lost, and the ways back. */
export default defineConfig({
  root,
  resolve: base.resolve,
  test: {
    globalSetup: [fileURLToPath(new URL('../kit/global-setup.ts', import.meta.url))],
    pool: 'forks',
    maxWorkers: 2,
    // As in vitest.config.ts: the service's modules are loaded once per worker.
    isolate: false,
    retry: process.env['CI'] ? 1 : 0,
    testTimeout: 180_000,
    hookTimeout: 240_000,
    expect: { poll: { timeout: 60_000 } },
    projects: [
      { extends: true, test: { name: 'outages', include: ['test/outages/**/*.test.ts'], exclude: LOOKED_THROUGH } },
      { extends: true, test: { name: 'outages, looked through', include: LOOKED_THROUGH, env: { CANARY: process.env['CANARY'] ?? '1' } } },
    ],
  },
});
