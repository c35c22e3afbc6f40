import { connect, type Socket } from 'node:net';
import { once } from 'node:events';
import { afterAll, describe, expect, test } from 'vitest';
import { DomainError } from '../../../server/domain/errors.js';
import { type Endpoint } from '../../../server/engine/ports.js';
import { type SyncDelayHold, type SyncDelayRecorder } from '../../../server/engine/source/sync-delay/hold.js';
import { settleSyncDelay } from '../../../server/engine/source/sync-delay/put-back.js';
import { bulk, startFakeServer } from '../../kit/fake-server.js';
import { startRedis, type RedisServer, type RedisServerOptions } from '../../kit/redis.js';
import { waitFor } from '../../kit/wait.js';
import { backUp, dial, makeShelf, quiet, type Attempt, type Source } from './kit.js';

const servers: { stop(): Promise<void> }[] = [];
const sockets: Socket[] = [];
afterAll(async () => {
  for (const socket of sockets) socket.destroy();
  await Promise.all(servers.map((server) => server.stop()));
});

/** With a delay that no test waits for, however long it takes, unless the options say otherwise. */
const start = async ({ config, ...options }: RedisServerOptions = {}): Promise<RedisServer> => {
  const server = await startRedis({ config: { 'repl-diskless-sync-delay': '60', rdbcompression: 'no', ...config }, ...options });
  servers.push(server);
  await server.cli('SET', 'key', 'value');
  return server;
};
const runIdOf = async (server: RedisServer): Promise<string> => /run_id:(\w+)/.exec(await server.cli('INFO', 'server'))?.[1] ?? '';
const sourceOf = async (server: RedisServer): Promise<Source> => ({ host: server.host, port: server.port, runId: await runIdOf(server) });
const delayOf = async (server: RedisServer): Promise<string> => (await server.cli('CONFIG', 'GET', 'repl-diskless-sync-delay')).split('\n')[1] ?? '';
const setDelay = (server: RedisServer, seconds: number): Promise<string> => server.cli('CONFIG', 'SET', 'repl-diskless-sync-delay', String(seconds));
/** How often anybody has changed a setting there, the test included. */
const changes = async (server: RedisServer): Promise<number> => Number(/cmdstat_config\|set:calls=(\d+)/.exec(await server.cli('INFO', 'commandstats'))?.[1] ?? 0);

/** A replica that follows. */
const startReplica = async (master: RedisServer): Promise<void> => {
  servers.push(await startRedis({ replicaOf: master }));
  await waitFor(async () => (await master.cli('INFO', 'replication')).includes('state=online'), { message: 'the replica to follow' });
};

/** Somebody's replica, attached and waiting. */
const attachReplica = async ({ port }: RedisServer): Promise<void> => {
  const socket = connect(port, '127.0.0.1').on('error', () => undefined);
  sockets.push(socket);
  await once(socket, 'connect');
  socket.resume().write('PSYNC ? -1\r\n');
};

/** The memory of one catalogue; what is done at it is told to the test. */
const createBook = (onCall: (call: string, nth: number) => Promise<void> | void = () => undefined) => {
  const holds = new Map<string, SyncDelayHold>();
  const calls: string[] = [];
  const called = async (call: string): Promise<void> => {
    calls.push(call);
    await onCall(call, calls.filter((other) => other === call).length);
  };
  const recorder = (): SyncDelayRecorder => {
    let runId = '';
    return {
      async take(hold) {
        await called('take');
        if (holds.has(hold.runId)) return false;
        holds.set(hold.runId, hold);
        ({ runId } = hold);
        return true;
      },
      assertHeld: () => called('assertHeld'),
      async release() {
        await called('release');
        holds.delete(runId);
      },
    };
  };
  return { holds, calls, recorder };
};

/** One backup into a store of its own, with the notices that it gave. */
const skipping = async (source: Source, book: ReturnType<typeof createBook>, attempt: Attempt = {}) => {
  const notices: { code: string; message: string }[] = [];
  const phases: string[] = [];
  const shelf = await makeShelf();
  const begun = performance.now();
  const outcome = await backUp(source, shelf, {
    ...attempt, deps: { syncDelay: book.recorder() },
    onProgress: (progress) => {
      if (progress.kind === 'notice') notices.push(progress);
      if (progress.kind === 'phase') phases.push(progress.phase);
      attempt.onProgress?.(progress);
    },
  }).then((result) => ({ result, error: undefined }), (error: unknown) => ({ result: undefined, error })).finally(() => shelf.remove());
  return { ...outcome, notices, codes: notices.map(({ code }) => code), phases, ms: performance.now() - begun };
};

/** As another node does it. */
const settle = (hold: SyncDelayHold, { host, port, username, password }: Omit<Endpoint, 'tls'>, assertHeld: () => Promise<void> = () => Promise.resolve()) =>
  settleSyncDelay(hold, { host, port, username, password }, { dial, log: quiet, assertHeld });

/** Keeps the server from saving for a replica, until `free`: another child is at work. It takes what the server holds with it. */
const occupy = async (server: RedisServer): Promise<{ free: () => Promise<string> }> => {
  await server.cli('CONFIG', 'SET', 'rdb-key-save-delay', '60000000');
  await server.cli('BGSAVE');
  await server.cli('CONFIG', 'SET', 'rdb-key-save-delay', '0');
  return { free: () => server.cli('FLUSHALL') };
};
const isSaving = async (server: RedisServer): Promise<boolean> => (await server.cli('INFO', 'persistence')).includes('rdb_bgsave_in_progress:1');

describe.concurrent('skipping the delay of a server', () => {
  test('takes it away after it was written down, and puts it back before the backup is over; the note goes last', async () => {
    const server = await start();
    const before = await changes(server);
    const seen: string[] = [];
    const book = createBook(async (call, nth) => void seen.push(`${call} ${nth}: ${await delayOf(server)}`));
    const { result, codes, notices, ms } = await skipping(await sourceOf(server), book);
    expect(result?.summary.keys).toBe(1n);
    // Before the change, after it, before it is put back, and when it is.
    expect(seen).toEqual(['take 1: 60', 'assertHeld 1: 60', 'assertHeld 2: 0', 'assertHeld 3: 0', 'release 1: 60']);
    expect(book.holds.size).toBe(0);
    expect(await changes(server)).toBe(before + 2);
    expect(await delayOf(server)).toBe('60');
    expect(codes).toEqual(['SYNC_DELAY_SKIPPED']);
    expect(notices[0]?.message).toMatch(new RegExp(`^The repl-diskless-sync-delay of 127.0.0.1:${server.port} was 0 instead of 60 for \\d+ ms, and is 60 again\\.$`));
    expect(ms).toBeLessThan(40_000);
  });

  test('puts it back as soon as the server has begun to save, long before it has sent everything', async () => {
    const server = await start();
    await server.cli('DEBUG', 'POPULATE', '1000', 'key', '1000');
    await server.cli('CONFIG', 'SET', 'rdb-key-save-delay', '60000');
    const book = createBook();
    const cancel = new AbortController();
    const backup = skipping(await sourceOf(server), book, { signal: cancel.signal });
    await waitFor(() => book.calls.includes('release'), { message: 'the delay to be put back' });
    expect([await delayOf(server), await isSaving(server)]).toEqual(['60', true]);
    cancel.abort(new DomainError('INTERRUPTED', 'seen enough'));
    expect((await backup).codes).toEqual(['SYNC_DELAY_SKIPPED']);
  });

  test('holds it no longer than the server itself would have waited', async () => {
    const server = await start({ config: { 'repl-diskless-sync-delay': '1' } });
    const { free } = await occupy(server);
    const book = createBook();
    const backup = skipping(await sourceOf(server), book);
    await waitFor(() => book.calls.includes('release'), { message: 'the delay to be put back' });
    expect([await delayOf(server), await isSaving(server)]).toEqual(['1', true]);
    await free();
    expect(await backup).toMatchObject({ codes: ['SYNC_DELAY_SKIPPED'], error: undefined });
  });

  test('leaves what somebody else has set in between, whenever that was', async () => {
    const server = await start();
    const source = await sourceOf(server);
    // While it was ours.
    const { free } = await occupy(server);
    const book = createBook();
    const backup = skipping(source, book);
    await waitFor(async () => (await delayOf(server)) === '0');
    await setDelay(server, 3);
    await free();
    const late = await backup;
    expect(late.codes).toEqual(['SYNC_DELAY_LEFT_ALONE']);
    expect(late.notices[0]?.message).toContain('to 3 meanwhile');
    expect([await delayOf(server), book.holds.size]).toEqual(['3', 0]);

    // Between the look and the change.
    await setDelay(server, 2);
    const early = createBook(async (call, nth) => {
      if (call === 'assertHeld' && nth === 1) await setDelay(server, 1);
    });
    expect((await skipping(source, early)).codes).toEqual(['SYNC_DELAY_KEPT', 'SYNC_DELAY_LEFT_ALONE']);
    expect([await delayOf(server), early.holds.size]).toEqual(['1', 0]);
  });
});

describe.concurrent('the delay stays', () => {
  test('while replicas are attached, which the job says', async () => {
    const server = await start({ config: { 'repl-diskless-sync-delay': '1' } });
    await startReplica(server);
    const before = await changes(server);
    const book = createBook();
    const { codes, notices, result } = await skipping(await sourceOf(server), book);
    expect(result?.summary.keys).toBe(1n);
    expect(codes).toEqual(['SYNC_DELAY_KEPT']);
    expect(notices[0]?.message).toContain('1 replica is attached');
    expect([book.calls, await changes(server), await delayOf(server)]).toEqual([[], before, '1']);
  });

  test('when one attaches at that moment: it is put back before the backup asks for anything', async () => {
    const server = await start({ config: { 'repl-diskless-sync-delay': '1' } });
    const book = createBook(async (call, nth) => {
      if (call !== 'assertHeld' || nth !== 2) return;
      await attachReplica(server);
      await waitFor(async () => (await server.cli('INFO', 'replication')).includes('connected_slaves:1'));
    });
    const { codes, phases, notices } = await skipping(await sourceOf(server), book, {
      onProgress: (progress) => {
        if (progress.kind === 'phase' && progress.phase === 'SNAPSHOTTING') expect(book.calls.at(-1)).toBe('release');
      },
    });
    expect(codes).toEqual(['SYNC_DELAY_KEPT']);
    expect(notices[0]?.message).toContain('replica is attached');
    expect(phases).toContain('SNAPSHOTTING');
    expect([await delayOf(server), book.holds.size]).toEqual(['1', 0]);
  });

  test.each([
    ['repl-diskless-sync', 'no', 'disk first'], ['repl-diskless-sync-delay', '0', 'it is 0'], ['repl-diskless-sync-max-replicas', '1', 'one replica only'],
  ])('where there is none: %s %s', async (name, value, because) => {
    const server = await start({ config: { [name]: value } });
    const before = await changes(server);
    const book = createBook();
    const { codes, notices, result } = await skipping(await sourceOf(server), book);
    expect(result?.summary.keys).toBe(1n);
    expect(codes).toEqual(['SYNC_DELAY_NONE']);
    expect(notices[0]?.message).toContain(because);
    expect([book.calls, await changes(server)]).toEqual([[], before]);
  });

  test.each([
    ['config|get', [] as string[]], ['config|set', ['take', 'assertHeld', 'release']],
  ])('where the user lacks the right to %s, and nothing is left in mind', async (right, calls) => {
    const others = ['info', 'psync', 'replconf', 'config|get', 'config|set'].filter((one) => one !== right).map((one) => `+${one}`).join(' ');
    const server = await start({ config: { 'repl-diskless-sync-delay': '1' }, acl: [`default on nopass ~* &* +@all`, `backup on >secret -@all ${others}`] });
    const book = createBook();
    const { codes, notices, result } = await skipping({ ...(await sourceOf(server)), username: 'backup', password: 'secret' }, book);
    expect(result?.summary.keys).toBe(1n);
    expect(codes).toEqual(['SYNC_DELAY_KEPT']);
    expect(notices[0]?.message).toMatch(/\+config\|get|CONFIG SET/);
    expect([book.calls, book.holds.size, await delayOf(server)]).toEqual([calls, 0, '1']);
  });

  test('for the second of two backups at once: one holder per server', async () => {
    const server = await start({ config: { 'repl-diskless-sync-delay': '30' } });
    const { free } = await occupy(server);
    const source = await sourceOf(server);
    const book = createBook();
    const first = skipping(source, book);
    await waitFor(async () => (await delayOf(server)) === '0');
    const before = await changes(server);
    const second = skipping(source, book);
    await waitFor(async () => (await server.cli('INFO', 'replication')).includes('connected_slaves:2'), { message: 'both to wait' });
    expect([await delayOf(server), await changes(server), book.holds.size]).toEqual(['0', before, 1]);
    await free();
    expect((await second).codes).toEqual(['SYNC_DELAY_NONE']);
    expect((await first).codes).toEqual(['SYNC_DELAY_SKIPPED']);
    expect([await delayOf(server), book.holds.size]).toEqual(['30', 0]);

    await setDelay(server, 1);
    const taken = createBook();
    taken.holds.set(source.runId, { runId: source.runId, host: source.host, port: source.port, before: '1', ours: '0' });
    const refused = await skipping(source, taken);
    expect(refused.codes).toEqual(['SYNC_DELAY_KEPT']);
    expect([taken.calls, taken.holds.size, await delayOf(server)]).toEqual([['take'], 1, '1']);
  });
});

describe.concurrent('a backup that ends in the middle', () => {
  test('by being cancelled puts the delay back all the same', async () => {
    const server = await start();
    await occupy(server);
    const cancel = new AbortController();
    const book = createBook();
    const backup = skipping(await sourceOf(server), book, { signal: cancel.signal });
    await waitFor(async () => (await delayOf(server)) === '0');
    cancel.abort(new DomainError('INTERRUPTED', 'cancelled by the test'));
    expect(await backup).toMatchObject({ error: { code: 'INTERRUPTED' }, codes: ['SYNC_DELAY_SKIPPED'] });
    expect([await delayOf(server), book.holds.size]).toEqual(['60', 0]);
  });

  test('because it was thought dead just before the change undoes it by itself: its note may be gone by then', async () => {
    const server = await start();
    const lost = new DomainError('INTERRUPTED', 'the lease is lost');
    const book = createBook((call, nth) => {
      if (call === 'assertHeld' && nth >= 2) throw lost;
    });
    const { error, codes } = await skipping(await sourceOf(server), book);
    expect(error).toBe(lost);
    expect([await delayOf(server), codes, book.calls.includes('release')]).toEqual(['60', [], false]);
  });

  test('and that has lost its lease later leaves everything to whoever has it now', async () => {
    const server = await start();
    await occupy(server);
    const lost = new DomainError('INTERRUPTED', 'the lease is lost');
    const cancel = new AbortController();
    const book = createBook((call, nth) => {
      if (call === 'assertHeld' && nth >= 3) throw lost;
    });
    const backup = skipping(await sourceOf(server), book, { signal: cancel.signal });
    await waitFor(async () => (await delayOf(server)) === '0');
    cancel.abort(lost);
    expect(await backup).toMatchObject({ error: lost, codes: [] });
    expect([await delayOf(server), book.holds.size]).toEqual(['0', 1]);
    const [hold] = book.holds.values();
    if (!hold) throw new Error('There is one');
    expect(await settle(hold, server)).toMatchObject({ action: 'PUT_BACK' });
    expect(await delayOf(server)).toBe('60');
    expect(await settle(hold, server)).toMatchObject({ action: 'NOTHING' });
  });

  test('by the end of its server finds that the new process has its own value', async () => {
    const server = await start();
    await occupy(server);
    const book = createBook();
    const backup = skipping(await sourceOf(server), book);
    await waitFor(async () => (await delayOf(server)) === '0');
    await server.restart({ signal: 'SIGKILL' });
    // It may have died before it was asked to save.
    expect(await backup).toMatchObject({ error: { code: expect.stringMatching(/^(SOURCE_DISCONNECTED|CONNECT_FAILED)$/) as string } });
    expect([await delayOf(server), book.holds.size]).toEqual(['60', 0]);
  });
});

describe.concurrent('settling later', () => {
  const held: Omit<SyncDelayHold, 'runId' | 'host' | 'port'> = { before: '60', ours: '0' };

  test('touches nothing where somebody\'s CONFIG REWRITE has kept our value over a restart, and says so', async () => {
    const server = await start();
    const { host, port, runId } = await sourceOf(server);
    await setDelay(server, 0);
    await server.cli('CONFIG', 'REWRITE');
    await server.restart();
    expect(await delayOf(server)).toBe('0');
    const { action, message } = await settle({ runId, host, port, ...held }, server);
    expect(action).toBe('LEFT_ALONE');
    for (const part of ['was restarted', 'CONFIG REWRITE has kept ours', 'CONFIG SET repl-diskless-sync-delay 60']) expect(message).toContain(part);
    expect([await delayOf(server), await changes(server)]).toEqual(['0', 0]);
  });

  test('is refused, and the hold stands, while the right is gone or the work is another\'s', async () => {
    const server = await start({ acl: ['default on nopass ~* &* +@all', 'backup on >secret -@all +info +config|get'] });
    const { host, port, runId } = await sourceOf(server);
    await setDelay(server, 0);
    const hold = { runId, host, port, ...held };
    await expect(settle(hold, { host, port, username: 'backup', password: 'secret' })).rejects.toMatchObject({ code: 'PERMISSION_MISSING' });
    await server.cli('ACL', 'SETUSER', 'backup', '-config|get');
    await expect(settle(hold, { host, port, username: 'backup', password: 'secret' })).rejects.toMatchObject({ code: 'PERMISSION_MISSING', hint: expect.stringContaining('CONFIG SET repl-diskless-sync-delay 60') as string });
    const lost = new DomainError('INTERRUPTED', 'settled by another');
    await expect(settle(hold, server, () => Promise.reject(lost))).rejects.toBe(lost);
    expect(await delayOf(server)).toBe('0');
  });

  test('is left to later when a change was sent and never answered: it may yet be carried out', async () => {
    const server = await startFakeServer({
      commands: {
        'CONFIG get': (_link, [, , pattern = '']) =>
          (pattern.endsWith('*') ? `*4\r\n${bulk('repl-diskless-sync')}${bulk('yes')}` : '*2\r\n') + bulk('repl-diskless-sync-delay') + bulk('60'),
        'CONFIG set': () => undefined,
      },
      psync: async (link) => { await link.send('-ERR not now\r\n'); },
    });
    servers.push(server);
    const book = createBook();
    const { codes, notices, error } = await skipping(server, book);
    expect(error).toMatchObject({ code: 'SOURCE_DISCONNECTED' });
    expect(codes).toEqual(['SYNC_DELAY_KEPT', 'SYNC_DELAY_UNSETTLED']);
    expect(notices[1]?.message).toContain('CONFIG SET repl-diskless-sync-delay 60');
    expect(book.holds.size).toBe(1);
  });
});
