import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { openArchive } from '../../../server/engine/archive/archive.js';
import { type BackupPlan } from '../../../server/engine/backup.js';
import { type Dial } from '../../../server/engine/ports.js';
import { infoFacts } from '../../../server/engine/probe/info-facts.js';
import { announcedReplicas, findReplica } from '../../../server/engine/source/replica.js';
import { ALLOW_EVERYTHING, createDial } from '../../../server/security/dial.js';
import { digest, keyCounts } from '../../kit/digest.js';
import { type FakeServerOptions, startFakeServer } from '../../kit/fake-server.js';
import { soundRdb, withMark } from '../../kit/hostile/sources.js';
import { freePort, makeTempDir, removeTempDir } from '../../kit/processes.js';
import { type Proxy, startProxy } from '../../kit/proxy.js';
import { type RedisServer, startRedis } from '../../kit/redis.js';
import { readPem } from '../../kit/redis-tls.js';
import { infoField, inStep, startReplica, syncsOf } from '../../kit/replicas.js';
import { seedAllTypes } from '../../kit/seed.js';
import { waitFor } from '../../kit/wait.js';
import { RING } from '../../unit/archive/archive-kit.js';
import { BACKUP_ID, backUp, makeShelf, quiet, type Shelf } from './kit.js';

const PASSWORD = 'of-the-pair';
/** An address of this machine that a policy can tell from 127.0.0.1. */
const ELSEWHERE = '127.0.0.2';

let master: RedisServer;
let replica: RedisServer;
/** Between the two. */
let between: Proxy;
let shelf: Shelf;
const ending: (() => Promise<void>)[] = [];
const until = <T extends { stop(): Promise<void> }>(started: T): T => {
  ending.push(() => started.stop());
  return started;
};

beforeAll(async () => {
  master = await startRedis({ password: PASSWORD, acl: ['copies on >copies-it +@all', 'looks on >looks-only +@all'] });
  await seedAllTypes(master);
  between = await startProxy(master.port);
  replica = await startReplica(master, {
    through: between.port, acl: ['copies on >copies-it +@all', 'looks on >looks-only +@all -psync'],
    // Announced as what it is; the ports of a proxy are not those of a replica.
    config: { bind: `127.0.0.1 ${ELSEWHERE}` },
  });
});
afterAll(async () => {
  await Promise.all([master?.stop(), replica?.stop(), between?.stop()]);
});
beforeEach(async () => { shelf = await makeShelf(); });
afterEach(async () => {
  await Promise.all(ending.splice(0).map((stop) => stop()));
  await shelf.remove();
});

interface Taken {
  from: 'master' | 'replica';
  result: Awaited<ReturnType<typeof backUp>>;
  notices: { code: string; message: string }[];
}

interface Login { username?: string; password?: string }

/** A backup of the master, and which of the two it made fork. */
const take = async (plan: Partial<BackupPlan> = {}, login: Login = {}, dial?: Dial): Promise<Taken> => {
  const notices: Taken['notices'] = [];
  await shelf.remove();
  shelf = await makeShelf();
  const before = [await syncsOf(master), await syncsOf(replica)] as const;
  const result = await backUp({ host: master.host, port: master.port, runId: await runIdOf(master), password: PASSWORD, ...login }, shelf, {
    plan: { sourcePreference: 'PREFER_REPLICA', ...plan }, ...(dial ? { dial } : {}),
    onProgress: (progress) => { if (progress.kind === 'notice') notices.push({ code: progress.code, message: progress.message }); },
  });
  const asked = [(await syncsOf(master)) - before[0], (await syncsOf(replica)) - before[1]] as const;
  expect([[1, 0], [0, 1]]).toContainEqual(asked);
  return { from: asked[0] === 1 ? 'master' : 'replica', result, notices };
};

const runIdOf = async (server: RedisServer): Promise<string> => (await infoField(server, 'run_id')) ?? '';

/** Keys that replicas get, too. */
const fill = (prefix: string, keys: number, bytes: number): Promise<string> =>
  master.cli('EVAL', 'for i = 0, ARGV[2] - 1 do redis.call("SET", ARGV[1] .. i, string.rep("x", ARGV[3])) end', '0', prefix, String(keys), String(bytes));
const remove = (server: RedisServer, prefix: string, keys: number): Promise<string> => server.cli('EVAL', 'for i = 0, ARGV[2] - 1 do redis.call("DEL", ARGV[1] .. i) end', '0', prefix, String(keys));

/** That the archive holds what the master does. */
const expectWhole = async (): Promise<void> => {
  const dir = makeTempDir('from-replica');
  ending.push(() => removeTempDir(dir));
  const reader = await openArchive(shelf.store, BACKUP_ID, { keys: RING });
  await pipeline(Readable.from(reader.read()), createWriteStream(join(dir, 'dump.rdb'), { mode: 0o644 }));
  await reader.close();
  const copy = until(await startRedis({ dir }));
  expect(await digest(copy)).toBe(await digest(master));
};

describe('a replica is read in place of its master', () => {
  test('that its master announces: it forks, its master does not, and the backup holds what the master held', async () => {
    await master.cli('SET', 'written', String(Date.now()));
    const { from, result, notices } = await take();
    expect(from).toBe('replica');
    expect(notices).toEqual([{ code: 'REPLICA_SOURCE', message: expect.stringContaining(`127.0.0.1:${replica.port} is read in place of its master`) as string }]);
    const node = { host: '127.0.0.1', port: replica.port, role: 'REPLICA', runId: await runIdOf(replica), version: replica.version, behindBytes: expect.any(BigInt) as bigint };
    expect(result).toMatchObject({ node, method: 'REPLICATION', phases: ['PREPARING', 'SNAPSHOTTING', 'TRANSFERRING', 'VERIFYING', 'SEALING'] });
    // The archive is the master's still, and says where its bytes came from.
    expect(result.manifest.source).toMatchObject({ runId: await runIdOf(master), address: { host: master.host, port: master.port }, node });
    expect(result.replication?.id).toBe(await infoField(master, 'master_replid'));
    await expectWhole();
  });

  test('that the instance names', async () => {
    const { from, result } = await take({ replica: { host: ELSEWHERE, port: replica.port } });
    expect([from, result.node.host]).toEqual(['replica', ELSEWHERE]);
  });

  test('the one among several that can be reached and is one, without waiting for the others', async () => {
    const silent = until(await startFakeServer({ raw: (socket) => void socket.resume() }));
    const { host, port } = master;
    const facts = infoFacts('the master', new Map((await master.cli('INFO')).split('\r\n').flatMap((line) => (line.includes(':') ? [[line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)] as const] : []))));
    const candidates = [silent, master, replica].map(({ port: at }) => ({ host, port: at }));
    const found = await findReplica({ host, port, password: PASSWORD }, { ...facts, address: 'the master' }, { dial: createDial(ALLOW_EVERYTHING), log: quiet }, { candidates });
    expect(found).toMatchObject({ replica: { port: replica.port, role: 'REPLICA' }, refusals: [] });
    // Of what is silent nothing was said: it was still waited for.
    await waitFor(() => silent.openConnections === 0, { message: 'the others to be let go' });
  });

  test('what it lacked when it was first looked at it has before it is read', async () => {
    between.hold();
    await master.cli('SET', 'late', 'x'.repeat(5_000));
    const looks = async (): Promise<number> => Number(/cmdstat_info:calls=(\d+)/.exec(await replica.cli('INFO', 'commandstats'))?.[1] ?? 0);
    const before = await looks();
    const taking = take();
    let own = 0;
    await waitFor(async () => (await looks()) - before > (own += 1) + 1, { message: 'the replica to be looked at again and again', intervalMs: 1 });
    between.release();
    const { from, result } = await taking;
    expect(from).toBe('replica');
    expect(result.node.behindBytes).toBeGreaterThan(5_000n);
    await inStep(replica, master);
  });

  test('over TLS, with the certificates of its master', async () => {
    const secured = until(await startRedis({ tls: true, tlsAuthClients: true, config: { 'tls-replication': 'yes' } }));
    await secured.cli('SET', 'key', 'value');
    const follower = until(await startReplica(secured, { tls: secured.tls, tlsAuthClients: true, config: { 'tls-replication': 'yes' } }));
    const { tls } = secured;
    const endpoint = { host: secured.host, port: secured.port, tls: { ca: readPem(tls?.caFile ?? ''), cert: readPem(tls?.clientCertFile ?? ''), key: readPem(tls?.clientKeyFile ?? '') } };
    const result = await backUp({ host: secured.host, port: secured.port, runId: await runIdOf(secured) }, shelf, { plan: { endpoint, sourcePreference: 'PREFER_REPLICA' } });
    expect(result.node).toMatchObject({ role: 'REPLICA', port: follower.port });
    expect([await syncsOf(secured), await syncsOf(follower)]).toEqual([1, 1]);
  });
});

describe('the master is read, and it is said why', () => {
  /** The master was read, after no more than the given time, and the reason is this. */
  const expectMaster = async (reason: RegExp, plan: Partial<BackupPlan> = {}, login: Login = {}, dial?: Dial): Promise<Taken> => {
    const taken = await take(plan, login, dial);
    expect(taken.from).toBe('master');
    expect(taken.result).toMatchObject({ method: 'REPLICATION', node: { host: master.host, port: master.port, role: 'MASTER', behindBytes: null } });
    expect(taken.notices.at(-1)).toEqual({ code: 'REPLICA_NOT_USED', message: expect.stringMatching(reason) as string });
    for (const { message } of taken.notices) expect(message).not.toMatch(/of-the-pair|looks-only|copies-it/);
    return taken;
  };
  const named = (server: { host: string; port: number }): Partial<BackupPlan> => ({ replica: { host: server.host, port: server.port } });

  test('nobody listens there', async () => {
    await expectMaster(/refused|ECONNREFUSED/, { replica: { host: ELSEWHERE, port: await freePort() } });
  });

  test('nobody answers there', async () => {
    const silent = until(await startFakeServer({ raw: (socket) => void socket.resume() }));
    // Whichever of the two limits comes first.
    await expectMaster(/did not (tell of itself|answer \w+) within 2000 ms/, named(silent));
  });

  test('the policy does not allow its address', async () => {
    await expectMaster(/may not be dialled/, { replica: { host: ELSEWHERE, port: replica.port } }, {}, createDial({ allows: (address) => address !== ELSEWHERE }));
  });

  test('it has another password', async () => {
    const other = until(await startRedis({ password: 'another', replicaOf: { host: master.host, port: master.port, password: PASSWORD } }));
    await expectMaster(/refused the login/, named(other));
  });

  test('it follows another master, is one itself, or is the master', async () => {
    const foreign = until(await startRedis({ password: PASSWORD }));
    await foreign.cli('SET', 'a', 'b');
    const follower = until(await startReplica(foreign));
    await expectMaster(/follows another one/, named(follower));
    await expectMaster(/is a master itself/, named(foreign));
    await expectMaster(/is a master itself/, named(master));
  });

  test('it is no Redis, or an engine and version of its own', async () => {
    const follower = { role: 'slave', master_link_status: 'up', master_replid: await infoField(master, 'master_replid'), slave_repl_offset: '9'.repeat(12), slave_read_only: 1 };
    for (const [options, reason] of [
      [{ raw: (socket) => void socket.end('HTTP/1.1 400 Bad Request\r\n\r\n') }, /protocol|no Redis/],
      [{ engine: 'VALKEY', version: '8.0.1', info: follower }, /is VALKEY/],
      [{ version: '7.4.0', info: follower }, /may not load/],
    ] satisfies [FakeServerOptions, RegExp][]) {
      const odd = until(await startFakeServer({ password: PASSWORD, ...options }));
      await expectMaster(reason, named(odd));
      expect(odd.commands.map(([command]) => command)).not.toContain('PSYNC');
    }
  });

  test('its version is switched off', async () => {
    await expectMaster(/switched off/, { allows: () => false });
  });

  test('its link is down, and then it is behind', async () => {
    const own = until(await startProxy(master.port));
    const follower = until(await startReplica(master, { through: own.port, config: { 'repl-timeout': '60' } }));
    own.silence();
    await master.cli('SET', 'while', 'it is silent');
    await expectMaster(/bytes behind/, named(follower));
    own.cut();
    await waitFor(async () => (await infoField(follower, 'master_link_status')) === 'down', { message: 'the link to break' });
    await expectMaster(/lost its master|being filled/, named(follower));
  });

  test('it takes writes of its own, or has other keys', async () => {
    await fill('many', 1_000, 10);
    const own = until(await startReplica(master, { config: { 'replica-read-only': 'no' } }));
    await expectMaster(/takes writes of its own/, named(own));
    await remove(own, 'many', 500);
    await own.cli('CONFIG', 'SET', 'replica-read-only', 'yes');
    await expectMaster(/holds \d+ keys where .* holds \d+/, named(own));
    await remove(master, 'many', 1_000);
    await inStep(replica, master);
  });

  test('it refuses PSYNC: the master is read by replication, not key by key', async () => {
    await expectMaster(/PSYNC/, {}, { username: 'looks', password: 'looks-only' });
    expect((await take({}, { username: 'copies', password: 'copies-it' })).from).toBe('replica');
  });

  test('it gives the data of another history than it said', async () => {
    const liar = until(await startFakeServer({
      password: PASSWORD, psync: withMark(soundRdb()),
      info: { role: 'slave', master_link_status: 'up', master_replid: await infoField(master, 'master_replid'), slave_repl_offset: '9'.repeat(12), slave_read_only: 1, db0: `keys=${Object.values(await keyCounts(master)).reduce((sum, keys) => sum + keys, 0)},expires=0,avg_ttl=0` },
    }));
    const { result } = await expectMaster(/another history/, named(liar));
    expect(result.phases.filter((phase) => phase === 'TRANSFERRING')).toHaveLength(1);
    await expectWhole();
  });

  test('it dies in the middle: the backup begins again with the master, and holds nothing of the replica\'s', async () => {
    await fill('slow', 2_000, 1_000);
    const dying = until(await startReplica(master, { config: { 'rdb-key-save-delay': '1000' } }));
    const running = take({ ...named(dying) });
    await waitFor(async () => (await infoField(dying, 'sync_full')) === '1', { message: 'the replica to be read' });
    await waitFor(() => shelf.files().length > 0, { message: 'an archive to be begun' });
    await dying.kill();
    const { from, result, notices } = await running;
    expect(from).toBe('master');
    expect(notices.map(({ code }) => code)).toEqual(['REPLICA_SOURCE', 'REPLICA_NOT_USED']);
    expect(notices[1]?.message).toMatch(/closed the connection/);
    expect(result.phases.filter((phase) => phase === 'PREPARING')).toHaveLength(2);
    expect(shelf.files()).toHaveLength(3);
    await expectWhole();
    await remove(master, 'slow', 2_000);
    await inStep(replica, master);
  });
});

describe('a replica is not even looked at', () => {
  /** What a replica has seen of anybody, by a connection that was there before. */
  const unseen = async (work: () => Promise<void>): Promise<void> => {
    const watching = replica.client();
    const connections = async (): Promise<string | undefined> => /total_connections_received:(\d+)/.exec(await watching.info('stats'))?.[1];
    const before = await connections();
    await work();
    expect(await connections()).toBe(before);
    watching.disconnect();
  };
  const backUpOf = async (server: RedisServer, plan: Partial<BackupPlan>) =>
    backUp({ host: server.host, port: server.port, runId: await runIdOf(server), password: PASSWORD }, shelf, { plan });

  test('by an instance that prefers its master, though it names one', async () => {
    await unseen(async () => {
      const { node } = await backUpOf(master, { sourcePreference: 'MASTER', replica: { host: replica.host, port: replica.port } });
      expect(node).toMatchObject({ role: 'MASTER', port: master.port });
    });
  });

  test('where keys are read one by one', async () => {
    await unseen(async () => {
      expect(await backUpOf(master, { sourcePreference: 'PREFER_REPLICA', method: 'SCAN' })).toMatchObject({ method: 'SCAN', node: { role: 'MASTER' } });
    });
  });

  test('a replica that is registered as such is read as it is', async () => {
    const result = await backUpOf(replica, { sourcePreference: 'PREFER_REPLICA' });
    expect(result.node).toMatchObject({ role: 'REPLICA', port: replica.port, behindBytes: null });
    await expectWhole();
  });
});

test('what a master announces is read with care', () => {
  const info = (...lines: string[]) => new Map(lines.map((line, at) => [`slave${at}`, line]));
  expect(announcedReplicas(info(
    'ip=10.0.0.1,port=6379,state=online,offset=10,lag=0', 'ip=10.0.0.2,port=6380,state=online,offset=90,lag=0,type=replica', 'ip=::1,port=6381,state=online,offset=50,lag=1',
    'ip=10.0.0.3,port=6379,state=wait_bgsave,offset=0,lag=0', 'ip=10.0.0.4,port=0,state=online,offset=99,lag=0', 'ip=,port=6379,state=online', 'ip=10.0.0.5,port=70000,state=online', 'nonsense',
  ))).toEqual([{ host: '10.0.0.2', port: 6380 }, { host: '::1', port: 6381 }, { host: '10.0.0.1', port: 6379 }]);
  expect(announcedReplicas(info(...Array.from({ length: 20 }, (_, at) => `ip=10.0.0.${at},port=1,state=online,offset=1,lag=0`)))).toHaveLength(5);
});
