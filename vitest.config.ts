import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const graphqlEntry = fileURLToPath(new URL('./node_modules/graphql/index.js', import.meta.url));

/** One project per layer, so that a layer can be run (and budgeted) alone. */
const project = (name: string, extra: Record<string, unknown> = {}) => ({
  extends: true as const,
  test: { name, include: [`test/${name}/**/*.test.ts`], ...extra },
});

export default defineConfig({
  // Without the alias vitest loads two copies of graphql (ESM and CJS) and every instanceof check fails.
  resolve: { alias: [{ find: /^graphql$/, replacement: graphqlEntry }] },
  test: {
    pool: 'forks',
    testTimeout: 30_000,
    hookTimeout: 60_000,
    projects: [
      project('unit'),
      project('contract'),
      project('conformance'),
      project('integration'),
      project('e2e'),
    ],
  },
});
