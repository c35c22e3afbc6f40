import { existsSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { runSnippet } from '../integration/sdk/readme-snippets.js';
import { readBlocks, readDoc, startReaderShell, type DocBlock, type ReaderShell } from '../kit/docs.js';
import { makeTempDir, removeTempDir } from '../kit/processes.js';
import { checkRdb } from '../kit/redis-binary.js';
import { startRedis, type RedisServer } from '../kit/redis.js';
import { startService, type TestService } from '../kit/service.js';

/** Why a block is shown and not run here. */
const REASONS: Readonly<Record<string, string>> = {
  npm: 'They are what runs these very tests; the pipeline runs both in a fresh clone.',
};

const FILES = ['README.md', 'server/README.md', 'sdk/README.md'];

describe('every block of the documentation', () => {
  it.each(FILES)('of %s is run by a test, or says why not', (file) => {
    const blocks = readBlocks(file);
    expect(blocks.length).toBeGreaterThan(0);
    const loose = blocks.filter(({ run, notRun }) => (run === undefined) === (notRun === undefined || REASONS[notRun] === undefined));
    expect(loose.map(({ at }) => at)).toEqual([]);
    const names = blocks.flatMap(({ run }) => run ?? []);
    expect(new Set(names).size).toBe(names.length);
  });
});

describe('every link of the documentation', () => {
  /** As GitHub makes them: lower case, blanks to hyphens, other punctuation dropped. */
  const anchors = (text: string): string[] =>
    [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) => heading.toLowerCase().replace(/[^\p{L}\p{N} _-]/gu, '').replaceAll(' ', '-'));

  it.each([...FILES, 'SECURITY.md', 'CHANGELOG.md', 'server/engine/archive/FORMAT.md'])('of %s leads somewhere', (file) => {
    const links = [...readDoc(file).replace(/```[^]*?```/g, '').matchAll(/\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)/g)];
    const dead = links.filter(([, path = '', anchor]) => {
      const target = path === '' ? file : posix.join(posix.dirname(file), path);
      return !existsSync(new URL(`../../${target}`, import.meta.url)) || (anchor !== undefined && !anchors(readDoc(target)).includes(anchor));
    });
    expect(dead.map(([link]) => link)).toEqual([]);
  });
});

it('SECURITY.md names tests that are there', () => {
  const named = [...readDoc('SECURITY.md').matchAll(/`(test\/[\w./-]+)`/g)].map(([, path = '']) => path);
  expect(named.length).toBeGreaterThan(4);
  expect(named.filter((path) => !existsSync(new URL(`../../${path}`, import.meta.url)))).toEqual([]);
});

/** As a reader: from top to bottom, in one shell, in one folder. */
describe('README.md', () => {
  let service: TestService;
  let redis: RedisServer;
  let sample: RedisServer;
  let shell: ReaderShell;
  let folder: string;
  let jobId = '';

  beforeAll(async () => {
    folder = makeTempDir('reader');
    [service, redis, sample] = await Promise.all([startService(), startRedis(), startRedis()]);
    await redis.cli('MSET', 'a', '1', 'b', '2', 'user:1', '3');
    await service.sdk.instances.register({ name: 'sample', host: sample.host, port: sample.port });
    shell = startReaderShell(folder, { SNAPBACK_URL: service.url, SNAPBACK_KEY: service.key, REDIS_HOST: redis.host, REDIS_PORT: String(redis.port) });
  });
  afterAll(async () => {
    await shell?.stop();
    await Promise.all([service?.stop(), redis?.stop(), sample?.stop()]);
    await removeTempDir(folder);
  });
  afterEach(() => {
    vi.restoreAllMocks();
    vi.unstubAllEnvs();
  });

  const follow = async ({ code }: DocBlock): Promise<string> => {
    const events: string[] = [];
    for await (const data of service.sdk.subscribe(code, { jobId })) events.push(JSON.stringify(data));
    return events.join('\n');
  };

  const typescript = async ({ code, run = '' }: DocBlock): Promise<string> => {
    const said: string[] = [];
    vi.stubEnv('SNAPBACK_URL', service.url);
    vi.stubEnv('SNAPBACK_KEY', service.key);
    vi.spyOn(console, 'log').mockImplementation((...words: unknown[]) => void said.push(words.join(' ')));
    await runSnippet({ name: run, code });
    return said.join('\n');
  };

  const runBlock = async (name: string): Promise<string> => {
    const block = readBlocks('README.md').find(({ run }) => run === name);
    if (block === undefined) throw new Error(`README.md has no block ${name}.`);
    const by = { sh: (found: DocBlock) => shell.run(found), graphql: follow, ts: typescript }[block.language];
    if (by === undefined) throw new Error(`${block.at}: nobody here runs ${block.language}.`);
    return by(block);
  };

  const EXPECTED: [name: string, said: RegExp, then?: () => Promise<void>][] = [
    ['connect', /"name":"sample".*"nextRunAt":"\d{4}-/],
    ['register', /"id":"ins_\w+".*"keys":"3".*"backup":\{"possible":true.*"restore":\{"possible":true.*"userErrors":\[\]/],
    ['backup', /"backup":\{"id":"bak_.*"userErrors":\[\]/, () => {
      jobId = /job_[0-9a-z]+/.exec(readFileSync(join(folder, 'started.json'), 'utf8'))?.[0] ?? '';
      return Promise.resolve();
    }],
    ['follow', /"conclusion":"SUCCEEDED"/],
    ['wait', /"state":"COMPLETED","conclusion":"SUCCEEDED"/],
    ['list', /"totalCount":1,.*"state":"AVAILABLE","trigger":"MANUAL","integrity":"STRUCTURE_AND_CHECKSUM","keys":"3"/],
    ['download', /orders-cache\.rdb/, async () => {
      expect(await checkRdb(join(folder, 'orders-cache.rdb'))).toContain('RDB looks OK');
      await redis.cli('MSET', 'd', '4', 'a', 'changed');
    }],
    ['plan', /"keysNow":\[\{"database":0,"keys":"4"\}\],"keysAfter":\[\{"database":0,"keys":"3"\}\],"blockers":\[\],(?!.*"mustAccept":true)/],
    ['restore', /"dataNow":"NEW",.*"safetyBackup":\{"id":"bak_.*"conclusion":"SUCCEEDED".*"promoted":true/, async () => {
      expect(await redis.cli('MGET', 'a', 'd')).toBe('1\n');
      expect(await redis.cli('SET', 'e', '5')).toBe('OK');
    }],
    ['plan-some', /"state":"READY","method":"RESTORE_PIPELINE".*"blockers":\[\].*"keys":"1".*"key":"restored:user:1".*"new":"1"/],
    ['policy', /"retentionDays":7,"upcomingRuns":\[(?:\{"plannedAt":"[^"]*T17:\d\d:[^"]*","weekday":"(?:MONDAY|WEDNESDAY|FRIDAY)"\},?){3}\]/],
    ['sdk', /AVAILABLE 4 keys [0-9a-f]{64}\nNEW true/],
  ];

  it.each(EXPECTED)('%s does what it promises', async (name, expected, then) => {
    expect(await runBlock(name)).toMatch(expected);
    await then?.();
  });

  it('has no other blocks to run', () => {
    expect(readBlocks('README.md').flatMap(({ run }) => run ?? [])).toEqual(EXPECTED.map(([name]) => name));
  });
});
