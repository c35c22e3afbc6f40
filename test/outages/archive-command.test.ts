import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Backup } from '@snapback/sdk';
import { readBlocks } from '../kit/docs.js';
import { makeTempDir, removeTempDir } from '../kit/processes.js';
import { checkRdb } from '../kit/redis-binary.js';
import { startRedis, type RedisServer } from '../kit/redis.js';
import { startS3 } from '../kit/s3/server.js';
import { seedAllTypes } from '../kit/seed.js';
import { startService } from '../kit/service.js';
import { writeArchive } from '../unit/archive/archive-kit.js';
import { readArchiveConfig } from '../../server/config/config.js';
import { DEFAULT_BLOCK_SIZE } from '../../server/engine/archive/layout.js';
import { RdbReader } from '../../server/engine/rdb/reader.js';
import { openFilesystemStore } from '../../server/engine/store/filesystem.js';
import { ALLOW_EVERYTHING, createDial } from '../../server/security/dial.js';
import { masterKeysFromText } from '../../server/security/master-key.js';
import { openStoreAt } from '../../server/store-place.js';
import { createLogger } from '../../server/telemetry/logger.js';
import { backUp, populate, register } from '../e2e/scene.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const MASTER_KEY = 'cd'.repeat(32);
const NOBODYS = `bak_${'0'.repeat(26)}`;

interface Said {
  code: number | null;
  out: Buffer;
  err: string;
}

/** All files with what would show that somebody has touched them. */
const traceOf = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true }).map((entry) => {
    const path = join(entry.parentPath, entry.name);
    const { mtimeMs, ctimeMs, size } = statSync(path);
    return `${path} ${String(mtimeMs)} ${String(ctimeMs)} ${String(size)}`;
  }).sort();

/** The service and its database are gone; what is left is a copy of the archives, without even the store's marker, and the key. */
describe('npm run archive', () => {
  let folder: string;
  let store: string;
  let source: RedisServer;
  let older: Backup;
  let newer: Backup;
  let file: Buffer;

  const shell = (script: string, env: Readonly<Record<string, string>> = {}): Promise<Said> => new Promise((resolve) => {
    const child = spawn('sh', ['-euc', script], { cwd: ROOT, env: { PATH: process.env['PATH'], HOME: folder, STORE_URL: `file://${store}`, MASTER_KEY, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    const out: Buffer[] = [];
    let err = '';
    child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
    child.once('close', (code) => resolve({ code, out: Buffer.concat(out), err }));
  });
  const archive = (args: string, env: Readonly<Record<string, string>> = {}): Promise<Said> => shell(`exec node dist/server/archive-command.js ${args}`, env);
  const text = ({ out }: Said): string => out.toString('utf8');
  /** Changes a byte of the second block, or puts it back. */
  const damage = (backup: Backup): void => {
    const path = join(store, 'backups', backup.id, 'rdb');
    const bytes = readFileSync(path);
    const at = 64 + 32 + bytes.readUInt32LE(64) + 20;
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    writeFileSync(path, bytes);
  };

  beforeAll(async () => {
    folder = makeTempDir('offline');
    store = join(folder, 'copy');
    const [prepared, service, redis] = await Promise.all([
      shell('node start.mjs --prepare', { HOME: process.env['HOME'] ?? folder }), startService({ env: { MASTER_KEY } }), startRedis({ config: { rdbcompression: 'no' } }),
    ]);
    source = redis;
    try {
      expect(prepared.code, prepared.err).toBe(0);
      await seedAllTypes(source, { keysPerType: 5 });
      const instance = await register(service, 'orders \u{1f4e6}', source);
      older = await backUp(service, instance.id, 'the older');
      await populate(source, 3, 700_000);
      newer = await backUp(service, instance.id, 'the newer');
      file = Buffer.from(await new Response(await service.sdk.backups.download(newer)).arrayBuffer());
      mkdirSync(store);
      cpSync(join(service.storeRoot, 'backups'), join(store, 'backups'), { recursive: true, preserveTimestamps: true });
    } finally {
      await service.stop();
    }
  });
  afterAll(async () => {
    await source?.stop();
    await removeTempDir(folder);
  });

  it('lists what there is, for people and for programs, also without the key', async () => {
    const { code, err, ...rest } = await archive('list');
    expect([code, err]).toEqual([0, '']);
    const [head, ...rows] = text({ code, err, ...rest }).trimEnd().split('\n').map((line) => line.split(/ {2,}/));
    expect(head).toEqual(['ID', 'TAKEN', 'SIZE', 'STORED', 'INTEGRITY', 'KEY', 'INSTANCE', 'NAME']);
    const keyId = createHash('sha256').update('snapback master key id').update(Buffer.from(MASTER_KEY, 'hex')).digest('hex').slice(0, 8);
    const expected = [older, newer].map(({ id, completedAt, name }) => [id, completedAt, expect.stringMatching(/^[\d.]+ [KM]iB$/), expect.stringMatching(/^[\d.]+ [KM]iB$/), 'STRUCTURE_AND_CHECKSUM', keyId, 'orders \u{1f4e6}', name]);
    expect(rows).toEqual(expected);

    const lines = text(await archive('list --json')).trimEnd().split('\n').map((line) => JSON.parse(line) as unknown);
    expect(lines).toMatchObject([older, newer].map(({ id, name, sizeBytes, storedBytes, sha256, keys, completedAt, integrity, instance }) => ({
      id, name, sizeBytes, storedBytes, sha256, keys, completedAt, integrity, instance: { id: instance.id, name: instance.name }, encryptedBy: [keyId], problem: null,
    })));

    const unproven = await archive('list', { MASTER_KEY: 'ab'.repeat(32) });
    expect([unproven.code, text(unproven)]).toEqual([0, expect.stringContaining(`${keyId} (not given)`)]);
    const keyless = await archive('list --json', { MASTER_KEY: '', MASTER_KEY_FILE: join(folder, 'nowhere') });
    expect([keyless.code, keyless.err, text(keyless)]).toEqual([0, expect.stringContaining('Without a master key'), expect.stringContaining('"problem":{"code":"KEY_UNAVAILABLE"')]);
  });

  it('verifies one, several or all of them; other settings, right or wrong, are in nobody\'s way', async () => {
    const all = await archive('verify --all', { ROLE: 'nonsense', DATABASE_URL: 'postgresql://nobody@127.0.0.1:1/none', PORT: 'x' });
    expect(text(all)).toBe([older, newer].map(({ id, sizeBytes }) => `${id} good (CONTENT, ${Number(sizeBytes) < 1_000_000 ? (Number(sizeBytes) / 1024).toFixed(Number(sizeBytes) < 102_400 ? 1 : 0) : (Number(sizeBytes) / 1024 ** 2).toFixed(2)} ${Number(sizeBytes) < 1_000_000 ? 'KiB' : 'MiB'}, STRUCTURE_AND_CHECKSUM)\n`).join(''));
    expect([all.code, all.err.trim()]).toEqual([0, '2 of 2 good, 0 damaged, 0 could not be verified.']);
    const one = await archive(`verify ${older.id} --level structure`);
    expect([one.code, text(one)]).toEqual([0, expect.stringContaining('good (STRUCTURE')]);
  });

  it('extracts what a download gave, for its owner\'s eyes, and never over another file unless it is told to', async () => {
    const target = join(folder, 'out.rdb');
    const first = await archive(`extract ${newer.id} ${target}`);
    expect([first.code, first.err, text(first).trim()]).toEqual([0, '', `${target}: ${String(newer.sizeBytes)} bytes, SHA-256 ${String(newer.sha256)}`]);
    expect(readFileSync(target).equals(file)).toBe(true);
    expect(statSync(target).mode & 0o777).toBe(0o600);
    expect(await checkRdb(target)).toContain('RDB looks OK');

    writeFileSync(target, 'something else');
    const refused = await archive(`extract ${newer.id} ${target}`);
    expect([refused.code, refused.err]).toEqual([3, expect.stringMatching(/CONFLICT: .*out\.rdb is there already[^]*--force/)]);
    expect(readFileSync(target, 'utf8')).toBe('something else');
    expect((await archive(`extract ${newer.id} ${target} --force`)).code).toBe(0);
    expect(readFileSync(target).equals(file)).toBe(true);
    rmSync(target);

    const piped = await archive(`extract ${newer.id} -`);
    expect([piped.code, piped.out.equals(file), piped.err]).toEqual([0, true, expect.stringContaining(String(newer.sha256))]);
    const cut = await shell(`node dist/server/archive-command.js extract ${newer.id} - | head -c 100000`);
    expect([cut.out.equals(file.subarray(0, 100_000)), cut.err]).toEqual([true, '']);
  });

  it('is what the manual says', async () => {
    const block = readBlocks('server/README.md').find(({ run }) => run === 'archive');
    const said = await shell(block?.code ?? 'false', { MASTER_KEY: '', MASTER_KEY_FILE: join(folder, 'key') });
    expect(said.code).not.toBe(0);
    writeFileSync(join(folder, 'key'), `${'ab'.repeat(32)}\n${MASTER_KEY}\n`);
    const { code, err } = await shell(block?.code ?? 'false', { MASTER_KEY: '', MASTER_KEY_FILE: join(folder, 'key') });
    expect([code, err]).toEqual([0, '2 of 2 good, 0 damaged, 0 could not be verified.\n']);
    expect(readFileSync(join(folder, 'recovered.rdb')).equals(file)).toBe(true);
    rmSync(join(folder, 'recovered.rdb'));
  });

  it('gives nothing that is damaged, and says which archive, which part and where', async () => {
    const target = join(folder, 'damaged.rdb');
    damage(newer);
    try {
      const verified = await archive('verify --all');
      expect([verified.code, text(verified)]).toEqual([1, expect.stringMatching(new RegExp(`${older.id} good [^]*${newer.id} DAMAGED: CORRUPT: .*${newer.id}/rdb is damaged: block 1 at byte \\d+`))]);
      expect((await archive('verify --all --level structure')).code).toBe(0);
      const extracted = await archive(`extract ${newer.id} ${target}`);
      expect([extracted.code, extracted.err]).toEqual([1, expect.stringContaining('block 1 at byte')]);
      expect(readdirSync(folder).filter((name) => name.includes('damaged'))).toEqual([]);
      const piped = await archive(`extract ${newer.id} -`);
      expect([piped.code, piped.out.length, piped.out.equals(file.subarray(0, piped.out.length))]).toEqual([1, DEFAULT_BLOCK_SIZE, true]);
    } finally {
      damage(newer);
    }
    const manifest = join(store, 'backups', older.id, 'manifest');
    const bytes = readFileSync(manifest);
    writeFileSync(manifest, Buffer.concat([bytes.subarray(0, 50), Buffer.from('\u001b[31m'), bytes.subarray(50)]));
    const listed = await archive('list');
    expect([listed.code, listed.err.trim(), text(listed)]).toEqual([1, '1 of 2 archives cannot be read.', expect.stringMatching(new RegExp(`${older.id} .* CORRUPT .*[^]*${newer.id}`))]);
    expect(text(listed)).not.toContain('\u001b');
    writeFileSync(manifest, bytes);
    const missing = await archive(`verify ${NOBODYS}`);
    expect([missing.code, text(missing)]).toEqual([1, expect.stringContaining('DAMAGED: NOT_FOUND')]);
  });

  it('says what stands in the way, and blames no archive for it', async () => {
    const wrong = { MASTER_KEY: 'ab'.repeat(32) };
    const verified = await archive('verify --all', wrong);
    expect([verified.code, text(verified)]).toEqual([3, expect.stringMatching(/not verified: KEY_UNAVAILABLE: .* is wrapped by master key [0-9a-f]{8}; at hand: [0-9a-f]{8}/)]);
    expect(await archive(`extract ${older.id} ${join(folder, 'x.rdb')}`, wrong)).toMatchObject({ code: 3, err: expect.stringContaining('KEY_UNAVAILABLE') as string });
    expect(await archive(`extract ${older.id} ${join(folder, 'no', 'such', 'folder.rdb')}`)).toMatchObject({ code: 3, err: expect.stringContaining('cannot be written (ENOENT)') as string });
    expect(await archive('list', { STORE_URL: `file://${join(folder, 'nowhere')}` })).toMatchObject({ code: 3, err: expect.stringContaining('is not a store') as string });
    mkdirSync(join(folder, 'empty'));
    expect(await archive('list', { STORE_URL: `file://${join(folder, 'empty')}` })).toMatchObject({ code: 3, err: expect.stringContaining('volume is mounted') as string });
  });

  it('refuses what it does not know, with a word on its use', async () => {
    const wrong: [string, RegExp][] = [
      ['', /A command is missing/], ['remove x', /no command "remove"/], ['list x', /takes no names/], ['verify', /takes ids, or --all/], ['verify --all bak_1', /takes ids, or --all/],
      ['verify bak_1', /no backup's id/], ['verify --all --level deep', /--level takes STRUCTURE or CONTENT/], [`extract ${NOBODYS}`, /takes an id and a file/], ['list --force', /takes no --force/],
      ['list --nonsense', /nonsense/],
    ];
    await Promise.all(wrong.map(async ([args, why]) => {
      const { code, err } = await archive(args);
      expect([code, err], args).toEqual([2, expect.stringMatching(why)]);
      expect(err).toContain('Usage: npm run --silent archive');
    }));
  });

  it('takes archives without encryption without a key, and wrong settings for what they are', async () => {
    const plain = join(folder, 'plain');
    await writeArchive(await openFilesystemStore({ root: plain, create: true }), file, { keys: undefined, backupId: NOBODYS }, { capture: { method: 'SCAN', consistency: 'FUZZY' } });
    const env = { STORE_URL: `file://${plain}`, MASTER_KEY: '', MASTER_KEY_FILE: join(folder, 'nowhere') };
    expect(text(await archive('list', env))).toMatch(new RegExp(`${NOBODYS} .* STRUCTURE_AND_CHECKSUM \\(FUZZY\\) +none `));
    expect((await archive(`verify ${NOBODYS} --level structure`, env)).code).toBe(0);
    expect(await archive('list', { STORE_URL: 'ftp://x', MASTER_KEY: 'short' })).toMatchObject({ code: 2, err: expect.stringMatching(/2 mistakes[^]*STORE_URL[^]*MASTER_KEY/) as string });
  });

  it('works on archives in S3 all the same, and asks for nothing but reading', async () => {
    const s3 = await startS3();
    try {
      const env = s3.settings('team/redis');
      const keys = masterKeysFromText(MASTER_KEY);
      const log = createLogger({ level: 'error', write: () => undefined });
      const there = await openStoreAt(readArchiveConfig(env), { create: true }, { dial: createDial(ALLOW_EVERYTHING), log });
      const reader = new RdbReader();
      reader.push(file);
      await writeArchive(there, file, { keys, backupId: NOBODYS }, { rdb: reader.finish() });
      await there.close();
      const before = s3.requests.length;
      expect(text(await archive('list', env))).toContain(NOBODYS);
      expect(await archive('verify --all', env)).toMatchObject({ code: 0 });
      const { code, out } = await archive(`extract ${NOBODYS} -`, env);
      expect([code, out.equals(file)]).toEqual([0, true]);
      const operations = new Set(s3.requests.slice(before).map(({ operation }) => operation));
      expect([...operations].sort()).toEqual(['GetObject', 'HeadObject', 'ListObjectsV2']);
    } finally {
      await s3.stop();
    }
  });

  it('has never written to the store', async () => {
    const before = traceOf(store);
    for (const args of ['list', 'list --json', 'verify --all', `extract ${older.id} -`]) await archive(args);
    expect(traceOf(store)).toEqual(before);
    expect(readdirSync(store)).toEqual(['backups']);
  });
});
