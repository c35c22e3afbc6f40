import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { startRedis, type RedisServer } from '../../kit/redis.js';
import { startService, type TestService } from '../../kit/service.js';

/** What the service does by itself, every so often: the clock's rows, the passes of the net and of the upkeep. */
const BACKGROUND = /agenda_jobs|clock_timestamp\(\) AS now|service_settings|service_locks|slots|next_run_at" (<=|BETWEEN)|late_since IS NOT NULL|notices|not_before <=|lease_until <=|expires_at < |idempotency_keys/;

/** Statements on the service's tables while `work` runs: not those of the background that are known, nor what opens and ends transactions. */
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

/** The fewest of a few runs: what else the process does, such as the end of a job that has just been waited for, only ever adds some. */
const statements = async (work: () => Promise<unknown>): Promise<string[]> => {
  const runs = [await seenDuring(work), await seenDuring(work), await seenDuring(work)];
  return runs.reduce((fewest, run) => (run.length < fewest.length ? run : fewest));
};

describe('statements of a list', () => {
  let service: TestService;
  let server: RedisServer;
  beforeAll(async () => {
    [service, server] = await Promise.all([startService(), startRedis()]);
    const { id } = await service.sdk.instances.register({ name: 'server', host: server.host, port: server.port });
    for (let i = 0; i < 6; i += 1) await service.sdk.backups.wait(await service.sdk.backups.create({ instanceId: id, name: `b${i}` }));
  });
  afterAll(async () => {
    await Promise.all([service?.stop(), server?.stop()]);
  });

  const list = async (first: number, fields: string): Promise<number> => {
    const response = await fetch(`${service.url}/graphql`, {
      method: 'POST', headers: { 'content-type': 'application/json', authorization: `Bearer ${service.key}` },
      body: JSON.stringify({ query: `{ backups(first: ${first}) { nodes { ${fields} } } }` }),
    });
    const body = (await response.json()) as { data?: { backups: { nodes: unknown[] } }; errors?: unknown };
    if (!body.data) throw new Error(JSON.stringify(body));
    return body.data.backups.nodes.length;
  };

  it('do not grow with its rows, and are at most three besides the key and what hangs on them', async () => {
    const plain = await statements(async () => expect(await list(6, 'id name state retainedBecause')).toBe(6));
    const [auth, own] = [plain.filter((text) => text.includes('api_keys')), plain.filter((text) => !text.includes('api_keys'))];
    expect(auth).toHaveLength(1);
    expect(own.length, own.join('\n')).toBeGreaterThanOrEqual(1);
    expect(own.length, own.join('\n')).toBeLessThanOrEqual(3);
    const deep = 'id instance { id name policy { id } } job { id state }';
    const one = await statements(() => list(1, deep));
    const six = await statements(() => list(6, deep));
    expect(six.length, six.join('\n')).toBe(one.length);
    // List, what retains them, instances, policies, jobs, and the key.
    expect(six.length, six.join('\n')).toBeLessThanOrEqual(6);
  });
});
