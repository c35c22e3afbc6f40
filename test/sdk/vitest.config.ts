import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import base from '../../vitest.config.js';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Apart from the other projects, which have to be over in minutes: the package as it is packed, installed and used. */
export default defineConfig({
  root,
  resolve: base.resolve,
  test: {
    name: 'sdk',
    include: ['test/sdk/**/*.test.ts'],
    globalSetup: [fileURLToPath(new URL('../kit/global-setup.ts', import.meta.url))],
    pool: 'forks',
    maxWorkers: 1,
    // As in vitest.config.ts: the service's modules are loaded once.
    isolate: false,
    retry: process.env['CI'] ? 1 : 0,
    testTimeout: 180_000,
    hookTimeout: 240_000,
    expect: { poll: { timeout: 60_000 } },
  },
});
