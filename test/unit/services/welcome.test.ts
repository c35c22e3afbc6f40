import { execFileSync } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { VERSION } from '../../../server/version.js';
import { nextSteps } from '../../../server/welcome.js';
import { makeTempDir, removeTempDir } from '../../kit/processes.js';

describe('what a person reads after the start', () => {
  it('shows the key at the first start only', () => {
    const place = { url: 'http://127.0.0.1:4000', keyFile: '/data/admin-key', dashboard: true };
    expect(nextSteps({ ...place, key: 'sb_canary' }).split('sb_canary')).toHaveLength(2);
    expect(nextSteps({ ...place, key: undefined })).not.toContain('sb_');
    for (const text of [nextSteps({ ...place, key: 'sb_canary' }), nextSteps({ ...place, key: undefined })]) {
      for (const part of [`${place.url}/dashboard`, 'curl', 'subscription', '@snapback/sdk', '/data/admin-key', `${place.url}/graphql`]) expect(text).toContain(part);
    }
  });

  it('says where there is no dashboard', () => {
    expect(nextSteps({ url: 'http://127.0.0.1:4000', keyFile: '/data/admin-key', key: undefined, dashboard: false })).toMatch(/Dashboard +not built/);
  });

  it('prints a request that a shell sends as it stands, whatever the folder is called', async () => {
    const folder = makeTempDir('welcome');
    try {
      const keyFile = join(folder, `it's "mine" $HOME`, 'admin-key');
      await mkdir(join(keyFile, '..'));
      await writeFile(keyFile, 'sb_canary\n');
      const command = /curl [^]*?'\n(?=\n)/.exec(nextSteps({ url: 'http://127.0.0.1:4000', key: undefined, keyFile, dashboard: true }))?.[0] ?? '';
      const printed = execFileSync('sh', ['-c', `curl() { printf '%s\\n' "$@"; }\n${command}`], { encoding: 'utf8' });
      expect(printed).toContain('Authorization: Bearer sb_canary\n');
      const body: unknown = JSON.parse(printed.trim().split('\n').at(-1) ?? '');
      expect(body).toEqual({ query: expect.stringContaining('instances') as string });
    } finally {
      await removeTempDir(folder);
    }
  });

  it('knows its version', () => {
    expect(VERSION).toMatch(/^\d+\.\d+\.\d+/);
  });
});
