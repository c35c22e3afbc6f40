import { getNamedType, type GraphQLField, type GraphQLSchema, isObjectType } from 'graphql';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { startRedis, type RedisServer } from '../../kit/redis.js';
import { type App, startApp } from '../../../server/app.js';
import { buildServedSchema } from '../../../server/graphql/schema.js';
import { createLogger } from '../../../server/telemetry/logger.js';
import { startService, type TestService } from '../../kit/service.js';
import { instance as anInstance, newId, plan as aPlan, policy as aPolicy, restore as aRestore } from '../graphql/records.js';

const SILENT = createLogger({ level: 'error', format: 'json', write: () => undefined });

/** What a process without jobs and schedules does by itself, every so often. */
const BACKGROUND = /clock_timestamp\(\) AS now/;

/** Statements on the service's tables while `work` runs, but for those of the background and what opens and ends transactions. */
const seenDuring = async (work: () => Promise<unknown>): Promise<string[]> => {
  const seen: string[] = [];
  const original = Client.prototype.query;
  const spy = vi.spyOn(Client.prototype, 'query').mockImplementation(function (this: Client, ...given: unknown[]) {
    const [first] = given;
    const text = typeof first === 'string' ? first : typeof first === 'object' && first !== null && 'text' in first ? String(first.text) : '';
    if (/^\s*(SELECT|WITH|INSERT|UPDATE|DELETE)/i.test(text) && !BACKGROUND.test(text)) seen.push(text);
    return Reflect.apply(original, this, given) as never;
  });
  try {
    await work();
  } finally {
    spy.mockRestore();
  }
  return seen;
};

/** The fewest of two runs: a key's use is noted once a minute, and clocks are asked now and then. */
const statements = async (work: () => Promise<unknown>): Promise<string[]> => {
  const runs = [await seenDuring(work), await seenDuring(work)];
  return runs.reduce((fewest, run) => (run.length < fewest.length ? run : fewest));
};

const isObject = (field: GraphQLField<unknown, unknown>): boolean => isObjectType(getNamedType(field.type));

/** Every field of a type with everything below it, so deep; lists of a page with two items. */
const fieldsOf = (schema: GraphQLSchema, typeName: string, depth: number): string[] => {
  const type = schema.getType(typeName);
  if (!isObjectType(type)) throw new Error(`${typeName} is no object type`);
  return Object.values(type.getFields()).flatMap((field) => {
    const page = field.args.some(({ name }) => name === 'first') ? '(first: 2)' : '';
    // The same as nodes.
    if (field.name === 'edges') return [];
    if (!isObject(field)) return [`${field.name}${page}`];
    const inner = depth === 0 ? [] : fieldsOf(schema, getNamedType(field.type).name, depth - 1);
    return inner.length === 0 ? [] : [`${field.name}${page} { ${inner.join(' ')} }`];
  });
};

/** The lists at the root, each with all that leads from its items to other objects. */
const listsOf = (schema: GraphQLSchema): { name: string; selection: string }[] =>
  Object.values(schema.getQueryType()?.getFields() ?? {}).flatMap((field) => {
    const connection = getNamedType(field.type);
    if (!isObjectType(connection) || !connection.name.endsWith('Connection')) return [];
    const node = getNamedType(connection.getFields()['nodes']?.type);
    if (!isObjectType(node)) throw new Error(`${connection.name} has no nodes`);
    return [{ name: field.name, selection: `totalCount nodes { ${fieldsOf(schema, node.name, 3).join(' ')} }` }];
  });

describe('statements of a list', () => {
  let service: TestService;
  let server: RedisServer;
  let api: App | undefined;
  beforeAll(async () => {
    [service, server] = await Promise.all([startService(), startRedis()]);
    const { id } = await service.sdk.instances.register({ name: 'server', host: server.host, port: server.port });
    for (let i = 0; i < 6; i += 1) await service.sdk.backups.wait(await service.sdk.backups.create({ instanceId: id, name: `b${i}` }));
    await fillOtherLists();
    // From here on nothing works beside the requests.
    await service.app.stop();
    const { config, databaseUrl } = service;
    api = await startApp({ config: { ...config, role: 'api' }, databaseUrl, log: SILENT, keepFirstKey: () => Promise.reject(new Error('There is a key')) });
  });
  afterAll(async () => {
    await api?.stop();
    await Promise.all([service?.stop(), server?.stop()]);
  });

  const ask = async (query: string): Promise<Record<string, unknown>> => {
    const response = await fetch(`${api?.url ?? ''}/graphql`, {
      method: 'POST', headers: { 'content-type': 'application/json', authorization: `Bearer ${service.key}` }, body: JSON.stringify({ query }),
    });
    const body = (await response.json()) as { data?: Record<string, unknown>; errors?: unknown };
    if (!body.data || body.errors) throw new Error(`${query}\n${JSON.stringify(body)}`);
    return body.data;
  };
  const list = async (first: number, fields: string): Promise<number> => ((await ask(`{ backups(first: ${first}) { nodes { ${fields} } } }`))['backups'] as { nodes: unknown[] }).nodes.length;

  /** Six of everything else that lists hold, each like the others. */
  const fillOtherLists = async (): Promise<void> => {
    const { sdk, app: { db } } = service;
    const backups = await sdk.backups.list().toArray({ limit: 6 });
    for (const backup of backups) await sdk.jobs.wait((await sdk.backups.inspect(backup)).job);
    for (const backup of backups) await sdk.jobs.wait((await sdk.backups.verify({ backupId: backup.id, level: 'STRUCTURE' })).job);
    const { keyId, project: { id: projectId } } = await sdk.viewer();
    for (let at = 0; at < 6; at += 1) {
      const [backup] = backups;
      const one = anInstance({ projectId, name: `copy ${at}`, createdAt: new Date() });
      const policyOfOne = { ...aPolicy(one.id), projectId, enabled: false, nextRunAt: null };
      const ids = { restore: newId('restore'), plan: newId('restorePlan'), job: newId('job'), backup: newId('backup'), made: newId('job') };
      await db.transaction(async (tx) => {
        await tx.instances.insert(one, null);
        await tx.policies.insert(policyOfOne);
        await tx.jobs.insert({ id: ids.made, projectId, kind: 'BACKUP', createdAt: new Date(0), instanceId: one.id, backupId: ids.backup, restoreId: null, serverRunId: `made ${at}`, cancellable: true, maxAttempts: 1 });
        await tx.jobs.change(ids.made, {}, { state: 'COMPLETED', conclusion: 'SUCCEEDED' }, { kind: 'STATE', at: new Date() });
        await tx.backups.insert({ id: ids.backup, projectId, instanceId: one.id, jobId: ids.made, name: 'old', trigger: 'MANUAL', engine: 'REDIS', engineVersion: '7', coverage: { kind: 'INSTANCE' }, createdAt: new Date(0) });
        await tx.backups.change({ projectId }, ids.backup, ['CREATING'], { state: 'AVAILABLE', startedAt: new Date(0), completedAt: new Date(0) });
        for (let n = 0; n < 2; n += 1) await tx.slots.insert({ id: newId('slot'), projectId, policyId: policyOfOne.id, instanceId: one.id, plannedAt: new Date(n), weekday: null, state: 'STARTED', startedBy: 'NET', jobId: ids.made, reason: null });
        await tx.plans.insert({
          ...aPlan({ id: ids.plan, projectId, backupId: backup?.id ?? '', instanceId: one.id }), jobId: ids.job, keyId, usedAt: new Date(),
        });
        await tx.restores.insert(aRestore({ id: ids.restore, projectId, planId: ids.plan, backupId: backup?.id ?? '', instanceId: one.id, jobId: ids.job, safetyBackupId: ids.backup }));
        await tx.jobs.insert({ id: ids.job, projectId, kind: 'RESTORE', createdAt: new Date(), instanceId: one.id, backupId: backup?.id ?? null, restoreId: ids.restore, serverRunId: `of ${at}`, cancellable: false, maxAttempts: 1 });
        await tx.jobs.change(ids.job, {}, { state: 'COMPLETED', conclusion: 'SUCCEEDED' }, { kind: 'STATE', at: new Date() });
      });
      await sdk.apiKeys.create({ name: `key ${at}`, role: 'VIEWER' });
      await sdk.projects.create({ name: `project ${at}` });
    }
  };

  it('of backups are two, with instance and job, what retains them and the key', async () => {
    const seen = await statements(async () => expect(await list(6, 'id name state retainedBecause sizeBytes instance { id name host } job { id kind state conclusion }')).toBe(6));
    expect(seen.length, seen.join('\n')).toBe(2);
    expect(seen[0]).toContain('api_keys');
  });

  it('are as many for six rows as for one, in every list, whatever hangs on its items', async () => {
    const schema = await buildServedSchema();
    const grown: string[] = [];
    for (const { name, selection } of listsOf(schema)) {
      const asked = (first: number) => async (): Promise<void> => {
        const page = (await ask(`{ ${name}(first: ${first}) { ${selection} } }`))[name] as { nodes: unknown[] };
        expect(page.nodes, name).toHaveLength(first);
      };
      // The first asks what is remembered afterwards.
      await asked(6)();
      const [one, six] = [await statements(asked(1)), await statements(asked(6))];
      if (six.length > one.length || six.length > 40) grown.push(`${name}: ${one.length} for one, ${six.length} for six`);
    }
    expect(grown).toEqual([]);
  });

  it('of backups read each field as it is read of one backup', async () => {
    const schema = await buildServedSchema();
    const ids = ((await ask('{ backups { nodes { id } } }'))['backups'] as { nodes: { id: string }[] }).nodes.map(({ id }) => id);
    // How old its newest backup is changes from one look to the next.
    const [ofBackup, ofInstance, ofJob] = [fieldsOf(schema, 'Backup', 1), fieldsOf(schema, 'Instance', 1).filter((field) => !field.startsWith('recovery')), fieldsOf(schema, 'Job', 1)];
    const all = `${ofBackup.join(' ')} instance { ${ofInstance.join(' ')} capabilities { backup { possible } restore { possible } } } job { ${ofJob.join(' ')} }`;
    const single = await Promise.all(ids.map(async (id) => (await ask(`{ backup(id: "${id}") { ${all} } }`))['backup']));
    const lists = [
      ...ofBackup, ...ofInstance.map((field) => `instance { ${field} }`), ...ofJob.map((field) => `job { ${field} }`), all,
      // In parts, and under more than one condition.
      '...F instance { name } ... on Node { id } job { state } job { kind }', '... on Backup { instance { port } } instance { capabilities { restore { possible } } }',
    ].map((fields) => `backups { nodes { ${fields} } edges { node { id } } }`);
    expect(lists.length).toBeGreaterThan(60);
    for (let at = 0; at < lists.length; at += 10) {
      const some = lists.slice(at, at + 10).map((field, n) => `a${n}: ${field}`).join(' ');
      const answer = await ask(`{ ${some} }${some.includes('...F') ? ' fragment F on Backup { name instance { host } }' : ''}`);
      for (const { nodes } of Object.values(answer) as { nodes: unknown[] }[]) expect(single).toMatchObject(nodes);
    }
  });
});
