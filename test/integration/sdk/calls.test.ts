import { type ServerResponse } from 'node:http';
import { inspect } from 'node:util';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createClient, isSnapbackError, SDK_VERSION, TypedDocumentString, type Client, type ClientEvent, type ClientOptions, type SnapbackError } from '../../../sdk/src/index.js';
import { waitFor } from '../../kit/wait.js';
import { makeBackup, makeJob, startFakeService, TOKEN, type FakeService } from './fake-service.js';

let service: FakeService;
let client: Client;
const fast = { baseMs: 1, maxMs: 5 };
const connect = (options: Partial<ClientOptions> = {}): Client => createClient({ url: service.url, token: TOKEN, retry: fast, ...options });

const backups = Array.from({ length: 7 }, (_, i) => makeBackup(`bak_${String(i)}`));

beforeAll(async () => {
  service = await startFakeService({
    Query: {
      service: () => ({
        version: '1.2.3', sdkMajors: [0], defaultTimeZone: 'UTC', retentionDays: 7, store: { kind: 'FILE_SYSTEM', location: '/srv/store', writable: true, freeBytes: '9007199254740993' },
        retention: { lastPassAt: null, nextPassAt: null, maxDeletions: 1_000, stoppedBecause: null },
        limits: {
          maxPageSize: 100, maxNameLength: 128, minDownloadLinkSeconds: 60, maxDownloadLinkSeconds: 604_800, restorePlanSeconds: 600,
          idempotencyKeySeconds: 86_400, concurrentJobs: 4,
        },
        engines: [],
      }),
      viewer: () => {
        throw new Error('the roof is on fire');
      },
      backup: (_: unknown, { id }: { id: string }) => backups.find((backup) => backup['id'] === id) ?? null,
      backups: (_: unknown, { first, after, filter }: { first: number; after?: string; filter?: { nameContains?: string } }) => {
        const matching = backups.filter(({ name }) => (name as string).includes(filter?.nameContains ?? ''));
        const from = after === undefined ? 0 : Number(after) + 1;
        const nodes = matching.slice(from, from + first);
        const last = from + nodes.length - 1;
        return { nodes, edges: [], totalCount: matching.length, pageInfo: { hasNextPage: last < matching.length - 1, hasPreviousPage: from > 0, endCursor: String(last) } };
      },
    },
    Mutation: {
      backupNow: (_: unknown, { input }: { input: { name: string } }) =>
        input.name === 'busy'
          ? { backup: null, job: makeJob('job_running'), userErrors: [{ code: 'INSTANCE_BUSY', message: 'Job job_running works on it.', field: null }] }
          : { backup: makeBackup('bak_new', { state: 'CREATING' }), job: makeJob('job_new'), userErrors: [] },
      cancelJob: () => ({ job: null, userErrors: [] }),
      ...Object.fromEntries(['createApiKey', 'revokeApiKey', 'createDownloadLink', 'revokeDownloadLinks', 'probeInstance'].map((name) =>
        [name, () => ({ userErrors: [{ code: 'CONFLICT', message: 'Not here.', field: null }] })])),
    },
  });
});
afterAll(() => service.stop());
beforeEach(() => {
  service.seen.length = 0;
  service.intercept(() => false);
  client = connect();
});

const failure = async (promise: Promise<unknown>): Promise<SnapbackError> => {
  const error: unknown = await promise.then(() => undefined, (reason: unknown) => reason);
  if (!isSnapbackError(error)) throw new Error(`Expected an error of the SDK, got ${inspect(error)}`);
  return error;
};

/** Lets the first `times` requests be answered by `answer`. */
const failFirst = (times: number, answer: (response: ServerResponse) => void): void => {
  service.intercept((_, response) => {
    if (service.seen.length > times) return false;
    answer(response);
    return true;
  });
};
const status = (code: number, headers: Record<string, string> = {}) => (response: ServerResponse): void => {
  response.writeHead(code, headers).end('<html>from a proxy</html>');
};
const cut = (response: ServerResponse): void => {
  response.socket?.destroy();
};

describe('queries', () => {
  it('give what the service answered, numbers of any size as texts', async () => {
    const info = await client.service.info();
    expect(info.version).toBe('1.2.3');
    expect(info.store.freeBytes).toBe('9007199254740993');
    expect(await client.backups.get('bak_3')).toMatchObject({ id: 'bak_3', sizeBytes: '1000' });
    expect(await client.backups.get('bak_none')).toBeNull();
  });

  it('work behind a path and with own headers', async () => {
    await connect({ headers: { 'x-tenant': 'blue' } }).service.info({ headers: { 'x-trace': 't1' } });
    expect(service.seen[0]?.headers).toMatchObject({ 'x-tenant': 'blue', 'x-trace': 't1', authorization: `Bearer ${TOKEN}`, 'x-snapback-sdk': SDK_VERSION });
    await failure(createClient({ url: `${service.url}/deep/`, token: TOKEN, retry: false }).service.info());
    expect(service.seen).toHaveLength(1);
  });

  it('page through lists with the filter', async () => {
    const names: string[] = [];
    for await (const backup of client.backups.list({ pageSize: 3 })) names.push(backup.id);
    expect(names).toEqual(backups.map(({ id }) => id));
    expect(service.seen.map(({ variables }) => variables['after'])).toEqual([undefined, '2', '5']);
    expect(await client.backups.list({ nameContains: 'bak_5' }).toArray({ limit: 10 })).toHaveLength(1);
  });

  it.each([429, 502, 503, 504])('are sent again after %i', async (code) => {
    failFirst(2, status(code));
    expect((await client.service.info()).version).toBe('1.2.3');
    expect(service.seen).toHaveLength(3);
  });

  it('are sent again when the connection is cut', async () => {
    failFirst(1, cut);
    expect((await client.service.info()).version).toBe('1.2.3');
  });

  it.each([400, 404, 500])('are not sent again after %i', async (code) => {
    service.intercept((_, response) => {
      status(code)(response);
      return true;
    });
    expect(await failure(client.service.info())).toMatchObject({ kind: 'http', code: `HTTP_${String(code)}`, status: code, retryable: false });
    expect(service.seen).toHaveLength(1);
  });

  it('give up after their attempts, with the last error', async () => {
    failFirst(99, status(503));
    expect(await failure(client.service.info())).toMatchObject({ kind: 'http', code: 'HTTP_503', retryable: true });
    expect(service.seen).toHaveLength(4);
    service.seen.length = 0;
    await failure(client.service.info({ retry: false }));
    expect(service.seen).toHaveLength(1);
  });

  it('wait as long as Retry-After says, and fail at once when that is too long', async () => {
    failFirst(1, status(429, { 'retry-after': '1' }));
    const before = performance.now();
    await client.service.info();
    expect(performance.now() - before).toBeGreaterThanOrEqual(990);
    service.seen.length = 0;
    failFirst(1, status(429, { 'retry-after': '3600' }));
    expect(await failure(client.service.info())).toMatchObject({ code: 'HTTP_429', retryAfterMs: 3_600_000 });
  });

  it('end in a timeout when no answer comes', async () => {
    service.intercept(() => true);
    expect(await failure(client.service.info({ timeoutMs: 30, retry: { ...fast, attempts: 2 } }))).toMatchObject({ kind: 'timeout', code: 'TIMEOUT' });
    expect(service.seen).toHaveLength(2);
  });

  it('end at once when they are aborted: under way, between attempts, before they began', async () => {
    service.intercept(() => true);
    const controller = new AbortController();
    const pending = failure(client.service.info({ signal: controller.signal }));
    await waitFor(() => service.seen.length === 1);
    controller.abort(new Error('changed my mind'));
    expect(await pending).toMatchObject({ kind: 'aborted', cause: new Error('changed my mind') });

    failFirst(99, status(503));
    const second = new AbortController();
    const waiting = failure(client.service.info({ signal: second.signal, retry: { baseMs: 60_000, maxMs: 60_000 } }));
    await waitFor(() => service.seen.length === 2);
    second.abort();
    expect(await waiting).toMatchObject({ kind: 'aborted' });

    expect(await failure(client.service.info({ signal: AbortSignal.abort() }))).toMatchObject({ kind: 'aborted' });
    expect(service.seen).toHaveLength(2);
  });
});

describe('mutations', () => {
  it('carry one idempotency key over all attempts, and another one in the next call', async () => {
    failFirst(2, cut);
    const { backup, job } = await client.backups.create({ instanceId: 'ins_1', name: 'x' });
    expect([backup.id, job.id]).toEqual(['bak_new', 'job_new']);
    await client.backups.create({ instanceId: 'ins_1', name: 'x' });
    const keys = service.seen.map(({ variables }) => (variables['input'] as { idempotencyKey: string }).idempotencyKey);
    expect(keys[0]).toMatch(/^sdk-[0-9a-f]{32}$/);
    expect(keys[1]).toBe(keys[0]);
    expect(keys[2]).toBe(keys[0]);
    expect(keys[3]).not.toBe(keys[0]);
  });

  it('take the caller\'s key', async () => {
    await client.backups.create({ instanceId: 'ins_1', name: 'x' }, { idempotencyKey: 'nightly-1' });
    expect(service.seen[0]?.variables['input']).toEqual({ instanceId: 'ins_1', name: 'x', idempotencyKey: 'nightly-1' });
  });

  /** Every mutation of the client, called with these options. */
  const everyMutation = (options?: { idempotencyKey: string }): Record<string, (sdk: Client) => Promise<unknown>> => ({
    'instances.register': (sdk) => sdk.instances.register({ name: 'n', host: 'h' }, options),
    'instances.update': (sdk) => sdk.instances.update({ instanceId: 'ins_1' }, options),
    'instances.remove': (sdk) => sdk.instances.remove('ins_1', options),
    'instances.probe': (sdk) => sdk.instances.probe('ins_1', options),
    'policies.set': (sdk) => sdk.policies.set({ instanceId: 'ins_1' }, options),
    'backups.create': (sdk) => sdk.backups.create({ instanceId: 'ins_1', name: 'n' }, options),
    'backups.verify': (sdk) => sdk.backups.verify('bak_1', options),
    'backups.inspect': (sdk) => sdk.backups.inspect('bak_1', options),
    'backups.delete': (sdk) => sdk.backups.delete('bak_1', options),
    'backups.link': (sdk) => sdk.backups.link('bak_1', { ...options, singleUse: true }),
    'backups.revokeLinks': (sdk) => sdk.backups.revokeLinks('bak_1', options),
    'restores.plan': (sdk) => sdk.restores.plan({ backupId: 'bak_1', instanceId: 'ins_1' }, options),
    'restores.run': (sdk) => sdk.restores.run('rpl_1', { ...options, confirmation: 'n' }),
    'jobs.cancel': (sdk) => sdk.jobs.cancel('job_1', options),
    'projects.create': (sdk) => sdk.projects.create({ name: 'n' }, options),
    'apiKeys.create': (sdk) => sdk.apiKeys.create({ name: 'n', role: 'VIEWER' }, options),
    'apiKeys.revoke': (sdk) => sdk.apiKeys.revoke('key_1', options),
  });

  it('are all of them known to this test', () => {
    const { service: _service, ...nouns } = connect();
    const mutations = Object.entries(nouns).flatMap(([noun, calls]) =>
      typeof calls === 'object' ? Object.keys(calls).filter((name) => name.startsWith('try')).map((name) => `${noun}.${name.charAt(3).toLowerCase()}${name.slice(4)}`) : []);
    expect(Object.keys(everyMutation()).sort()).toEqual(mutations.sort());
  });

  it.each(Object.keys(everyMutation()))('%s is sent again with its key when the connection was cut, whoever chose the key', async (name) => {
    const sent = async (options?: { idempotencyKey: string }): Promise<unknown[]> => {
      service.seen.length = 0;
      failFirst(2, cut);
      await everyMutation(options)[name]?.(client).catch(() => undefined); // What it is answered with is not the point.
      return service.seen.map(({ variables }) => (variables['input'] as { idempotencyKey?: string }).idempotencyKey);
    };
    const own = await sent();
    expect(own).toEqual([own[0], own[0], own[0]]);
    expect(own[0]).toMatch(/^sdk-[0-9a-f]{32}$/);
    expect(await sent({ idempotencyKey: 'mine' })).toEqual(['mine', 'mine', 'mine']);
  });

  it('throw user errors, with the job that is in the way', async () => {
    const error = await failure(client.backups.create({ instanceId: 'ins_1', name: 'busy' }));
    expect(error).toMatchObject({ name: 'UserInputError', kind: 'user_input', code: 'INSTANCE_BUSY', jobId: 'job_running', retryable: true });
    expect(error.userErrors).toHaveLength(1);
    expect(service.seen).toHaveLength(1);
  });

  it('give user errors back under their names with try, and throw all else', async () => {
    expect(await client.backups.tryCreate({ instanceId: 'ins_1', name: 'x' })).toMatchObject({ ok: true, value: { backup: { id: 'bak_new' } } });
    const outcome = await client.backups.tryCreate({ instanceId: 'ins_1', name: 'busy' });
    if (outcome.ok) throw new Error('The instance was busy.');
    expect(outcome.error).toMatchObject({ name: 'UserInputError', jobId: 'job_running', userErrors: [{ code: 'INSTANCE_BUSY' }] });
    service.intercept((_, response) => {
      status(500)(response);
      return true;
    });
    expect(await failure(client.backups.tryCreate({ instanceId: 'ins_1', name: 'x' }))).toMatchObject({ code: 'HTTP_500' });
  });

  it('that bring neither objects nor errors are refused', async () => {
    expect(await failure(client.jobs.cancel('job_1'))).toMatchObject({ kind: 'protocol', code: 'UNEXPECTED_ANSWER' });
  });
});

describe('every call', () => {
  const OPTIONS = { timeoutMs: 20_000, idempotencyKey: 'mine', retry: false, headers: { 'x-trace': 't1' } } as const;
  type Options = typeof OPTIONS & { signal?: AbortSignal };
  const CALLS: Record<string, (options: Options) => Promise<unknown>> = {
    'instances.register': (options) => client.instances.register({ name: 'n', host: 'h' }, options),
    'instances.list': (options) => client.instances.list({}, options).first(),
    'instances.get': (options) => client.instances.get('ins_1', options),
    'instances.update': (options) => client.instances.update({ instanceId: 'ins_1' }, options),
    'instances.remove': (options) => client.instances.remove('ins_1', options),
    'instances.probe': (options) => client.instances.probe('ins_1', options),
    'instances.slots': (options) => client.instances.slots('ins_1', {}, options).first(),
    'instances.recovery': (options) => client.instances.recovery('ins_1', options),
    'policies.get': (options) => client.policies.get('ins_1', options),
    'policies.set': (options) => client.policies.set({ instanceId: 'ins_1' }, options),
    'backups.create': (options) => client.backups.create({ instanceId: 'ins_1', name: 'n' }, options),
    'backups.list': (options) => client.backups.list({}, options).toArray({ limit: 1 }),
    'backups.retentionPreview': (options) => client.backups.retentionPreview({}, options).first(),
    'backups.get': (options) => client.backups.get('bak_1', options),
    'backups.verify': (options) => client.backups.verify('bak_1', options),
    'backups.inspect': (options) => client.backups.inspect('bak_1', options),
    'backups.inspection': (options) => client.backups.inspection('bak_1', options),
    'backups.keys': (options) => client.backups.keys('bak_1', {}, options).first(),
    'backups.delete': (options) => client.backups.delete('bak_1', options),
    'backups.watch': (options) => client.backups.watch('bak_1', options).next(),
    'backups.wait': (options) => client.backups.wait('bak_1', options),
    'backups.link': (options) => client.backups.link('bak_1', options),
    'backups.revokeLinks': (options) => client.backups.revokeLinks('bak_1', options),
    'backups.download': (options) => client.backups.download('bak_1', options),
    'restores.plan': (options) => client.restores.plan({ backupId: 'bak_1', instanceId: 'ins_1' }, options),
    'restores.getPlan': (options) => client.restores.getPlan('rpl_1', options),
    'restores.run': (options) => client.restores.run('rpl_1', { ...options, confirmation: 'n' }),
    'restores.list': (options) => client.restores.list({}, options).first(),
    'restores.get': (options) => client.restores.get('rst_1', options),
    'restores.watch': (options) => client.restores.watch('rst_1', options).next(),
    'restores.wait': (options) => client.restores.wait('rst_1', options),
    'jobs.get': (options) => client.jobs.get('job_1', options),
    'jobs.list': (options) => client.jobs.list({}, options).first(),
    'jobs.cancel': (options) => client.jobs.cancel('job_1', options),
    'projects.list': (options) => client.projects.list({}, options).first(),
    'projects.create': (options) => client.projects.create({ name: 'n' }, options),
    'apiKeys.list': (options) => client.apiKeys.list({}, options).first(),
    'apiKeys.create': (options) => client.apiKeys.create({ name: 'n', role: 'VIEWER' }, options),
    'apiKeys.revoke': (options) => client.apiKeys.revoke('key_1', options),
    'audit.list': (options) => client.audit.list({}, options).first(),
    'service.info': (options) => client.service.info(options),
    'service.viewer': (options) => client.service.viewer(options),
    viewer: (options) => client.viewer(options),
    execute: (options) => client.execute('{ service { version } }', {}, options),
  };
  /** Over sockets alone: they are tested with the watches. */
  const STREAMS = ['jobs.watch', 'jobs.wait', 'jobs.events', 'subscribe'];

  it('is known to this test', () => {
    const own = Object.entries(connect()).flatMap(([name, noun]) => (typeof noun === 'function' ? [name] : Object.keys(noun).filter((call) => !call.startsWith('try')).map((call) => `${name}.${call}`)));
    expect([...Object.keys(CALLS), ...STREAMS, 'close'].sort()).toEqual(own.sort());
  });

  it.each(Object.keys(CALLS))('takes its options: %s', async (name) => {
    const ended: unknown[] = [];
    const call = async (options: Options): Promise<SnapbackError> => failure(CALLS[name]?.(options) ?? Promise.reject(new Error('No such call.')));
    // Its headers, and no retry.
    service.intercept((_, response) => {
      status(503)(response);
      return true;
    });
    expect(await call(OPTIONS)).toMatchObject({ code: 'HTTP_503' });
    expect(service.seen).toHaveLength(1);
    expect(service.seen[0]?.headers).toMatchObject({ 'x-trace': 't1' });
    // Its signal, while no answer comes.
    service.intercept((_, response) => {
      response.on('close', () => ended.push(response));
      return true;
    });
    const controller = new AbortController();
    const pending = call({ ...OPTIONS, signal: controller.signal });
    await waitFor(() => service.seen.length === 2);
    controller.abort();
    expect(await pending).toMatchObject({ kind: 'aborted' });
    await waitFor(() => ended.length === 1);
    // Its time.
    expect(await call({ ...OPTIONS, timeoutMs: 20 as 20_000 })).toMatchObject({ kind: 'timeout' });
  });
});

describe('own documents', () => {
  it('may be plain texts', async () => {
    expect(await client.execute('{ service { version } }', {})).toEqual({ service: { version: '1.2.3' } });
  });

  it('are retried as mutations only with a key', async () => {
    const document = new TypedDocumentString<{ backupNow: { job: { id: string } } }, { input: object }>(
      'mutation Own($input: BackupNowInput!) { backupNow(input: $input) { job { id } } }',
    );
    const variables = { input: { instanceId: 'ins_1', name: 'x' } };
    failFirst(1, status(502));
    expect(await failure(client.execute(document, variables))).toMatchObject({ code: 'HTTP_502' });
    service.seen.length = 0;
    expect(await client.execute(document, variables, { idempotencyKey: 'k' })).toEqual({ backupNow: { job: { id: 'job_new' } } });
    expect(service.seen.map((request) => request.variables)).toEqual([1, 2].map(() => ({ input: { ...variables.input, idempotencyKey: 'k' } })));
  });

  it('that are subscriptions belong into subscribe', async () => {
    await expect(client.execute('subscription { jobEvents { cursor } }', {})).rejects.toThrow(TypeError);
  });
});

describe('errors', () => {
  it('of the service carry code, hint and request id', async () => {
    expect(await failure(connect({ token: 'sb_wrong' }).service.info())).toMatchObject({
      kind: 'graphql', code: 'UNAUTHENTICATED', hint: 'Send a key.', status: 401, requestId: 'req-1', retryable: false,
    });
    expect(service.seen).toHaveLength(1);
  });

  it('of a resolver are kind graphql and not retried', async () => {
    expect(await failure(client.viewer())).toMatchObject({ kind: 'graphql', code: 'INTERNAL', requestId: 'req-1' });
    expect(service.seen).toHaveLength(1);
  });

  it('of something that is not the service say so', async () => {
    service.intercept((_, response) => {
      response.writeHead(200, { 'content-type': 'text/html' }).end('<html>hello</html>');
      return true;
    });
    expect(await failure(client.service.info())).toMatchObject({ kind: 'http', code: 'UNEXPECTED_ANSWER' });
  });

  it('of a closed port are kind network', async () => {
    expect(await failure(createClient({ url: 'http://127.0.0.1:1', token: TOKEN, retry: false }).service.info())).toMatchObject({ kind: 'network', code: 'NETWORK' });
  });

  it('never show the token or variables, however deep one looks', async () => {
    const secret = 'sb_very-secret-token';
    const errors = [
      await failure(createClient({ url: 'http://127.0.0.1:1', token: secret, retry: false }).instances.register({ name: 'n', host: 'h', password: secret })),
      await failure(connect({ token: secret }).instances.register({ name: 'n', host: 'h', password: secret })),
      await failure(client.instances.register({ name: 'n', host: 'h', password: secret, port: secret as unknown as number })),
      await connect({ token: `${secret}\n` }).service.info().catch((error: unknown) => error),
      await connect({ headers: { 'x-secret': `${secret}\u0000` } }).service.info().catch((error: unknown) => error),
    ];
    for (const error of errors) {
      expect(error).toBeInstanceOf(Error);
      expect(inspect(error, { depth: 20, showHidden: true })).not.toContain(secret);
    }
  });

  it('of wrong options come at once', () => {
    expect(() => createClient({ url: 'ftp://x', token: TOKEN })).toThrow(TypeError);
    expect(() => createClient({ url: 'http://user:pass@x', token: TOKEN })).toThrow(/user name or password/);
  });
});

describe('a token function', () => {
  it('is asked once for calls at the same time, and for those after', async () => {
    let calls = 0;
    const lasting = connect({ token: async () => { calls += 1; return TOKEN; } });
    await Promise.all([lasting.service.info(), lasting.service.info(), lasting.backups.get('bak_1')]);
    await lasting.service.info();
    expect(calls).toBe(1);
  });

  it('is asked once more when the service refuses its token, for all calls that were refused, also for mutations that are not repeated', async () => {
    const events: ClientEvent[] = [];
    let calls = 0;
    const rotating = connect({ token: () => { calls += 1; return calls === 1 ? 'sb_old' : TOKEN; }, onEvent: (event) => events.push(event) });
    await Promise.all([...Array.from({ length: 5 }, () => rotating.service.info()), rotating.execute('mutation { backupNow(input: { instanceId: "ins_1", name: "x" }) { job { id } } }', {})]);
    expect(calls).toBe(2);
    expect(service.seen).toHaveLength(12);
    expect(events.filter(({ type }) => type === 'token')).toHaveLength(1);
  });

  it('that has nothing better fails its calls, and is asked anew by later ones', async () => {
    let calls = 0;
    const stuck = connect({ token: () => { calls += 1; return 'sb_old'; } });
    expect(await failure(stuck.service.info())).toMatchObject({ code: 'UNAUTHENTICATED', retryable: false });
    expect([calls, service.seen.length]).toEqual([2, 1]);
    await failure(stuck.service.info());
    expect(calls).toBe(3);
  });

  it('may fail, which calls then do with its own error, and may take no longer than a call', async () => {
    let calls = 0;
    const flaky = connect({
      token: () => {
        calls += 1;
        if (calls === 1) throw new RangeError('the vault is shut');
        return TOKEN;
      },
    });
    await expect(flaky.service.info()).rejects.toThrow(new RangeError('the vault is shut'));
    expect((await flaky.service.info()).version).toBe('1.2.3');
    expect(await failure(connect({ token: () => new Promise<string>(() => undefined) }).service.info({ timeoutMs: 30, retry: false }))).toMatchObject({ kind: 'timeout' });
  });
});

describe('onEvent', () => {
  it('is told of each attempt and each repetition, and ends nothing by what it throws', async () => {
    const events: ClientEvent[] = [];
    failFirst(1, status(503));
    await connect({ onEvent: (event) => { events.push(event); throw new Error('mine'); } }).service.info();
    expect(events).toMatchObject([
      { type: 'request', operation: 'ServiceInfo', attempt: 1, status: 503, error: { code: 'HTTP_503' } },
      { type: 'retry', operation: 'ServiceInfo', attempt: 1, error: { code: 'HTTP_503' } },
      { type: 'request', operation: 'ServiceInfo', attempt: 2, status: 200, requestId: 'req-2' },
    ]);
    expect(inspect(events, { depth: 20, showHidden: true })).not.toContain(TOKEN);
  });
});
