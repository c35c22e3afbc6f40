import { execFileSync } from 'node:child_process';
import { createHash, hkdfSync } from 'node:crypto';
import { cp, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openArchive } from '../../../server/engine/archive/archive.js';
import { manifestKeyFrom } from '../../../server/engine/archive/keys.js';
import { BACKUP_ID, KIB, MASTER, RING, facts, randomBytesOf, readPlain, scratchStore, textOf, writeArchive, type Scratch } from './archive-kit.js';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const MASTER_KEY = '5a'.repeat(32);
/** 00 01 02 …, as FORMAT.md says of its vectors. */
const counting = (): ((bytes: number) => Uint8Array) => {
  let next = 0;
  return (bytes) => Uint8Array.from({ length: bytes }, () => next++);
};
const EMPTY_RDB = { ...facts().rdb, aux: {}, databases: [], types: [], keys: 0n, expiring: 0n, functions: 0, rdbTypes: [], opcodes: [], bytes: 18n };

/** The plain bytes of `vectors/brotli`, as FORMAT.md gives them. */
const brotliPlain = (): Buffer => {
  const out = Buffer.alloc(600_000);
  for (let i = 0; i < out.length; i += 1) out[i] = (i % 251) + (Math.floor(i / 65_536) % 4);
  return out;
};

/** Which Python there is; the second without any package, which leaves it to the reader's own AES. */
const PYTHONS = [['python3'], ['python3', '-S']] as const;
const pythonIsHere = (): boolean => {
  try {
    execFileSync('python3', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
};

describe('format document', () => {
  let at: Scratch;
  beforeEach(async () => { at = await scratchStore(); });
  afterEach(() => at.dispose());

  const fences = async (): Promise<Record<string, string>> => {
    const text = await readFile(join(HERE, '../../../server/engine/archive/FORMAT.md'), 'utf8');
    return Object.fromEntries([...text.matchAll(/^```(?:hex|json) ([\w-]+)\n([\s\S]*?)\n```$/gm)].map(([, name, body]) => [name!, body!]));
  };
  const hex = (text: string): Buffer => Buffer.from(text.replaceAll(/\s/g, ''), 'hex');
  const place = (name: string): Promise<void> => cp(join(HERE, 'vectors', name, 'backups'), join(at.root, 'backups'), { recursive: true });

  it('its vectors are what the writer writes, byte for byte, and what the files hold', async () => {
    const fence = await fences();
    const options = { codec: { name: 'none' }, blockSize: 256 * KIB as 262144 } as const;
    await writeArchive(at.store, hex(fence['plain']!), { ...options, keys: undefined, random: counting() }, { rdb: EMPTY_RDB });
    for (const [object, given] of [['rdb', hex(fence['rdb']!)], ['manifest', Buffer.from(fence['manifest']!, 'utf8')]] as const) {
      const written = await at.get(`backups/${BACKUP_ID}/${object}`);
      expect(written.toString('hex')).toBe(given.toString('hex'));
      expect(written.equals(await readFile(join(HERE, 'vectors/none/backups', BACKUP_ID, object)))).toBe(true);
      await at.store.remove(`backups/${BACKUP_ID}/${object}`);
    }
    await writeArchive(at.store, hex(fence['plain']!), { ...options, keys: RING, random: counting() }, { rdb: EMPTY_RDB });
    for (const [object, given] of [[`key.${MASTER.id}`, hex(fence['encrypted-key']!)], ['rdb', hex(fence['encrypted-rdb']!)], ['manifest', Buffer.from(fence['encrypted-manifest']!, 'utf8')]] as const) {
      const written = await at.get(`backups/${BACKUP_ID}/${object}`);
      expect(written.toString('hex')).toBe(given.toString('hex'));
      expect(written.equals(await readFile(join(HERE, 'vectors/encrypted/backups', BACKUP_ID, object)))).toBe(true);
    }
  });

  it('says what the keys of its vector are', async () => {
    const text = await readFile(join(HERE, '../../../server/engine/archive/FORMAT.md'), 'utf8');
    const value = (name: string): string => new RegExp(`^\\| ${name} \\| \`([0-9a-f]+)\` \\|$`, 'm').exec(text)?.[1] ?? '';
    expect(value('id of the master key')).toBe(MASTER.id);
    expect(value('what wraps')).toBe(MASTER.derive('archive keys v1').toString('hex'));
    const key = Uint8Array.from({ length: 32 }, (_, i) => 16 + i);
    expect(value("the artifact's key")).toBe(Buffer.from(hkdfSync('sha256', key, counting()(16), 'snapback v1 data', 32)).toString('hex'));
    expect(value("the manifest's key")).toBe(manifestKeyFrom(key).toString('hex'));
  });

  it('archives of earlier releases stay readable', async () => {
    const plain = hex((await fences())['plain']!);
    for (const [name, content] of [['none', plain], ['brotli', brotliPlain()], ['encrypted', plain], ['encrypted-digest', plain], ['encrypted-brotli', brotliPlain()], ['encrypted-lz4', brotliPlain()]] as const) {
      await place(name);
      await (await openArchive(at.store, BACKUP_ID, { keys: RING })).verify();
      expect((await readPlain(at.store)).equals(content), name).toBe(true);
      for (const object of ['manifest', 'rdb', `key.${MASTER.id}`]) await at.store.remove(`backups/${BACKUP_ID}/${object}`);
    }
  });

  describe.each(PYTHONS)('a reader written from the document alone, in another language (%s %s)', (...[command, option]) => {
    const here = pythonIsHere();
    const folder = (): string => dirname(at.path(`backups/${BACKUP_ID}/rdb`));
    const read = (more: readonly string[] = [], env: Readonly<Record<string, string>> = { MASTER_KEY }): unknown =>
      JSON.parse(execFileSync(command, [...(option === undefined ? [] : [option]), join(HERE, 'reader.py'), folder(), ...more], { encoding: 'utf8', stdio: 'pipe', env: { PATH: process.env['PATH'], HOME: process.env['HOME'], ...env } }));
    const without = async (annotate: (text: string, type: string) => Promise<unknown>): Promise<boolean> => {
      if (!here) await annotate('No python3 here: the independent reader did not run.', 'warning');
      return !here;
    };

    it('agrees about the vectors', async ({ annotate }) => {
      if (await without(annotate)) return;
      for (const name of ['none', 'brotli', 'encrypted', 'encrypted-digest', 'encrypted-brotli', 'encrypted-lz4']) {
        await place(name);
        const size = name.endsWith('brotli') || name.endsWith('lz4') ? 600_000 : 18;
        expect(read()).toMatchObject({ plainSize: size, ...(name.endsWith('brotli') ? {} : { expanded: true }), encrypted: name.startsWith('encrypted'), gcm: !name.startsWith('encrypted') ? null : option === '-S' ? 'aes_gcm.py' : expect.any(String) as string });
        for (const object of ['manifest', 'rdb', `key.${MASTER.id}`]) await at.store.remove(`backups/${BACKUP_ID}/${object}`);
      }
    });

    it.each([[true, 'none'], [false, 'none'], [true, 'lz4'], [false, 'lz4']] as const)('agrees about an archive of today (encrypted: %s, codec %s), and gives its content', async (encrypted, codec) => {
      if (!here) return;
      const plain = Buffer.concat([textOf(250 * KIB, 1), randomBytesOf(30 * KIB, 2)]);
      await writeArchive(at.store, plain, { keys: encrypted ? RING : undefined, attempt: 2, codec: { name: codec }, blockSize: 256 * KIB as 262144 });
      const out = join(at.root, '..', 'out.rdb');
      expect(read([out])).toMatchObject({ plainSize: plain.length, plainSha256: createHash('sha256').update(plain).digest('hex'), expanded: true, encrypted });
      expect((await readFile(out)).equals(plain)).toBe(true);
    });

    it('finds damage wherever it is, and gives nothing without the key', async () => {
      // Once is enough: each run takes a moment.
      if (!here || option === undefined) return;
      const changes: [object: string, at: number, said: RegExp][] = [
        ['rdb', 20, /header: disagrees/], ['rdb', 85, /block 0: wrong tag/], ['rdb', 70, /block 0: wrong header/], ['rdb', 135, /index: wrong tag/], ['rdb', 185, /footer: wrong/],
        ['manifest', 60, /manifest: wrong digest/], [`key.${MASTER.id}`, 40, /key: wrong tag/],
      ];
      await place('encrypted');
      for (const [object, offset, said] of changes) {
        const key = `backups/${BACKUP_ID}/${object}`;
        const bytes = await at.get(key);
        const damaged = Buffer.from(bytes);
        damaged[offset]! ^= 1;
        await at.tamper(key, damaged);
        expect(read, `${object} ${String(offset)}`).toThrow(said);
        await at.tamper(key, bytes);
      }
      expect(() => read([], {})).toThrow(/none of the master keys given wraps it/);
      expect(() => read([], { MASTER_KEY: 'a5'.repeat(32) })).toThrow(/none of the master keys given wraps it/);
      expect(read([], { MASTER_KEY: `${'a5'.repeat(32)},${MASTER_KEY}` })).toMatchObject({ plainSize: 18 });
    });
  });
});
