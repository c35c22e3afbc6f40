import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cp, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openArchive } from '../../../server/engine/archive/archive.js';
import { BACKUP_ID, KIB, facts, randomBytesOf, readPlain, scratchStore, textOf, writeArchive, type Scratch } from './archive-kit.js';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const SALT = Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex');
const EMPTY_RDB = { ...facts().rdb, aux: {}, databases: [], types: [], keys: 0n, expiring: 0n, functions: 0, rdbTypes: [], opcodes: [], bytes: 18n };

/** The plain bytes of `vectors/brotli`, as FORMAT.md gives them. */
const brotliPlain = (): Buffer => {
  const out = Buffer.alloc(600_000);
  for (let i = 0; i < out.length; i += 1) out[i] = (i % 251) + (Math.floor(i / 65_536) % 4);
  return out;
};

const pythonVersion = (): string | undefined => {
  try {
    return execFileSync('python3', ['--version'], { encoding: 'utf8' }).trim();
  } catch {
    return undefined;
  }
};

describe('format document', () => {
  let at: Scratch;
  beforeEach(async () => { at = await scratchStore(); });
  afterEach(() => at.dispose());

  const fences = async (): Promise<Record<string, string>> => {
    const text = await readFile(join(HERE, '../../../server/engine/archive/FORMAT.md'), 'utf8');
    return Object.fromEntries([...text.matchAll(/^```(?:hex|json) (\w+)\n([\s\S]*?)\n```$/gm)].map(([, name, body]) => [name!, body!]));
  };
  const hex = (text: string): Buffer => Buffer.from(text.replaceAll(/\s/g, ''), 'hex');
  const place = (name: string): Promise<void> => cp(join(HERE, 'vectors', name, 'backups'), join(at.root, 'backups'), { recursive: true });

  it('its vector is what the writer writes, byte for byte, and what the files hold', async () => {
    const { plain, rdb, manifest } = await fences();
    await writeArchive(at.store, hex(plain!), { keys: undefined, codec: { name: 'none' }, blockSize: 256 * KIB as 262144, random: () => SALT }, { rdb: EMPTY_RDB });
    for (const [object, given] of [['rdb', hex(rdb!)], ['manifest', Buffer.from(manifest!, 'utf8')]] as const) {
      const written = await at.get(`backups/${BACKUP_ID}/${object}`);
      expect(written.toString('hex')).toBe(given.toString('hex'));
      expect(written.equals(await readFile(join(HERE, 'vectors/none/backups', BACKUP_ID, object)))).toBe(true);
    }
  });

  it('archives of earlier releases stay readable', async () => {
    const { plain } = await fences();
    for (const [name, content] of [['none', hex(plain!)], ['brotli', brotliPlain()]] as const) {
      await place(name);
      await (await openArchive(at.store, BACKUP_ID)).verify();
      expect((await readPlain(at.store)).equals(content), name).toBe(true);
      await at.store.remove(`backups/${BACKUP_ID}/manifest`);
      await at.store.remove(`backups/${BACKUP_ID}/rdb`);
    }
  });

  it('a reader written from the document alone, in another language, agrees', async ({ annotate }) => {
    const python = pythonVersion();
    if (python === undefined) {
      await annotate('No python3 here: the independent reader did not run.', 'warning');
      return;
    }
    const plain = Buffer.concat([textOf(600 * KIB, 1), randomBytesOf(100 * KIB, 2)]);
    await writeArchive(at.store, plain, { keys: undefined, codec: { name: 'none' }, blockSize: 256 * KIB as 262144 });
    const run = (): string => execFileSync('python3', [join(HERE, 'reader.py'), dirname(at.path(`backups/${BACKUP_ID}/rdb`))], { encoding: 'utf8', stdio: 'pipe' });
    expect(JSON.parse(run())).toEqual({ plainSize: plain.length, plainSha256: createHash('sha256').update(plain).digest('hex'), expanded: true });

    const stored = await at.get(`backups/${BACKUP_ID}/rdb`);
    stored[300_000]! ^= 1;
    await at.tamper(`backups/${BACKUP_ID}/rdb`, stored);
    expect(run).toThrow(/block 1: wrong tag/);
  });

  it('that reader checks every frame of a compressed archive too', async ({ annotate }) => {
    const python = pythonVersion();
    if (python === undefined) {
      await annotate('No python3 here: the independent reader did not run.', 'warning');
      return;
    }
    await place('brotli');
    const seen: unknown = JSON.parse(execFileSync('python3', [join(HERE, 'reader.py'), dirname(at.path(`backups/${BACKUP_ID}/rdb`))], { encoding: 'utf8' }));
    expect(seen).toMatchObject({ plainSize: 600_000 });
  });
});
