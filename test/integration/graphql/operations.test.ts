import { afterEach, describe, expect, it } from 'vitest';
import { DomainError } from '../../../server/domain/errors.js';
import { ADMIN_KEY, type Edge, fakeServices, pageOf, readServices, startEdge } from './edge.js';
import { backup, instance, job, newId, policy } from './records.js';

let edge: Edge | undefined;
afterEach(async () => {
  await edge?.stop();
  edge = undefined;
});

describe('queries', () => {
  it('map records to types and load what hangs on a list in one call each', async () => {
    const instances = [instance({ name: 'a' }), instance({ name: 'b' }), instance({ name: 'c' })];
    const working = job();
    const { services, calls } = readServices({ instances, backups: instances.map(({ id }) => backup(id, { jobId: working.id })), jobs: [working] });
    edge = await startEdge(fakeServices(services));
    const { status, body } = await edge.ask(`{
      instances { nodes { id name server { engine usedMemoryBytes } policy { weekdays instance { name } } latestBackup { sizeBytes coverage { kind slots { start } } createdAt job { progress { bytesPerSecond } instance { id } } } runningJob { id } }
        edges { cursor node { id } } pageInfo { startCursor endCursor hasNextPage } }
    }`);
    expect(body.errors).toBeUndefined();
    expect(status).toBe(200);
    const { nodes, pageInfo } = (body.data as { instances: { nodes: unknown[]; pageInfo: unknown } }).instances;
    expect(nodes[1]).toEqual({
      id: instances[1]?.id, name: 'b', server: { engine: 'REDIS', usedMemoryBytes: '1099511627776' }, policy: { weekdays: ['MONDAY', 'SUNDAY'], instance: { name: 'b' } },
      latestBackup: { sizeBytes: '9007199254740993', coverage: { kind: 'INSTANCE', slots: [] }, createdAt: '2026-03-01T02:00:00.000Z', job: { progress: { bytesPerSecond: '1235' }, instance: null } },
      runningJob: null,
    });
    expect(pageInfo).toEqual({ startCursor: `at-${instances[0]?.id}`, endCursor: `at-${instances[2]?.id}`, hasNextPage: false });
    expect([...calls].sort()).toEqual(['backups.latestByInstance(3)', 'instances.getMany(3)', 'jobs.getMany(1)', 'jobs.runningByInstance(3)', 'policies.getManyByInstance(3)']);
  });

  it('count a list only when asked', async () => {
    const { services, calls } = readServices({ instances: [instance()], backups: [], jobs: [] });
    edge = await startEdge(fakeServices(services));
    await edge.ask('{ instances { nodes { id } } }');
    expect(calls).toEqual([]);
    expect((await edge.ask('{ instances { totalCount } }')).body.data).toEqual({ instances: { totalCount: 1 } });
    expect(calls).toEqual(['instances.totalCount']);
  });

  it('find any object by its id, and nothing by an id of another kind', async () => {
    const one = instance();
    const its = backup(one.id);
    const { services, calls } = readServices({ instances: [one], backups: [its], jobs: [] });
    edge = await startEdge(fakeServices({ ...services, apiKeys: { get: async () => null } }));
    const { body } = await edge.ask(`{
      a: node(id: "${one.id}") { __typename id ... on Instance { name } }
      b: node(id: "${its.id}") { __typename ... on Backup { instance { name } } }
      missing: node(id: "${newId('backup')}") { id }
      nothing: node(id: "hello") { id }
      key: node(id: "${newId('apiKey')}") { id }
      wrong: instance(id: "${its.id}") { id }
      alsoWrong: backup(id: "${one.id}") { id }
      job(id: "'; drop table jobs; --") { id }
      restore(id: "") { id }
      restorePlan(id: "rpl_1") { id }
    }`);
    expect(body).toEqual({
      data: {
        a: { __typename: 'Instance', id: one.id, name: 'orders' }, b: { __typename: 'Backup', instance: { name: 'orders' } }, missing: null, nothing: null, key: null,
        wrong: null, alsoWrong: null, job: null, restore: null, restorePlan: null,
      },
    });
    expect(calls.filter((call) => call.includes('.get '))).toEqual(['instances.get ins', 'backups.get bak', 'backups.get bak']);
  });

  it('hand arguments and filters to the services as they came, defaults filled in', async () => {
    const seen: unknown[] = [];
    const one = instance();
    edge = await startEdge(fakeServices({
      instances: { get: async () => one },
      backups: {
        list: async (_caller, filter, page) => {
          seen.push({ ...filter }, page);
          return pageOf([]);
        },
        listByInstance: async (_caller, ids, filter, page) => {
          seen.push(ids, { ...filter }, page);
          return ids.map(() => pageOf([]));
        },
      },
    }));
    await edge.ask('query ($from: DateTime) { backups(first: -5, after: "x", order: OLDEST_FIRST, filter: { createdFrom: $from, states: [FAILED] }) { nodes { id } } }', { from: '2026-03-01T02:00:00+02:00' });
    expect(seen).toEqual([
      { createdFrom: new Date('2026-03-01T00:00:00Z'), states: ['FAILED'] },
      { first: -5, after: 'x', last: undefined, before: undefined, order: 'OLDEST_FIRST' },
    ]);
    seen.length = 0;
    await edge.ask(`{ instance(id: "${one.id}") { backups(filter: { instanceId: "ins_other", triggers: [MANUAL] }) { nodes { id } } } }`);
    expect(seen).toEqual([
      // Whatever the filter says: an instance has its own backups only.
      [one.id], { instanceId: 'ins_other', triggers: ['MANUAL'] }, { first: undefined, after: undefined, last: undefined, before: undefined, order: 'NEWEST_FIRST' },
    ]);
  });

  it('answer an object that names a missing one as a fault of the service, with the rest intact', async () => {
    const lost = backup(newId('instance'));
    const { services } = readServices({ instances: [], backups: [lost], jobs: [] });
    edge = await startEdge(fakeServices(services));
    const { status, body } = await edge.ask(`{ viewer { role } backup(id: "${lost.id}") { instance { id } } }`);
    expect(status).toBe(200);
    expect(body.data).toEqual({ viewer: { role: 'ADMIN' }, backup: null });
    expect(body.errors?.[0]?.extensions['code']).toBe('INTERNAL');
    expect(edge.log.filter(({ level }) => level === 'error')).toHaveLength(1);
  });
});

describe('mutations', () => {
  it('give the objects, with fields that were left out absent and defaults filled in', async () => {
    const inputs: object[] = [];
    const one = instance();
    edge = await startEdge(fakeServices({
      instances: {
        register: async (_caller, input) => {
          inputs.push(input);
          return one;
        },
        update: async (_caller, input) => {
          inputs.push(input);
          return one;
        },
      },
    }));
    const { body } = await edge.ask('mutation { registerInstance(input: { name: "orders", host: "h", tls: {} }) { instance { id } userErrors { code } } }');
    expect(body).toEqual({ data: { registerInstance: { instance: { id: one.id }, userErrors: [] } } });
    await edge.ask('mutation { updateInstance(input: { instanceId: "ins_1", password: null }) { userErrors { code } } }');
    expect(inputs.map((input) => JSON.parse(JSON.stringify(input)) as unknown)).toEqual([
      { name: 'orders', host: 'h', port: 6379, tls: { insecureSkipVerify: false }, acceptPartial: false, sourcePreference: 'PREFER_REPLICA', skipSyncDelay: false }, { instanceId: 'ins_1', password: null },
    ]);
    expect(Object.keys(inputs[1] ?? {}).sort()).toEqual(['instanceId', 'password']);
  });

  it('give what the caller can fix as userErrors, with hint and field', async () => {
    edge = await startEdge(fakeServices({
      policies: {
        set: () => Promise.reject(new DomainError('BAD_INPUT', '"25:00" is no time of day', { hint: 'Write HH:mm.', field: ['startTime'] })),
      },
    }));
    const { status, body } = await edge.ask('mutation { setBackupPolicy(input: { instanceId: "i", startTime: "25:00" }) { policy { id } userErrors { code message field } } }');
    expect(status).toBe(200);
    expect(body).toEqual({
      data: { setBackupPolicy: { policy: null, userErrors: [{ code: 'BAD_INPUT', message: '"25:00" is no time of day. Write HH:mm.', field: ['startTime'] }] } },
    });
  });

  it('show the job in the way with INSTANCE_BUSY', async () => {
    const running = job();
    edge = await startEdge(fakeServices({
      jobs: { getMany: async () => [running] },
      backups: { backupNow: () => Promise.reject(new DomainError('INSTANCE_BUSY', 'A backup runs.', { details: { jobId: running.id } })) },
      restores: { restoreBackup: () => Promise.reject(new DomainError('INSTANCE_BUSY', 'A backup runs.', { details: { jobId: running.id } })) },
    }));
    expect((await edge.ask('mutation { backupNow(input: { instanceId: "i", name: "n" }) { backup { id } job { id } userErrors { code field } } }')).body.data).toEqual({
      backupNow: { backup: null, job: { id: running.id }, userErrors: [{ code: 'INSTANCE_BUSY', field: null }] },
    });
    expect((await edge.ask('mutation { restoreBackup(input: { planId: "p", confirmation: "orders" }) { restore { id } job { id } userErrors { code } } }')).body.data).toEqual({
      restoreBackup: { restore: null, job: { id: running.id }, userErrors: [{ code: 'INSTANCE_BUSY' }] },
    });
  });

  it('throw what the caller cannot fix: FORBIDDEN is 403, unknown faults are masked and logged', async () => {
    edge = await startEdge(fakeServices({
      jobs: { cancel: () => Promise.reject(new DomainError('FORBIDDEN', 'A key with the role VIEWER may not do this.', { hint: 'Use a key with a higher role.' })) },
      instances: { probe: () => Promise.reject(new Error('connect ECONNREFUSED postgres://snapback:hunter2@db/x')) },
    }));
    const refused = await edge.ask('mutation { cancelJob(input: { jobId: "j" }) { job { id } } }');
    expect(refused.status).toBe(403);
    expect(refused.body.errors?.[0]).toMatchObject({ message: 'A key with the role VIEWER may not do this.', extensions: { code: 'FORBIDDEN', hint: 'Use a key with a higher role.' } });
    const fault = await edge.ask('mutation { probeInstance(input: { instanceId: "i" }) { instance { id } } }', {}, { authorization: `Bearer ${ADMIN_KEY}`, 'x-request-id': 'trace-me-12345' });
    expect(fault.body).toEqual({
      data: null,
      errors: [{ message: 'Internal error', locations: expect.anything() as unknown, path: ['probeInstance'], extensions: { code: 'INTERNAL', requestId: 'trace-me-12345' } }],
    });
    expect(fault.headers.get('x-request-id')).toBe('trace-me-12345');
    expect(edge.log.filter(({ level }) => level === 'error')).toEqual([expect.objectContaining({ fields: expect.objectContaining({ requestId: 'trace-me-12345' }) as unknown })]);
  });

  it('do not show after a change what was loaded before it', async () => {
    let name = 'old';
    const one = instance();
    edge = await startEdge(fakeServices({
      policies: {
        set: async () => {
          name = name === 'old' ? 'first' : 'second';
          return policy(one.id);
        },
      },
      instances: { getMany: async (_caller, ids) => ids.map(() => ({ ...one, name })) },
    }));
    const { body } = await edge.ask(`mutation {
      a: setBackupPolicy(input: { instanceId: "i" }) { policy { instance { name } } }
      b: setBackupPolicy(input: { instanceId: "i" }) { policy { instance { name } } }
    }`);
    expect(body.data).toEqual({ a: { policy: { instance: { name: 'first' } } }, b: { policy: { instance: { name: 'second' } } } });
  });
});
