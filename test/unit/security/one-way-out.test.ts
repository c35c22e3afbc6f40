import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const SERVER = fileURLToPath(new URL('../../../server', import.meta.url));

/** What does not open connections; everything else of these modules may. */
const HARMLESS: Readonly<Record<string, readonly string[]>> = {
  'node:net': ['BlockList', 'createServer', 'isIP', 'isIPv4', 'isIPv6'], 'node:tls': ['createSecureContext', 'createServer'], 'node:http': ['createServer', 'STATUS_CODES'], 'node:https': [], 'node:http2': [],
  'node:dgram': [], 'node:dns': [], 'node:dns/promises': [], 'node:child_process': [], ioredis: [], pg: ['DatabaseError'], mongodb: [], undici: [], ws: ['WebSocketServer'],
  jose: ['customFetch', 'errors', 'jwtVerify'],
};

/** Who else connects, and to what: to this installation's own parts only, none of which a caller of the API can choose. */
const OWN_PARTS: Readonly<Record<string, RegExp>> = {
  'security/dial.ts': /^node:(net|tls|dns\/promises) /,
  // Over a socket that dial() has opened.
  'engine/control.ts': /^ioredis Redis$/,
  // Agents that get every socket from dial().
  'engine/dial-agents.ts': /^node:https? Agent$/,
  // Through those agents.
  'security/webhook.ts': /^node:https? request$/,
  'security/fetch-json.ts': /^node:https? request$/,
  // With the fetch that it is given.
  'security/oidc.ts': /^jose createRemoteJWKSet$/,
  'events/hub.ts': /^pg Client$/,
};
const OWN_FOLDERS: Readonly<Record<string, RegExp>> = { embedded: /^(node:(net|child_process)|ioredis|pg) /, db: /^pg /, jobs: /^(pg|mongodb) / };

const valuesImported = (text: string): string[] =>
  [...text.matchAll(/^import\s+(?!type\s)([^;]*?)\s+from\s+'([^']+)'/gms)].flatMap(([, what = '', from = '']) => {
    const harmless = HARMLESS[from];
    if (harmless === undefined) return [];
    const names = what.replace(/[{}]/g, '').split(',').map((name) => name.trim()).filter((name) => name !== '' && !name.startsWith('type '));
    return names.filter((name) => !harmless.includes(name.split(' as ')[0] ?? '')).map((name) => `${from} ${name.split(' as ')[0]}`);
  });

describe('the way out', () => {
  const files = readdirSync(SERVER, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));
  const found = files.flatMap((file) => {
    const text = readFileSync(join(SERVER, file), 'utf8');
    return [...valuesImported(text), ...(/\bimport\(\s*'(node:(net|tls|https?|dgram|dns)|ioredis|undici)/.test(text) ? ['dynamic import'] : [])].map((what) => ({ file, what }));
  });

  it('is one: only dial() opens connections to addresses that come from outside', () => {
    expect(found.filter(({ file, what }) => !(OWN_PARTS[file] ?? OWN_FOLDERS[file.split('/')[0] ?? ''])?.test(what))).toEqual([]);
    expect(found).toContainEqual({ file: 'security/dial.ts', what: 'node:net connect' });
    expect(found).toContainEqual({ file: 'engine/control.ts', what: 'ioredis Redis' });
  });

  it('is not left by fetch either', () => {
    const users = files.filter((file) => /(?<![.\w])(?<!const )fetch\(/.test(readFileSync(join(SERVER, file), 'utf8')));
    // A page for browsers, and a loader's own parameter of that name.
    expect(users.filter((file) => !['http/explorer-page.ts', 'graphql/loaders.ts'].includes(file))).toEqual([]);
  });
});
