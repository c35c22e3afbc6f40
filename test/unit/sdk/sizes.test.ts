import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { bundle, type Bundle } from '../../kit/bundle.js';

const root = fileURLToPath(new URL('../../../', import.meta.url)).replace(/\/$/, '');
const bundled = (code: string): Promise<Bundle> => bundle(root, code, { alias: { '@snapback/sdk': `${root}/sdk/src/index.ts` } });
const client = "import { createClient } from '@snapback/sdk'; const client = createClient({ url: location.origin, token: prompt() });";

describe('a bundle', () => {
  it('with one list has at most 4 kB in its entry and all that it imports, and at most 11 kB with what its first call loads', async () => {
    const { weigh, text } = await bundled(`${client} for await (const { name } of client.backups.list({ states: ['AVAILABLE'] })) console.log(name);`);
    expect(weigh()).toBeGreaterThan(1_000);
    expect(weigh()).toBeLessThanOrEqual(4_096);
    const called = ['src/connection.ts', 'src/backups.ts'];
    expect(weigh(...called)).toBeLessThanOrEqual(11 * 1024);
    // Neither documents nor the socket, before they are asked for.
    for (const early of ['query ', 'graphql-transport-ws']) expect(text()).not.toContain(early);
    for (const foreign of ['graphql-transport-ws', 'mutation RegisterInstance']) expect(text(...called)).not.toContain(foreign);
  });

  it('with watch has at most 9 kB in its entry, and at most 15 kB with all that watching loads', async () => {
    const { weigh, text } = await bundled(`${client} for await (const { job } of client.backups.watch('bak_1')) console.log(job.state);`);
    expect(weigh()).toBeLessThanOrEqual(9 * 1024);
    const called = ['src/connection.ts', 'src/backups.ts', 'src/jobs.ts', 'src/socket.ts'];
    expect(weigh(...called)).toBeLessThanOrEqual(15 * 1024);
    expect(text(...called)).toContain('graphql-transport-ws');
  });

  it('with one document and nothing else of the SDK is that document', async () => {
    const { weigh } = await bundled("import { ListProjectsDocument } from './sdk/src/generated/operations.ts'; console.log(String(ListProjectsDocument));");
    expect(weigh()).toBeLessThanOrEqual(600);
  });
});
