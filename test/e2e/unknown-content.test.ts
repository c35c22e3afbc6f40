import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Backup, type Instance } from '@snapback/sdk';
import { startFakeServer } from '../kit/fake-server.js';
import { withMark } from '../kit/hostile/sources.js';
import { download, restoreInto } from '../kit/legacy/journey.js';
import { startLegacyServer, type LegacyServer } from '../kit/legacy/server.js';
import { RdbBuilder } from '../kit/rdb-builder.js';
import { startRedis, type RedisServer } from '../kit/redis.js';
import { startService, type TestService } from '../kit/service.js';
import { backUp, expectFailedBackup, register } from './scene.js';

const SOURCE = '9.9.0';
const known = (): RdbBuilder => new RdbBuilder(99, 'REDIS').aux('redis-ver', SOURCE).select(0).string('a', 'one').string('b', 'two').select(3).string('c', 'three');
const withUnknownType = (): Buffer => known().value(112, 'a new kind of key', Buffer.alloc(3_000, 7)).string('behind it', 'nobody knows').build();
const offsetOf = (file: Buffer, byte: number): string => String(file.indexOf(Buffer.from([byte, 17])));

/** What a newer server than this version knows may send: the bytes are all there, and nobody here can say what they mean. */
describe('content that is unknown', () => {
  let service: TestService;
  const servers: (LegacyServer | RedisServer)[] = [];
  let named = 0;
  beforeAll(async () => { service = await startService(); });
  afterEach(async () => { await Promise.all(servers.splice(0).map((server) => server.stop())); });
  afterAll(() => service?.stop());

  /** A scripted server of a version to come that holds just this file. */
  const server = async (file: Buffer, version = SOURCE): Promise<{ instance: Instance; server: LegacyServer }> => {
    const started = await startLegacyServer({ version: '4.0.14', busy: false, future: { version, file } });
    servers.push(started);
    return { server: started, instance: await register(service, `server ${String((named += 1))}`, started) };
  };
  const old = new RdbBuilder(9).select(0).string('old', 'data').build();
  const verified = async (backup: Backup): Promise<Backup> => service.sdk.backups.wait(await service.sdk.backups.verify(backup), { timeoutMs: 60_000 });

  it('is not a version that nobody knows: that is walked on, and all of it', async () => {
    const file = known().build();
    const { instance } = await server(file);
    const backup = await backUp(service, instance.id);
    expect(backup).toMatchObject({
      state: 'AVAILABLE', integrity: 'STRUCTURE_AND_CHECKSUM', unknownContent: null, rdbVersion: 99, keys: '3',
      databases: [{ database: 0, keys: '2' }, { database: 3, keys: '1' }], loadsOn: [{ engine: 'REDIS', minVersion: SOURCE, maxVersion: null }],
    });
    expect((await download(service.sdk, backup)).equals(file)).toBe(true);
  });

  it.each([['type 112', withUnknownType(), 112], ['opcode 200', known().raw([200, 17], Buffer.alloc(2_000, 9)).string('behind it', 'nobody knows').build(), 200]] as const)(
    'such as %s ends the walk and nothing else: the backup is AVAILABLE, complete, says what and where, and can be downloaded', async (what, file, byte) => {
      const { instance } = await server(file);
      const backup = await backUp(service, instance.id);
      expect(backup).toMatchObject({
        state: 'AVAILABLE', integrity: 'CHECKSUM_ONLY', unknownContent: { what, offset: offsetOf(file, byte) }, sizeBytes: String(file.length), keys: '3',
        loadsOn: [{ engine: 'REDIS', minVersion: SOURCE, maxVersion: null }],
      });
      expect((await download(service.sdk, backup)).equals(file)).toBe(true);
      expect(await verified(backup)).toMatchObject({ state: 'AVAILABLE', verification: { level: 'CONTENT', result: 'PASSED' } });
      await service.sdk.backups.wait(await service.sdk.backups.inspect(backup), { timeoutMs: 60_000 });
      expect(await service.sdk.backups.inspection(backup)).toMatchObject({ complete: false, selected: { keys: '3' }, largest: [{ name: 'c' }, { name: 'a' }, { name: 'b' }] });
    },
  );

  it('is restored by the link into its own family and that version or newer, byte for byte, and the report says that keys were not compared', async () => {
    const file = withUnknownType();
    const { instance } = await server(file);
    const backup = await backUp(service, instance.id);
    for (const version of [SOURCE, '10.1.0']) {
      const { instance: into, server: target } = await server(old, version);
      const { plan, restore, events } = await restoreInto(service.sdk, backup, into);
      expect(plan.blockers).toEqual([]);
      expect(events.at(-1)?.job).toMatchObject({ conclusion: 'SUCCEEDED', failure: null });
      expect(restore).toMatchObject({ method: 'REPLICATION_LINK', dataNow: 'NEW', report: { promoted: true, notices: expect.arrayContaining([expect.stringContaining('could not be counted')]) as string[] } });
      expect(target.received().map((received) => received.equals(file))).toEqual([true]);
      expect(target.role()).toBe('master');
    }
  });

  it('is refused by a plan for an older server of its family, and for the other family, before anything there is touched', async () => {
    const { instance } = await server(withUnknownType());
    const backup = await backUp(service, instance.id);
    const { instance: older, server: spared } = await server(old, '9.8.7');
    const real = await startRedis();
    servers.push(real);
    await real.cli('SET', 'old', 'data');
    const valkey = await startFakeServer({ engine: 'VALKEY', version: '99.0.0' });
    try {
      for (const target of [older, await register(service, 'real', real), await register(service, 'valkey', valkey)]) {
        for (const [method, blocker] of [['REPLICATION_LINK', /CANNOT_LOAD/], [undefined, /UNKNOWN_CONTENT|NO_RIGHT_TO_RESTORE|TOO_FEW_DATABASES/]] as const) {
          const plan = await service.sdk.restores.plan({ backupId: backup.id, instanceId: target.id, method });
          expect(plan).toMatchObject({ method: null, compatibility: { loads: false } });
          expect(plan.blockers.map(({ name }) => name).join(' ')).toMatch(blocker);
          await expect(service.sdk.restores.run({ planId: plan.id, confirmation: target.name, acceptedWarnings: plan.warnings.map(({ name }) => name) })).rejects.toMatchObject({ code: 'TARGET_BLOCKED' });
        }
      }
      // A plan asks with a port that is none whether it might.
      expect(valkey.commands.filter(([name, , port]) => name === 'PSYNC' || (name === 'REPLICAOF' && /^\d+$/.test(port ?? '')))).toEqual([]);
    } finally {
      await valkey.stop();
    }
    expect([spared.slaveofs(), spared.keys(), await real.cli('GET', 'old')]).toEqual([[], { 0: 1 }, 'data']);
  });

  it.each(['ZERO', 'WRONG'] as const)('is never taken without a checksum that vouches for it (%s): that backup is FAILED', async (checksum) => {
    const fake = await startFakeServer({ version: SOURCE, psync: withMark(known().value(112, 'a new kind of key', 'opaque').build(checksum)) });
    try {
      const instance = await register(service, `fake ${checksum}`, fake);
      const started = await service.sdk.backups.create({ instanceId: instance.id, name: 'no checksum' });
      const { failure } = await expectFailedBackup(service, started, 'CORRUPT');
      expect(failure?.message).toMatch(checksum === 'ZERO' ? /unknown type 112, and no checksum that would vouch for the rest \(byte \d+\)/ : /checksum/);
    } finally {
      await fake.stop();
    }
  });
});
