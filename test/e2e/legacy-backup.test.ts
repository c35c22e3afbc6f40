import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { legacyDataset, LEGACY_COUNTS, LEGACY_KEYS } from '../kit/legacy/dataset.js';
import { backUp, download, perDatabase, register, sha256, storedFiles } from '../kit/legacy/journey.js';
import { startLegacyServer, WRITTEN_WHILE_SAVING, type LegacyServer, type LegacyServerOptions } from '../kit/legacy/server.js';
import { checkRdb } from '../kit/redis-binary.js';
import { makeTempDir, removeTempDir } from '../kit/processes.js';
import { startService, type TestService } from '../kit/service.js';
import { waitFor } from '../kit/wait.js';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

describe('backing up servers of versions that only scripts can play', () => {
  let service: TestService;
  const servers: LegacyServer[] = [];
  const start = async (options: LegacyServerOptions): Promise<LegacyServer> => {
    const server = await startLegacyServer(options);
    servers.push(server);
    return server;
  };

  beforeAll(async () => {
    service = await startService();
  });
  afterEach(async () => {
    await Promise.all(servers.splice(0).map((server) => server.stop()));
  });
  afterAll(async () => {
    await service?.stop();
  });

  it.each([
    { version: '2.8.24', rdbVersion: 6, unknownOptions: ['ip-address', 'capa', 'rdb-only'] },
    { version: '4.0.14', rdbVersion: 8, unknownOptions: ['rdb-only'] },
  ] as const)('knows, backs up and hands out what Redis $version holds', async ({ version, rdbVersion, unknownOptions }) => {
    const { sdk } = service;
    const server = await start({ version, password: 'geheim', rdb: legacyDataset(rdbVersion) });
    const instance = await register(sdk, server, 'geheim');
    expect(instance).toMatchObject({
      server: {
        engine: 'REDIS', version, runId: server.runId, role: 'MASTER', mode: 'STANDALONE', rdbVersion, keys: String(LEGACY_KEYS), maxMemoryBytes: '0',
        persistence: { appendOnly: false, saveRules: '900 1 300 10 60 10000', rdbChecksum: true }, connectedReplicas: 0, slots: [],
      },
      capabilities: { backup: { possible: true, method: 'REPLICATION' }, restore: { possible: true, methods: ['REPLICATION_LINK', 'RESTORE_PIPELINE', 'LOGICAL_COMMANDS'] } },
    });
    expect(perDatabase(instance.server.databases)).toEqual(LEGACY_COUNTS);
    const rights = Object.fromEntries(instance.server.rights.map(({ command, allowed }) => [command, allowed]));
    expect(rights).toMatchObject({ psync: true, replconf: true, slaveof: true, replicaof: false, 'config|set': true, 'client|pause': version !== '2.8.24' });
    expect(server.commands.flat()).not.toContain('ACL');

    const backup = await backUp(sdk, instance);
    const [sent] = server.sent;
    expect(server.sent).toHaveLength(1);
    expect(backup).toMatchObject({
      state: 'AVAILABLE', integrity: 'STRUCTURE_AND_CHECKSUM', engine: 'REDIS', engineVersion: version, rdbVersion, captureMethod: 'REPLICATION',
      keys: String(LEGACY_KEYS), expiringKeys: '1', functions: 0, sizeBytes: String(sent?.length), sha256: sha256(sent!),
    });
    expect(perDatabase(backup.databases)).toEqual(LEGACY_COUNTS);
    expect(backup.loadsOn).toEqual([
      { engine: 'REDIS', minVersion: rdbVersion === 6 ? expect.stringMatching(/^2\./) : '4.0', maxVersion: null },
      { engine: 'VALKEY', minVersion: '7.2', maxVersion: null },
    ]);

    // The client's write that came right behind the file is on the server and not in the backup.
    expect(server.value(WRITTEN_WHILE_SAVING)).toBe('1');
    const bytes = await download(sdk, backup);
    expect(bytes.equals(sent!)).toBe(true);
    expect(bytes.includes(WRITTEN_WHILE_SAVING)).toBe(false);
    const folder = makeTempDir('legacy');
    try {
      await writeFile(join(folder, 'dump.rdb'), bytes);
      await checkRdb(join(folder, 'dump.rdb'));
    } finally {
      await removeTempDir(folder);
    }

    // Options it does not know are asked one by one, and no harm is done by its errors.
    const asked = server.commands.filter(([name]) => name === 'REPLCONF').map(([, option]) => option);
    expect(asked).toEqual(expect.arrayContaining(['listening-port', ...unknownOptions]));
    expect(server.commands.filter(([name]) => name === 'AUTH').every((command) => command.length === 2)).toBe(true);
    await waitFor(async () => (await sdk.instances.probe(instance)).server.connectedReplicas === 0, { message: 'the link to be gone' });
  });

  it('tells a wrong login, and stores nothing for it', async () => {
    const { sdk } = service;
    // Not whole: what is said of a recovery point grows older from one answer to the next.
    const registered = async (): Promise<string[]> => (await sdk.instances.list().toArray({ limit: 10 })).map(({ id, name }) => `${id} ${name}`);
    const before = await registered();
    const locked = await start({ version: '2.8.24', password: 'geheim' });
    const open = await start({ version: '4.0.14' });
    await expect(register(sdk, locked, 'falsch')).rejects.toMatchObject({ code: 'AUTH_FAILED' });
    await expect(register(sdk, locked)).rejects.toMatchObject({ code: 'AUTH_FAILED' });
    await expect(register(sdk, open, 'geheim')).rejects.toMatchObject({ code: 'AUTH_FAILED' });
    // No user names before Redis 6: AUTH with two words is refused, and nobody goes on without a login.
    await expect(sdk.instances.register({ name: 'named user', host: locked.host, port: locked.port, username: 'backup', password: 'geheim' })).rejects.toMatchObject({ code: 'AUTH_FAILED' });
    expect(await registered()).toEqual(before);
    expect(locked.commands.map(([name]) => name).filter((name) => name !== 'AUTH' && name !== 'PING')).toEqual([]);
    expect(service.logs()).not.toContain('falsch');
  });

  it.each(['2.8.24', '4.0.14'] as const)('leaves nothing behind when Redis %s dies in the middle of its file', async (version) => {
    const { sdk } = service;
    const server = await start({ version, rdb: legacyDataset(version === '2.8.24' ? 6 : 8) });
    const instance = await register(sdk, server);
    const files = await storedFiles(service);
    server.crashAfter(4_096);
    const begun = await sdk.backups.create({ instanceId: instance.id, name: 'cut' });
    await expect(sdk.backups.wait(begun)).rejects.toMatchObject({ code: 'SOURCE_DISCONNECTED', retryable: true, hint: expect.any(String) });
    expect(await sdk.backups.get(begun)).toMatchObject({ state: 'FAILED', sizeBytes: null, sha256: null });
    expect(await sdk.jobs.get(begun.job.id)).toMatchObject({ state: 'COMPLETED', conclusion: 'FAILED', failure: { code: 'SOURCE_DISCONNECTED', phase: 'TRANSFERRING' } });
    expect(server.sent).toEqual([]);
    expect(await storedFiles(service)).toEqual(files);

    const begunAgain = await sdk.backups.create({ instanceId: instance.id, name: 'gone' });
    await expect(sdk.backups.wait(begunAgain)).rejects.toMatchObject({ code: 'CONNECT_FAILED' });
  });
});
