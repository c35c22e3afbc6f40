import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import base from '../../vitest.config.js';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Apart from the other projects: dozens of processes that die, one after the other. */
export default defineConfig({
  root,
  resolve: base.resolve,
  test: {
    name: 'crash',
    include: ['test/crash/**/*.test.ts'],
    globalSetup: [fileURLToPath(new URL('../kit/global-setup.ts', import.meta.url))],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
});
