import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import base from '../../vitest.config.js';

const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

/** The dashboard as people have it: built, served by a service, in a browser. Apart from the other projects, which need no browser. */
export default defineConfig({
  root: at('../..'),
  resolve: base.resolve,
  test: {
    name: 'browser',
    include: ['test/browser/**/*.test.ts'],
    globalSetup: [at('../kit/global-setup.ts'), at('./global-setup.ts')],
    pool: 'forks',
    maxWorkers: 1,
    retry: process.env['CI'] ? 1 : 0,
    testTimeout: 180_000,
    hookTimeout: 240_000,
    expect: { poll: { timeout: 60_000 } },
  },
});
