import { type Redis } from 'ioredis';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { KEY_TYPES, type KeyType } from '../../../server/domain/backup.js';
import { selectsAll } from '../../../server/domain/key-selection.js';
import { checkRestoreOptions, CONFLICT_RULES, DEFAULT_RESTORE_OPTIONS, type RestoreOptions } from '../../../server/domain/restore-options.js';
import { pick, randomOf, type Random } from '../../fuzz/rdb/random.js';
import { RdbBuilder } from '../../kit/rdb-builder.js';
import { startRedis, type RedisServer } from '../../kit/redis.js';
import { rdbOf } from '../restore/harness.js';
import { lentSource, pipelineInto } from './harness.js';

/** Any backup, with any options, into any target: what is there afterwards is what a few lines here say, which know nothing of how it gets there. */
const CASES = 30;
const DATABASES = [0, 1, 2, 3];
const TAKEN_AT = Date.now() - 3_600_000;
const PAST = TAKEN_AT + 1_800_000;
const LONG_PAST = TAKEN_AT - 1;
const FUTURE = Date.now() + 86_400_000;

interface Key {
  database: number;
  name: string;
  type: KeyType;
  value: string;
  expiresAt: number | null;
}
/** What is there, by database and name. */
type Content = Map<string, string>;
const at = (database: number, name: string): string => `${String(database)} ${name}`;

let target: RedisServer;
let clients: Redis[];

beforeAll(async () => {
  target = await startRedis();
  clients = DATABASES.map((db) => target.client({ db }));
});
afterAll(async () => {
  await target?.stop();
});

const NAMES = ['a', 'b', 'x:a', 'x:b', 'x:', 'y:a', 'x:x:a', 'key', ''];

const randomKeys = (random: Random): Key[] => {
  const keys = new Map<string, Key>();
  for (let left = random(25); left > 0; left -= 1) {
    const key: Key = {
      database: pick([0, 1, 2], random), name: pick(NAMES, random) + (random(2) === 0 ? String(random(4)) : ''), type: pick(['STRING', 'LIST', 'HASH'], random), value: `backup ${String(left)}`,
      expiresAt: pick([null, null, FUTURE, PAST, LONG_PAST], random),
    };
    keys.set(at(key.database, key.name), key);
  }
  return [...keys.values()].sort((one, other) => one.database - other.database);
};

const randomOptions = (random: Random): RestoreOptions => {
  const maybe = <T>(value: () => T): T | null => (random(3) === 0 ? value() : null);
  const databases = maybe(() => [0, 1, 2].filter(() => random(3) > 0));
  const patterns = maybe(() => [pick(['*', 'x:*', '[ab]*', '?', '*a'], random), 'key*']);
  const types = maybe(() => KEY_TYPES.filter((type) => type === 'STRING' || random(2) === 0));
  const selection = { databases: databases?.length === 0 ? null : databases, patterns, types };
  const mapped = [0, 1, 2].filter((from) => random(3) === 0 && (selection.databases?.includes(from) ?? true));
  return {
    ...DEFAULT_RESTORE_OPTIONS, selection, databaseMap: mapped.map((from) => ({ from, to: pick(DATABASES, random) })),
    keyPrefix: maybe(() => pick([{ replace: null, by: 'x:' }, { replace: 'x:', by: '' }, { replace: 'x:', by: 'y:' }], random)),
    ttl: pick(['KEEP', 'SHIFT', 'PERSIST', 'DROP_EXPIRED'], random), onConflict: pick(CONFLICT_RULES, random), commandsOnly: random(3) === 0,
    flush: random(3) > 0 ? 'NOTHING' : selectsAll(selection) ? 'EVERYTHING' : patterns === null && types === null ? 'WRITTEN' : 'NOTHING',
  };
};

const globs: Readonly<Record<string, RegExp>> = { '*': /^/, 'x:*': /^x:/, '[ab]*': /^[ab]/, '?': /^.$/, '*a': /a$/, 'key*': /^key/ };

/** What the options mean. Null: a conflict that is found before anything is written. */
const modelOf = (keys: readonly Key[], old: Content, options: RestoreOptions): { content: Content; expired: number; skipped: number } | null => {
  const { selection, databaseMap, keyPrefix, ttl, onConflict, flush } = options;
  const selected = keys.filter(({ database, name, type }) =>
    (selection.databases?.includes(database) ?? true) && (selection.types?.includes(type) ?? true) && (selection.patterns?.some((pattern) => globs[String(pattern)]?.test(name)) ?? true));
  const into = (database: number): number => databaseMap.find(({ from }) => from === database)?.to ?? database;
  const renamed = (name: string): string => (keyPrefix !== null && name.startsWith(keyPrefix.replace ?? '') ? keyPrefix.by + name.slice((keyPrefix.replace ?? '').length) : name);
  const expires = ({ expiresAt }: Key): boolean => expiresAt !== null && (ttl === 'SHIFT' ? expiresAt < TAKEN_AT : ttl !== 'PERSIST' && expiresAt < Date.now());
  const written = new Set(selected.map(({ database }) => into(database)));
  const content: Content = new Map([...old].filter(([place]) => flush === 'NOTHING' || (flush === 'WRITTEN' && !written.has(Number(place.split(' ')[0])))));
  if (onConflict === 'FAIL') {
    const live = selected.filter((key) => !expires(key)).map(({ database, name }) => at(into(database), renamed(name)));
    if (written.size < new Set(selected.map(({ database }) => database)).size || live.some((place) => content.has(place))) return null;
  }
  let [expired, skipped] = [0, 0];
  for (const key of selected) {
    const place = at(into(key.database), renamed(key.name));
    if (expires(key)) {
      expired += 1;
      if (ttl === 'KEEP' && onConflict === 'REPLACE') content.delete(place);
    } else if (onConflict !== 'REPLACE' && content.has(place)) skipped += 1;
    else content.set(place, `${key.type} ${key.value} ${key.expiresAt !== null && ttl !== 'PERSIST' ? 'expires' : 'stays'}`);
  }
  return { content, expired, skipped };
};

const build = (keys: readonly Key[]): Buffer => {
  const builder = new RdbBuilder(10);
  let selected = -1;
  for (const { database, name, type, value, expiresAt } of keys) {
    if (database !== selected) builder.select(database);
    selected = database;
    if (expiresAt !== null) builder.expireMs(expiresAt);
    if (type === 'STRING') builder.string(name, value);
    else if (type === 'LIST') builder.collection(1, name, [value]);
    else builder.hash(name, { field: value });
  }
  return builder.build();
};

const TYPES: Readonly<Record<string, KeyType>> = { string: 'STRING', list: 'LIST', hash: 'HASH' };
const contentOf = async (): Promise<Content> => {
  const content: Content = new Map();
  for (const [database, client] of clients.entries()) {
    for (const name of await client.keys('*')) {
      const type = await client.type(name);
      const value = type === 'string' ? await client.get(name) : type === 'list' ? await client.lindex(name, 0) : await client.hget(name, 'field');
      content.set(at(database, name), `${TYPES[type] ?? type} ${String(value)} ${(await client.pttl(name)) < 0 ? 'stays' : 'expires'}`);
    }
  }
  return content;
};

it.each(Array.from({ length: CASES }, (_, number) => number))('case %d', async (number) => {
  const random = randomOf(20_261_129, number);
  const keys = randomKeys(random);
  const options = randomOptions(random);
  checkRestoreOptions(options, [], []);
  await clients[0]!.flushall();
  const old: Content = new Map();
  for (let left = random(12); left > 0; left -= 1) {
    const [database, name] = [pick(DATABASES, random), pick(NAMES, random)];
    await clients[database]!.set(name, `old ${String(left)}`);
    old.set(at(database, name), `STRING old ${String(left)} stays`);
  }
  const wanted = modelOf(keys, old, options);
  const context = JSON.stringify({ options, keys, old: [...old] });
  const { report, failure } = await pipelineInto(target, lentSource(rdbOf(build(keys)), { pieceBytes: pick([13, 65_536], random) }), { ...options, takenAt: new Date(TAKEN_AT) });
  if (wanted === null) {
    expect([failure?.code, report.dataNow], context).toEqual(['CONFLICT', 'OLD']);
    expect(await contentOf(), context).toEqual(old);
    return;
  }
  // Two of its own keys under one name are a conflict, too, which shows only as they meet.
  if (options.onConflict === 'FAIL' && wanted.skipped > 0) {
    expect(failure?.code, context).toBe('CONFLICT');
    return;
  }
  expect(failure, context).toBeUndefined();
  expect([report.dataNow, report.failed, Number(report.expired), Number(report.skipped)], context).toEqual(['NEW', 0n, wanted.expired, wanted.skipped]);
  expect(await contentOf(), context).toEqual(wanted.content);
});
