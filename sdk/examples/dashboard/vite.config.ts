import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

/** The service serves what this makes at /dashboard, under a policy that allows nothing inline: so no file may be put into another. */
export default defineConfig({
  root: fileURLToPath(new URL('.', import.meta.url)),
  base: '/dashboard/',
  build: {
    outDir: fileURLToPath(new URL('../../../dist/dashboard', import.meta.url)),
    emptyOutDir: true,
    target: 'es2022',
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // In one file: a part that is only asked for when the connection is lost could not be had.
    rolldownOptions: { output: { codeSplitting: false } },
  },
  // For work on the dashboard: a service on its usual port answers.
  server: { proxy: { '/graphql': { target: 'http://127.0.0.1:4000', ws: true, changeOrigin: true }, '/downloads': 'http://127.0.0.1:4000' } },
});
