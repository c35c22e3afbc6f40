import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import base from '../../vitest.config.js';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Apart from the other projects: it wants every server of the matrix folder, which a clone does not have at first. */
export default defineConfig({
  root,
  resolve: base.resolve,
  test: {
    name: 'versions',
    include: ['test/versions/**/*.test.ts'],
    globalSetup: [fileURLToPath(new URL('../kit/global-setup.ts', import.meta.url))],
    pool: 'forks',
    maxWorkers: 2,
    // As in vitest.config.ts: the service's modules are loaded once per worker.
    isolate: false,
    testTimeout: 180_000,
    hookTimeout: 240_000,
    expect: { poll: { timeout: 60_000 } },
    // The line that says what ran must be readable as it is.
    disableConsoleIntercept: true,
  },
});
