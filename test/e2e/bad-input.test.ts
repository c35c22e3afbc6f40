import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Instance, TypedDocumentString } from '@snapback/sdk';
import { startRedis, type RedisServer } from '../kit/redis.js';
import { startService, type TestService } from '../kit/service.js';
import { archivesOf, backUp, caught, refusal, register, storedFiles } from './scene.js';

const PASSWORD = 'canary-password-7f3a';
const UNKNOWN = '00000000000000000000000000';

/** Names that are shown as they were given, whatever a file system, a header or a page would make of them. */
const HARD_NAMES = ['../../etc', '/etc/passwd', '..', 'C:\\boot.ini', '%2e%2e%2f"; x="y', '日本語のバックアップ', '\u202Ertl نسخة', '👩‍👩‍👧‍👦🇩🇪', '🗄'.repeat(128)];
const NAMES = [
  ...HARD_NAMES, '.', 'a/b/../c', 'null', '0', ' blanks kept ', 'גיבוי', 'бэкап № 1', 'कॉपी', 'e\u0301 stays e\u0301', 'a"b\'c;--', '<script>alert(1)</script>', '${PATH}`id`',
  'x'.repeat(128),
];
const BAD_NAMES = ['', ' ', '\u3000\t', 'x'.repeat(129), 'x'.repeat(10_000), 'a\0b', 'a\nb', '\u001b[31m', '\u2028', '\ud800'];

interface Connection {
  nodes: { id: string }[];
  pageInfo: { startCursor: string | null; endCursor: string | null; hasNextPage: boolean; hasPreviousPage: boolean };
}
interface PageVariables { first?: number | undefined; after?: string | undefined; last?: number | undefined; before?: string | undefined }

const pageOf = (list: string) => new TypedDocumentString<{ page: Connection }, PageVariables>(`query Page($first: Int, $after: String, $last: Int, $before: String) {
  page: ${list}(first: $first, after: $after, last: $last, before: $before) { nodes { id } pageInfo { startCursor endCursor hasNextPage hasPreviousPage } }
}`);
const LISTS = ['instances', 'backups', 'jobs', 'restores'];

describe('bad input', () => {
  let service: TestService;
  let redis: RedisServer;
  let instance: Instance;

  beforeAll(async () => {
    [service, redis] = await Promise.all([startService(), startRedis({ password: PASSWORD })]);
    await redis.cli('SET', 'canary-key-7f3a', 'canary-value-7f3a');
    instance = await register(service, 'main', redis, { password: PASSWORD });
  });
  afterAll(async () => {
    await Promise.all([service?.stop(), redis?.stop()]);
  });

  it('ids that stand for nothing, or for something else', async () => {
    const { sdk } = service;
    const backup = await backUp(service, instance.id);
    const jobId = backup.job?.id ?? '';
    const refused = async (works: (() => Promise<unknown>)[], field: string): Promise<void> => {
      for (const work of works) expect(await refusal(work())).toEqual({ code: 'NOT_FOUND', field: [field] });
    };
    const others = [instance.id, backup.id, jobId, '', 'x', '../../etc/passwd', 'bak_', `bak_${UNKNOWN}`, `ins_${UNKNOWN}`, `job_${UNKNOWN}`, 'x'.repeat(10_000), "' OR 1=1 --", '\0'];
    for (const id of others) {
      if (id !== instance.id) expect(await sdk.instances.get(id)).toBeNull();
      if (id !== backup.id) expect(await sdk.backups.get(id)).toBeNull();
      if (id !== jobId) expect(await sdk.jobs.get(id)).toBeNull();
      expect(await sdk.restores.get(id)).toBeNull();
      expect(await sdk.restores.getPlan(id)).toBeNull();
      if (id !== instance.id) {
        await refused([
          () => sdk.backups.create({ instanceId: id, name: 'x' }), () => sdk.instances.probe(id), () => sdk.instances.remove(id),
          () => sdk.instances.update({ instanceId: id, name: 'y' }), () => sdk.policies.set({ instanceId: id, enabled: false }),
          () => sdk.restores.plan({ backupId: backup.id, instanceId: id }),
        ], 'instanceId');
      }
      if (id !== backup.id) {
        await refused([() => sdk.backups.delete(id), () => sdk.backups.link(id), () => sdk.restores.plan({ backupId: id, instanceId: instance.id })], 'backupId');
      }
      if (id !== jobId) {
        await refused([() => sdk.jobs.cancel(id)], 'jobId');
        expect(await caught(sdk.jobs.watch(id).next())).toMatchObject({ code: 'NOT_FOUND' });
      }
      await refused([() => sdk.restores.run({ planId: id, confirmation: 'main' })], 'planId');
      expect((await caught(sdk.jobs.cancel(`${id}-`))).message.length).toBeLessThan(200);
      // A filter by something that is not there gives nothing; one with a character that no text here has is refused.
      if (id !== instance.id && id !== '\0') expect(await sdk.backups.list({ instanceId: id }).toArray({ limit: 1 })).toEqual([]);
    }
    for (const work of [
      () => sdk.backups.list({ instanceId: '\0' }).first(), () => sdk.backups.list({ nameContains: 'a\0' }).first(), () => sdk.instances.list({ nameContains: '\0' }).first(),
      () => sdk.jobs.list({ instanceIds: ['\0'] }).first(), () => sdk.restores.list({ backupId: '\0' }).first(), () => sdk.jobs.events({ instanceIds: ['\0'] }).next(),
    ]) expect(await caught(work())).toMatchObject({ code: 'BAD_INPUT' });
    const node = new TypedDocumentString<{ node: { id: string } | null }, { id: string }>('query Node($id: ID!) { node(id: $id) { id } }');
    for (const id of others) {
      const known = [instance.id, backup.id, jobId].includes(id);
      expect((await sdk.execute(node, { id })).node).toEqual(known ? { id } : null);
    }
  });

  it('names of any script and any shape are kept as they are and never become a path', async () => {
    const { sdk } = service;
    for (const name of NAMES) {
      expect((await sdk.instances.update({ instanceId: instance.id, name })).name).toBe(name);
      expect(await sdk.instances.list({ nameContains: name }).toArray({ limit: 2 })).toMatchObject([{ id: instance.id, name }]);
    }
    await sdk.instances.update({ instanceId: instance.id, name: 'main' });
    for (const name of HARD_NAMES) {
      const backup = await backUp(service, instance.id, name);
      expect(backup.name).toBe(name);
      expect((await sdk.backups.list({ nameContains: name }).toArray({ limit: 100 })).map(({ id }) => id)).toContain(backup.id);
      const { fileName } = await sdk.backups.link(backup);
      expect(fileName).not.toMatch(/[/\\\0-\x1f]/);
      expect(fileName).toMatch(/[^.].*\.rdb$/);
    }
    const all = await sdk.backups.list().toArray({ limit: 100 });
    expect(all.map(({ name }) => name)).toEqual(expect.arrayContaining(HARD_NAMES));
    expect(await storedFiles(service)).toEqual(archivesOf(...all.map(({ id }) => id)));
  });

  it('names that are none are refused, and nothing begins', async () => {
    const { sdk } = service;
    const before = await sdk.backups.list().pages().next();
    for (const name of BAD_NAMES) {
      expect(await refusal(sdk.backups.create({ instanceId: instance.id, name })), JSON.stringify(name.slice(0, 20))).toEqual({ code: 'BAD_INPUT', field: ['name'] });
      expect(await refusal(register(service, name, redis))).toEqual({ code: 'BAD_INPUT', field: ['name'] });
      expect(await refusal(sdk.instances.update({ instanceId: instance.id, name }))).toEqual({ code: 'BAD_INPUT', field: ['name'] });
    }
    const after = await sdk.backups.list().pages().next();
    expect((after.value as { totalCount: number }).totalCount).toBe((before.value as { totalCount: number }).totalCount);
  });

  it('policies without a weekday, with times and zones that do not exist', async () => {
    const { sdk } = service;
    const before = await sdk.policies.get(instance);
    const refused = async (input: Record<string, unknown>, field: string): Promise<void> => {
      expect(await refusal(sdk.policies.set({ instanceId: instance.id, ...input })), JSON.stringify(input)).toEqual({ code: 'BAD_INPUT', field: [field] });
    };
    await refused({ weekdays: [] }, 'weekdays');
    for (const startTime of ['25:00', '24:00', '2:00', '02:60', '02:00:00', '-1:00', '', 'noon', '02:00 +0800', '٠٢:٠٠']) await refused({ startTime }, 'startTime');
    for (const timeZone of ['Mars/Olympus', '', '+15:00', '+8', 'UTC+8', '../etc/localtime', 'x'.repeat(10_000)]) await refused({ timeZone }, 'timeZone');
    for (const windowMinutes of [0, -5, 1_000_000]) await refused({ windowMinutes }, 'windowMinutes');
    // What the schema itself does not know ends before any service: a weekday, a number that is none, a field.
    for (const input of [{ weekdays: ['FUNDAY'] }, { windowMinutes: 1.5 }, { windowMinutes: 2 ** 40 }, { retentionDays: 30 }]) {
      expect(await caught(sdk.policies.set({ instanceId: instance.id, ...input } as never))).toMatchObject({ kind: 'graphql', code: 'BAD_INPUT' });
    }
    expect(await sdk.policies.get(instance)).toEqual(before);
    const doubled = await sdk.policies.set({ instanceId: instance.id, weekdays: ['SUNDAY', 'MONDAY', 'SUNDAY'], timeZone: '+05:45', startTime: '23:59' });
    expect(doubled).toMatchObject({ weekdays: ['MONDAY', 'SUNDAY'], timeZone: '+05:45', startTime: '23:59' });
  });

  it('pages of impossible sizes, in both directions at once, and cursors from elsewhere', async () => {
    const { sdk } = service;
    const [backups, jobs] = await Promise.all([sdk.execute(pageOf('backups'), { first: 3 }), sdk.execute(pageOf('jobs'), { first: 3 })]);
    const own = backups.page.pageInfo.endCursor ?? '';
    const foreign = jobs.page.pageInfo.endCursor ?? '';
    const forged = (fields: unknown): string => Buffer.from(JSON.stringify(fields)).toString('base64url');
    const bad: PageVariables[] = [
      { first: -1 }, { first: 0 }, { first: 101 }, { first: 2 ** 31 - 1 }, { last: -1 }, { last: 0 }, { last: 101 }, { first: 1, last: 1 }, { first: 1, before: own }, { last: 1, after: own },
      ...[foreign, '', 'x', '%', own.slice(0, -3), `${own}x`, '"; DROP TABLE backups', 'A'.repeat(10_000), forged(['backups']), forged(['backups', 'x', 'y']), forged(['backups', 1e300, 'bak_']), forged(['backups', 0, '\0']),
        forged(['feed', '1']), forged({}), forged(null)].flatMap((cursor) => [{ first: 1, after: cursor }, { last: 1, before: cursor }]),
    ];
    for (const variables of bad) {
      expect(await caught(sdk.execute(pageOf('backups'), variables)), JSON.stringify(variables).slice(0, 100)).toMatchObject({ kind: 'graphql', code: 'BAD_INPUT' });
    }
    for (const list of LISTS) expect(await caught(sdk.execute(pageOf(list), { first: 1_000 }))).toMatchObject({ code: 'BAD_INPUT' });
    expect(await caught(sdk.execute(pageOf('backups'), { first: 2 ** 40 }))).toMatchObject({ kind: 'graphql', code: 'BAD_INPUT' });
    expect(await caught(sdk.backups.list({ pageSize: 101 }).toArray({ limit: 101 }))).toMatchObject({ code: 'BAD_INPUT' });
    // A well-formed cursor of an item that is not there (any more) still marks a place.
    const { page } = await sdk.execute(pageOf('backups'), { first: 1, after: forged(['backups', 0, `bak_${UNKNOWN}`]) });
    expect(page.nodes).toEqual([]);
  });

  it('a second instance of a name or a server that is registered already', async () => {
    const { sdk } = service;
    const other = await startRedis();
    try {
      expect(await refusal(register(service, 'main', other))).toEqual({ code: 'NAME_TAKEN', field: ['name'] });
      const same = await caught(register(service, 'again', redis, { password: PASSWORD }));
      expect(same).toMatchObject({ code: 'CONFLICT', message: expect.stringContaining(instance.id) as string });
      const second = await register(service, 'second', other);
      expect(await refusal(sdk.instances.update({ instanceId: second.id, name: 'main' }))).toEqual({ code: 'NAME_TAKEN', field: ['name'] });
      expect(await refusal(sdk.instances.update({ instanceId: second.id, port: redis.port, password: PASSWORD }))).toMatchObject({ code: 'CONFLICT' });
      expect(await sdk.instances.get(second)).toMatchObject({ name: 'second', port: other.port, hasPassword: false });
      expect(await sdk.instances.list().toArray({ limit: 10 })).toHaveLength(2);
    } finally {
      await other.stop();
    }
  });

  it('addresses and credentials that cannot be ones', async () => {
    for (const [rest, field] of [
      [{ port: 0 }, 'port'], [{ port: 65_536 }, 'port'], [{ port: -1 }, 'port'], [{ host: '' }, 'host'], [{ host: 'a b' }, 'host'], [{ host: 'x'.repeat(10_000) }, 'host'],
      [{ username: 'somebody' }, 'password'], [{ password: '' }, 'password'], [{ password: 'x'.repeat(10_000) }, 'password'],
    ] as const) {
      expect(await refusal(register(service, 'wrong', redis, rest)), JSON.stringify(rest).slice(0, 60)).toEqual({ code: 'BAD_INPUT', field: [field] });
    }
  });

  it('requests that are none, or have no right', async () => {
    const ask = async (body: string, headers: Record<string, string> = {}): Promise<{ status: number; code: string | undefined }> => {
      const response = await fetch(`${service.url}/graphql`, { method: 'POST', body, headers: { 'content-type': 'application/json', authorization: `Bearer ${service.key}`, ...headers } });
      const { errors } = (await response.json()) as { errors?: { extensions?: { code?: string } }[] };
      return { status: response.status, code: errors?.[0]?.extensions?.code };
    };
    expect(await ask('{')).toEqual({ status: 400, code: 'BAD_INPUT' });
    expect(await ask(JSON.stringify({ query: '{' }))).toEqual({ status: 400, code: 'BAD_INPUT' });
    expect(await ask(JSON.stringify({ query: '{ nothingOfTheKind }' }))).toEqual({ status: 400, code: 'BAD_INPUT' });
    for (const authorization of ['', 'Bearer', 'Bearer sb_wrong', `Bearer ${service.key}x`, `Basic ${service.key}`]) {
      expect(await ask(JSON.stringify({ query: '{ viewer { keyId } }' }), { authorization })).toEqual({ status: 401, code: 'UNAUTHENTICATED' });
    }
  });

  it('logs neither passwords nor keys nor values', () => {
    expect(service.logs()).not.toBe('');
    for (const secret of [PASSWORD, 'canary-key-7f3a', 'canary-value-7f3a', service.key]) expect(service.logs()).not.toContain(secret);
  });
});
