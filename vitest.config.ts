import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  resolve: {
    alias: [
      // Without it vitest loads two copies of graphql (ESM and CJS) and every instanceof check fails.
      { find: /^graphql$/, replacement: at('./node_modules/graphql/index.js') },
      // Tests run the SDK from its source; consumers of the package get what `npm run build -w sdk` makes of it.
      { find: /^@snapback\/sdk$/, replacement: at('./sdk/src/index.ts') },
    ],
  },
  test: {
    // Starts no database before a test asks for one.
    globalSetup: [at('./test/kit/global-setup.ts')],
    pool: 'forks',
    // Most tests wait for servers more than they compute; vitest's own default on two cores is one worker.
    maxWorkers: 3,
    // One module graph per worker instead of one per file: loading the service's packages anew for each cost half of the run.
    isolate: false,
    // Two cores shared with whatever else a build machine does; a test that needs its second chance is shown as such.
    retry: process.env['CI'] ? 1 : 0,
    // These end what hangs, and nothing else: far more than a busy machine that stands still now and then needs.
    testTimeout: 120_000,
    hookTimeout: 180_000,
    expect: { poll: { timeout: 60_000 } },
    // The layers, each of which runs alone as `npx vitest run test/integration`. In two projects, not one of each: every project loads the service's modules
    // anew in every worker. That of e2e looks for secrets in all that services give out (test/kit/canary.ts); CANARY=0 switches that off.
    projects: [
      { extends: true, test: { name: 'e2e', include: ['test/e2e/**/*.test.ts'], env: { CANARY: process.env['CANARY'] ?? '1' } } },
      { extends: true, test: { name: 'layers', include: ['test/{unit,contract,conformance,integration}/**/*.test.ts'] } },
    ],
  },
});
