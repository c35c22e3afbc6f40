import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest';
import { startRedis, type RedisServer } from '../../kit/redis.js';
import { startService, type TestService } from '../../kit/service.js';
import { readSnippets, RECIPES, runSnippet } from './readme-snippets.js';

let service: TestService;
let redis: RedisServer;
let backupFile: string;

beforeAll(async () => {
  redis = await startRedis();
  service = await startService();
  backupFile = join(service.dataDir, 'download.rdb');
  await redis.cli('MSET', 'a', '1', 'b', '2', 'user:1', '3');
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await service.stop();
  await redis.stop();
});

const said: string[] = [];
afterEach(() => {
  vi.restoreAllMocks();
});

const run = async (name: string): Promise<string> => {
  const snippet = readSnippets().find((found) => found.name === name);
  if (snippet === undefined) throw new Error(`sdk/README.md has no snippet ${name}.`);
  vi.stubEnv('SNAPBACK_URL', service.url);
  vi.stubEnv('SNAPBACK_KEY', service.key);
  vi.stubEnv('REDIS_HOST', '127.0.0.1');
  vi.stubEnv('REDIS_PORT', String(redis.port));
  vi.stubEnv('BACKUP_FILE', backupFile);
  said.length = 0;
  const note = (...words: unknown[]): void => void said.push(words.join(' '));
  vi.spyOn(console, 'log').mockImplementation(note);
  vi.spyOn(console, 'error').mockImplementation(note);
  await runSnippet(snippet);
  return said.join('\n');
};

/** The snippets build on each other, as for a reader who tries them from top to bottom. */
const EXPECTED: [name: string, said: RegExp][] = [
  ['register', /^REDIS \d+\.\d+\.\d+ true$/],
  ['backup', /^AVAILABLE \d+ STRUCTURE_AND_CHECKSUM$/m],
  ['download', /^\d+ [0-9a-f]{64}$/],
  ['verify', /^before the migration PASSED \d{4}-\d\d-\d\dT/],
  ['inspect', /^user:\* has 1 keys of \d+ bytes\n\* has 1 keys of \d+ bytes\nuser:1: STRING of \d+ bytes\na: STRING of \d+ bytes\n(?:a stays\nuser:1 stays|user:1 stays\na stays)$/],
  ['policy', /^\d{4}-\d\d-\d\dT/],
  ['restore', /^NEW undo with bak_/m],
  ['restore-some', /^1 keys, for example restored:user:1 .*\n1 restored 0 skipped\nReplaces everything/],
  ['access', /^VIEWER 1$/],
  ['feed', /^$/],
  ['freshness', /^$/],
  ['errors', /^user_input NOT_FOUND /],
  ['try', /^(?:NAME_TAKEN|CONFLICT) \w+ /],
  ['own-document', /orders-cache/],
];

it.each(EXPECTED)('%s runs and says what it promises', async (name, expected) => {
  expect(await run(name)).toMatch(expected);
  if (name === 'download') expect(existsSync(backupFile) && readFileSync(backupFile, 'latin1').startsWith('REDIS')).toBe(true);
});

it('all snippets are run', () => {
  expect(readSnippets().map(({ name }) => name).filter((name) => !RECIPES.includes(name))).toEqual(EXPECTED.map(([name]) => name));
});
