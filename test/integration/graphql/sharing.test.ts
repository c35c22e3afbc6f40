import { afterEach, describe, expect, it } from 'vitest';
import { type Principal } from '../../../server/domain/principal.js';
import { DomainError } from '../../../server/domain/errors.js';
import { makeGuard } from '../../../server/graphql/guard.js';
import { type Answers, type Live, makeLive } from '../../../server/graphql/live.js';
import { buildServedSchema } from '../../../server/graphql/schema.js';
import { type Services } from '../../../server/services/api.js';
import { type JobEventRecord } from '../../../server/services/records.js';
import { fakeServices } from './edge.js';
import { event, instance, job, PROJECT } from './records.js';

const BASE: Principal = { credential: 'API_KEY', keyId: 'key_1', name: 'one', projectId: PROJECT, role: 'VIEWER', serviceWide: false, instanceIds: null, expiresAt: null };
const QUERY = 'subscription ($id: ID!, $after: Int, $deep: Boolean = true) { jobProgress(jobId: $id, afterSequence: $after) { sequence job { id instance @include(if: $deep) { name } } } }';

let built: ReturnType<typeof buildServedSchema> | undefined;

/** The same events for everybody who asks, and how often what hangs on them was read, and for whom. */
const scene = async (over: { read?: (caller: Principal) => void } = {}) => {
  const running = job({ instanceId: instance().id });
  const events = [event(running, 1), event(running, 2)];
  const readFor: Principal[] = [];
  const log: string[] = [];
  const services = fakeServices({
    jobs: {
      progress: async () => (async function* () {
        yield* events;
      })() as AsyncIterableIterator<JobEventRecord>,
    },
    instances: {
      getMany: async (caller, ids) => {
        readFor.push(caller as Principal);
        over.read?.(caller as Principal);
        return ids.map((id) => ({ ...instance({ id }), name: `read ${readFor.length}` }));
      },
    },
  }) as Services;
  const schema = await (built ??= buildServedSchema());
  const line = (message: string): void => void log.push(message);
  const live = makeLive({ schema, services, guard: makeGuard({ schema, authenticate: async () => undefined }), log: { info: line, warn: line, error: line } });
  return { live, running, readFor, log };
};

const begin = async (live: Live, caller: Principal, variables: Record<string, unknown>, query = QUERY): Promise<Answers> => {
  const begun = await live.begin(caller, { query, variables }, `request of ${caller.keyId}`);
  if (!('answers' in begun)) throw new Error(JSON.stringify(begun));
  opened.push(begun.answers);
  return begun.answers;
};
const opened: Answers[] = [];
afterEach(async () => {
  for (const answers of opened.splice(0)) await answers.return?.();
});
const text = async (answers: Answers): Promise<string> => (await answers.next()).value as string;

describe('an event that many subscribe to', () => {
  it('is executed and serialised once for all who may see the same, whoever they are and wherever they began', async () => {
    const { live, running, readFor } = await scene();
    const all = await Promise.all(Array.from({ length: 50 }, (_, at) => begin(live, { ...BASE, keyId: `key_${at}`, name: `caller ${at}`, from: `10.0.0.${at}`, expiresAt: at % 2 ? new Date() : null }, { id: running.id, after: at })));
    const firsts = await Promise.all(all.map(text));
    expect(new Set(firsts).size).toBe(1);
    expect(JSON.parse(firsts[0] ?? '')).toEqual({ data: { jobProgress: { sequence: 1, job: { id: running.id, instance: { name: 'read 1' } } } } });
    // What hangs on a job is read anew for each event, and once for each.
    expect(JSON.parse(await text(all[0] as Answers))).toMatchObject({ data: { jobProgress: { sequence: 2, job: { instance: { name: 'read 2' } } } } });
    expect(readFor).toHaveLength(2);
    // Whoever comes when all of these have it gets it too.
    expect(await text(await begin(live, BASE, { id: running.id }))).toBe(firsts[0]);
    expect(readFor).toHaveLength(2);
  });

  it('is executed by itself for each who may see something else, or asks for something else', async () => {
    const { live, running, readFor } = await scene();
    const id = running.id;
    const callers: Principal[] = [
      BASE, { ...BASE, role: 'OPERATOR' }, { ...BASE, role: 'ADMIN' }, { ...BASE, role: 'ADMIN', serviceWide: true }, { ...BASE, projectId: 'prj_other' },
      { ...BASE, instanceIds: [] }, { ...BASE, instanceIds: ['ins_a'] }, { ...BASE, instanceIds: ['ins_b'] }, { ...BASE, instanceIds: ['ins_a', 'ins_b'] },
    ];
    const texts = await Promise.all(callers.map(async (caller) => text(await begin(live, caller, { id }))));
    expect(new Set(texts).size).toBe(callers.length);
    expect(readFor.map(({ role, projectId, instanceIds, serviceWide }) => JSON.stringify({ role, projectId, instanceIds, serviceWide })).sort())
      .toEqual(callers.map(({ role, projectId, instanceIds, serviceWide }) => JSON.stringify({ role, projectId, instanceIds, serviceWide })).sort());
    // The order of a key's instances is nothing that it may see.
    await text(await begin(live, { ...BASE, instanceIds: ['ins_b', 'ins_a'] }, { id }));
    expect(readFor).toHaveLength(callers.length);

    const shallow = await text(await begin(live, BASE, { id, deep: false }));
    expect(JSON.parse(shallow)).toEqual({ data: { jobProgress: { sequence: 1, job: { id } } } });
    const other = QUERY.replace('sequence job', 'kind job');
    expect(JSON.parse(await text(await begin(live, BASE, { id }, other)))).toMatchObject({ data: { jobProgress: { kind: 'PROGRESS' } } });
  });

  it('is shared by nobody when it went wrong: each is told by itself, under an id of its own', async () => {
    let refusals = 0;
    const { live, running, readFor, log } = await scene({
      read: () => {
        refusals += 1;
        throw refusals % 2 ? new DomainError('FORBIDDEN', 'Not for you.') : new Error('secret');
      },
    });
    const callers = [1, 2, 3, 4].map((at) => ({ ...BASE, keyId: `key_${at}` }));
    const texts = await Promise.all(callers.map(async (caller) => text(await begin(live, caller, { id: running.id }))));
    expect(readFor.map(({ keyId }) => keyId).sort()).toEqual(callers.map(({ keyId }) => keyId));
    for (const [at, answer] of texts.entries()) {
      expect(JSON.parse(answer)).toMatchObject({ errors: [{ extensions: { requestId: `request of key_${at + 1}` } }], data: { jobProgress: { job: { instance: null } } } });
      expect(answer).not.toContain('secret');
    }
    expect(log).toHaveLength(2);
  });
});
