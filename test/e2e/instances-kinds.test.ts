import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TypedDocumentString } from '@snapback/sdk';
import { startRedis, startSentinel, type RedisServer } from '../kit/redis.js';
import { readPem, tlsFiles, type TlsFiles } from '../kit/redis-tls.js';
import { startService, type TestService } from '../kit/service.js';
import { waitFor } from '../kit/wait.js';
import { backUp, caught, infoOf, refusal, register } from './scene.js';

interface Covered { coverage: { kind: string; slots: { start: number; end: number }[] } }
const COVERAGE = new TypedDocumentString<
  { backup: Covered | null; job: { backup: Covered | null } | null; instance: { latestBackup: Covered | null; backups: { nodes: Covered[] } } | null },
  { backupId: string; jobId: string; instanceId: string }
>(`query Coverage($backupId: ID!, $jobId: ID!, $instanceId: ID!) {
  backup(id: $backupId) { ...C }
  job(id: $jobId) { backup { ...C } }
  instance(id: $instanceId) { latestBackup { ...C } backups(first: 1) { nodes { ...C } } }
}
fragment C on Backup { coverage { kind slots { start end } } }`);

describe('kinds of instances', () => {
  let service: TestService;
  const servers: RedisServer[] = [];
  const started = async (server: Promise<RedisServer>): Promise<RedisServer> => {
    servers.push(await server);
    return server;
  };

  beforeAll(async () => {
    service = await startService();
  });
  afterAll(async () => {
    await Promise.all([service?.stop(), ...servers.map((server) => server.stop())]);
  });

  it('a user with just the rights of a backup', async () => {
    const server = await started(startRedis({ acl: ['least on >canary-least -@all +ping +info +psync +replconf', 'blind on >canary-blind ~* +@all -psync -dump', 'mute on >canary-mute -@all +ping'] }));
    await server.cli('SET', 'key', 'value');
    const least = await register(service, 'least', server, { username: 'least', password: 'canary-least' });
    expect(least).toMatchObject({
      username: 'least', hasPassword: true, server: { persistence: { saveRules: null, rdbChecksum: null } },
      capabilities: { backup: { possible: true, method: 'REPLICATION' }, restore: { methods: expect.any(Array) as unknown[] } },
    });
    expect(await backUp(service, least.id)).toMatchObject({ state: 'AVAILABLE', keys: '1', integrity: 'STRUCTURE_AND_CHECKSUM' });

    expect(await refusal(register(service, 'mute', server, { username: 'mute', password: 'canary-mute' }))).toMatchObject({ code: 'PERMISSION_MISSING' });
    await service.sdk.instances.remove(least);
    const blind = await register(service, 'blind', server, { username: 'blind', password: 'canary-blind' });
    expect(blind.capabilities.backup).toEqual({ possible: false, method: null, reason: expect.stringContaining('+psync') as string });
    expect(blind.server.rights).toContainEqual({ command: 'psync', allowed: false });
    expect(await caught(service.sdk.backups.create({ instanceId: blind.id, name: 'x' }))).toMatchObject({ code: 'ENGINE_UNSUPPORTED', message: expect.stringContaining('+psync') as string });
    // Granted, and looked at again.
    await server.cli('ACL', 'SETUSER', 'blind', '+psync');
    expect(await service.sdk.instances.probe(blind)).toMatchObject({ capabilities: { backup: { possible: true } } });
    expect(await backUp(service, blind.id)).toMatchObject({ state: 'AVAILABLE' });
  });

  describe('with TLS', () => {
    let files: TlsFiles;
    let server: RedisServer;

    beforeAll(async () => {
      files = await tlsFiles();
      server = await started(startRedis({ tls: files, tlsAuthClients: true, password: 'canary-tls' }));
      await server.cli('SET', 'key', 'value');
    });

    it('is checked both ways, backed up, and shows none of its certificates', async () => {
      const { sdk } = service;
      const [ca, cert, key, otherCa] = [files.caFile, files.clientCertFile, files.clientKeyFile, files.otherCaFile].map(readPem);
      const password = 'canary-tls';
      for (const tls of [null, { ca }, { cert, key }, { ca: otherCa, cert, key }, { ca, cert, key, serverName: 'somebody.else' }]) {
        expect(await refusal(register(service, 'secure', server, { password, tls })), JSON.stringify(tls).slice(0, 30)).toMatchObject({ code: 'CONNECT_FAILED' });
      }
      expect(await refusal(register(service, 'secure', server, { password, tls: { ca, cert, key: readPem(files.keyFile) } }))).toEqual({ code: 'BAD_INPUT', field: ['tls', 'key'] });
      expect(await sdk.instances.list({ nameContains: 'secure' }).toArray({ limit: 1 })).toEqual([]);

      const instance = await register(service, 'secure', server, { password, tls: { ca, cert, key } });
      expect(instance.tls).toEqual({ serverName: null, hasCa: true, hasClientCertificate: true, insecureSkipVerify: false });
      expect(JSON.stringify(instance)).not.toMatch(/BEGIN|canary/);
      expect(await backUp(service, instance.id)).toMatchObject({ state: 'AVAILABLE', keys: '1' });
      expect(await sdk.instances.probe(instance)).toMatchObject({ server: { runId: (await infoOf(server))['run_id'] } });

      // Replaced as a whole: the CA that is left out is forgotten, and the system's do not know this server.
      expect(await refusal(sdk.instances.update({ instanceId: instance.id, tls: { cert, key } }))).toMatchObject({ code: 'CONNECT_FAILED' });
      expect(await refusal(sdk.instances.update({ instanceId: instance.id, tls: null }))).toMatchObject({ code: 'CONNECT_FAILED' });
      expect(await sdk.instances.get(instance)).toMatchObject({ tls: instance.tls });
      const unchecked = await sdk.instances.update({ instanceId: instance.id, tls: { cert, key, insecureSkipVerify: true } });
      expect(unchecked.tls).toEqual({ serverName: null, hasCa: false, hasClientCertificate: true, insecureSkipVerify: true });
      const named = await sdk.instances.update({ instanceId: instance.id, tls: { ca, cert, key, serverName: 'localhost' } });
      expect(named.tls).toEqual({ serverName: 'localhost', hasCa: true, hasClientCertificate: true, insecureSkipVerify: false });
      expect(await backUp(service, instance.id)).toMatchObject({ state: 'AVAILABLE' });
      for (const secret of ['BEGIN', 'canary', key?.split('\n')[1] ?? '']) expect(service.logs()).not.toContain(secret);
    });
  });

  it('a node of a cluster, which is not the database', async () => {
    const { sdk } = service;
    const node = await started(startRedis({ cluster: { slots: [[0, 100], [200, 5_000]] } }));
    const instance = await register(service, 'node', node);
    expect(instance).toMatchObject({
      server: { mode: 'CLUSTER', slots: [{ start: 0, end: 100 }, { start: 200, end: 5_000 }] },
      capabilities: {
        backup: { possible: false, method: null, reason: expect.stringContaining('acceptPartial') as string },
        restore: { possible: true, methods: ['RESTORE_PIPELINE', 'LOGICAL_COMMANDS'], reason: expect.stringContaining('cluster') as string },
      },
    });
    expect(await refusal(sdk.backups.create({ instanceId: instance.id, name: 'x' }))).toMatchObject({ code: 'ENGINE_UNSUPPORTED', field: ['instanceId'] });

    const accepted = await sdk.instances.update({ instanceId: instance.id, acceptPartial: true });
    expect(accepted).toMatchObject({ acceptPartial: true, capabilities: { backup: { possible: true, reason: expect.stringContaining('slots') as string }, restore: { possible: true } } });
    const { backup, job } = await sdk.backups.create({ instanceId: instance.id, name: 'shard' });
    const coverage = { kind: 'SHARD', slots: [{ start: 0, end: 100 }, { start: 200, end: 5_000 }] };
    expect(backup.coverage).toEqual(coverage);
    await sdk.backups.wait({ backup, job });
    expect(await sdk.execute(COVERAGE, { backupId: backup.id, jobId: job.id, instanceId: instance.id })).toEqual({
      backup: { coverage }, job: { backup: { coverage } }, instance: { latestBackup: { coverage }, backups: { nodes: [{ coverage }] } },
    });

    expect(await sdk.instances.update({ instanceId: instance.id, acceptPartial: false })).toMatchObject({ capabilities: { backup: { possible: false } } });
    // Asked for from the start.
    await sdk.instances.remove(instance);
    expect(await register(service, 'node', node, { acceptPartial: true })).toMatchObject({ acceptPartial: true, capabilities: { backup: { possible: true } } });
  });

  it('a Sentinel, the master that it watches, and a replica as the source', async () => {
    const { sdk } = service;
    const master = await started(startRedis());
    await master.cli('MSET', 'a', '1', 'b', '2');
    const replica = await started(startRedis({ replicaOf: master }));
    await waitFor(async () => (await infoOf(replica))['master_link_status'] === 'up', { message: 'the replica to follow' });

    const source = await register(service, 'replica', replica);
    expect(source).toMatchObject({
      server: { role: 'REPLICA', keys: '2' },
      capabilities: { backup: { possible: true, reason: null }, restore: { possible: false, methods: [], reason: expect.stringContaining(`127.0.0.1:${master.port}`) as string } },
    });
    expect(await backUp(service, source.id)).toMatchObject({ state: 'AVAILABLE', keys: '2' });
    expect(await register(service, 'master', master)).toMatchObject({ server: { role: 'MASTER', connectedReplicas: 1 }, capabilities: { restore: { possible: true, reason: expect.stringContaining('replicas') as string } } });

    const sentinel = await started(startSentinel({ master }));
    expect(await register(service, 'sentinel', sentinel)).toMatchObject({
      server: { mode: 'SENTINEL' }, capabilities: { backup: { possible: false, reason: expect.stringContaining('Sentinel') as string }, restore: { possible: false } },
    });
    await waitFor(async () => (await master.cli('CLIENT', 'LIST')).includes('name=sentinel-'), { message: 'the Sentinel to watch' });
    const [watched] = await sdk.instances.list({ nameContains: 'master' }).toArray({ limit: 1 });
    expect(await sdk.instances.probe(watched?.id ?? '')).toMatchObject({
      capabilities: { backup: { possible: true, reason: expect.stringContaining('Sentinel') as string }, restore: { possible: true, methods: ['RESTORE_PIPELINE', 'LOGICAL_COMMANDS'], reason: expect.stringContaining('Sentinel') as string } },
    });
  });

  it('a replica that lost its master is no source, and its next planned run looks for itself', async () => {
    const { sdk, app } = service;
    const master = await started(startRedis());
    await master.cli('SET', 'key', 'value');
    const replica = await started(startRedis({ replicaOf: master, config: { 'replica-serve-stale-data': 'yes' } }));
    await waitFor(async () => (await infoOf(replica))['master_link_status'] === 'up', { message: 'the replica to follow' });
    const { id } = await register(service, 'orphan', replica);
    await master.kill();
    await waitFor(async () => (await infoOf(replica))['master_link_status'] === 'down', { message: 'the link to break' });
    expect((await sdk.instances.probe(id)).capabilities.backup).toMatchObject({ possible: false, reason: expect.stringContaining('lost its master') as string });
    await master.restart();
    await waitFor(async () => (await infoOf(replica))['master_link_status'] === 'up', { message: 'the link to be up again' });

    // What the last probe found stands in nobody's way: an obstacle that passed must not end automatic backups for good.
    expect(await sdk.instances.get(id)).toMatchObject({ capabilities: { backup: { possible: false } } });
    const client = new Client({ connectionString: service.databaseUrl });
    await client.connect();
    await client.query(`UPDATE backup_policies SET next_run_at = now() - interval '1 second' WHERE instance_id = $1`, [id]);
    await client.end();
    await app.dispatcher.dispatchDue();
    const backup = await waitFor(async () => (await sdk.backups.list({ instanceId: id, triggers: ['SCHEDULED'] }).toArray({ limit: 1 }))[0], { message: 'a scheduled backup' });
    expect(await sdk.backups.wait(backup)).toMatchObject({ state: 'AVAILABLE' });
    expect(await sdk.instances.get(id)).toMatchObject({ capabilities: { backup: { possible: true } } });
  });
});

describe('versions that the operator has switched off', () => {
  let service: TestService;
  let server: RedisServer;

  beforeAll(async () => {
    server = await startRedis();
    const [major, minor] = server.version.split('.');
    service = await startService({ env: { DISABLED_ENGINES: `${server.engine} ${major}.${minor}, valkey 99` } });
  });
  afterAll(async () => {
    await Promise.all([service?.stop(), server?.stop()]);
  });

  it('are said to be so, instance by instance and for the service, and are not backed up', async () => {
    const { sdk, app } = service;
    const off = { possible: false, reason: expect.stringMatching(/switched .* off/) as string };
    const instance = await register(service, 'gated', server);
    const gated = { capabilities: { backup: { ...off, method: null }, restore: { ...off, methods: [] } } };
    expect(instance).toMatchObject(gated);
    expect(await sdk.instances.get(instance)).toMatchObject(gated);
    expect(await sdk.instances.probe(instance)).toMatchObject(gated);
    expect(await sdk.instances.update({ instanceId: instance.id, name: 'still gated' })).toMatchObject(gated);
    expect((await sdk.instances.list().toArray({ limit: 1 }))[0]).toMatchObject(gated);
    expect(await caught(sdk.backups.create({ instanceId: instance.id, name: 'x' }))).toMatchObject({ code: 'ENGINE_UNSUPPORTED', message: expect.stringContaining('switched') as string });

    const { engines } = (await sdk.execute(new TypedDocumentString<{ service: { engines: { engine: string; minVersion: string; disabledVersions: string[] }[] } }, object>('{ service { engines { engine minVersion disabledVersions } } }'), {})).service;
    const [major, minor] = server.version.split('.');
    const ours = server.engine === 'REDIS' ? [`${major}.${minor}`] : [];
    expect(engines).toEqual([
      { engine: 'REDIS', minVersion: '2.8', disabledVersions: ours },
      { engine: 'VALKEY', minVersion: '7.2', disabledVersions: server.engine === 'REDIS' ? ['99'] : [`${major}.${minor}`, '99'] },
    ]);

    // The rules are no fact about the server: what is stored is what holds without them, as after a start with others.
    const client = new Client({ connectionString: service.databaseUrl });
    await client.connect();
    const { rows } = await client.query(`SELECT capabilities -> 'backup' ->> 'possible' AS possible FROM instances`);
    await client.query(`UPDATE backup_policies SET next_run_at = now() - interval '1 second'`);
    expect(rows).toEqual([{ possible: 'true' }]);
    await app.dispatcher.dispatchDue();
    const slot = await waitFor(async () => (await client.query('SELECT state, reason FROM slots')).rows[0] as unknown, { message: 'a slot' });
    await client.end();
    expect(slot).toMatchObject({ state: 'MISSED', reason: expect.stringContaining('switched') as string });
    expect(await sdk.jobs.list().toArray({ limit: 1 })).toEqual([]);
  });
});
