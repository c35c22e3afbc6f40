import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createArchive, openArchive, type CreateArchiveOptions, type KeyRing, type Manifest, type ManifestFacts, type ReadRange } from '../../../server/engine/archive/archive.js';
import { RdbReader } from '../../../server/engine/rdb/reader.js';
import { type RdbSummary } from '../../../server/engine/rdb/summary.js';
import { openFilesystemStore } from '../../../server/engine/store/filesystem.js';
import { type FsOps } from '../../../server/engine/store/fs-ops.js';
import { type Store } from '../../../server/engine/store/store.js';
import { masterKeysFromText } from '../../../server/security/master-key.js';
import { RdbBuilder } from '../../kit/rdb-builder.js';

export const BACKUP_ID = 'bak_01hzy0000000000000000000a1';
export const OTHER_ID = 'bak_01hzy0000000000000000000b2';
export const KIB = 1024;
export const MASTER = masterKeysFromText('5a'.repeat(32)).current;
export const OTHER_MASTER = masterKeysFromText('a5'.repeat(32)).current;
export const RING: KeyRing = { current: MASTER, all: [MASTER] };

/** Small, seeded, good enough to spread mutations (mulberry32). */
export const seeded = (seed: number): ((below: number) => number) => {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  };
};

export const randomBytesOf = (length: number, seed: number): Buffer => {
  const next = seeded(seed);
  const out = Buffer.alloc(length);
  for (let i = 0; i + 4 <= length; i += 4) out.writeUInt32LE(next(2 ** 32), i);
  for (let i = length - (length % 4); i < length; i += 1) out[i] = next(256);
  return out;
};

/** Lines that compress well, yet differ. */
export const textOf = (length: number, seed: number): Buffer => {
  const next = seeded(seed);
  let text = '';
  while (text.length < length) text += `user:${String(next(1e6))} city=${['Berlin', 'Tokyo', 'Lagos'][next(3)]!} active=true\n`;
  return Buffer.from(text.slice(0, length), 'latin1');
};

/** An RDB file of about so many bytes, and what a walk of it finds. */
export const rdbOf = (length: number, seed: number): { plain: Buffer; rdb: RdbSummary } => {
  const builder = new RdbBuilder(10).aux('redis-ver', '7.0.15').select(0);
  const values = textOf(length, seed);
  for (let at = 0; at < length; at += 1000) builder.string(`key:${String(at)}`, values.subarray(at, at + 980));
  const plain = builder.build();
  const reader = new RdbReader();
  reader.push(plain);
  return { plain, rdb: reader.finish() };
};

export const facts = (change: Partial<ManifestFacts> = {}): ManifestFacts => ({
  backup: { projectId: 'prj_01hzy0000000000000000000p1', name: 'Nightly “größe” 夜', trigger: 'MANUAL' },
  source: {
    instanceId: 'ins_01hzy0000000000000000000n1', instanceName: 'orders', engine: 'REDIS', version: '7.0.15',
    runId: '0123456789abcdef0123456789abcdef01234567', address: { host: '10.0.0.5', port: 6379 }, node: null,
  },
  coverage: { kind: 'INSTANCE' },
  capture: { method: 'REPLICATION', consistency: 'POINT_IN_TIME' },
  replication: { id: '8371b4fb1155b71f4a04d3e1bc3e18c4a990aeeb', offset: 9_007_199_254_740_993n },
  startedAt: new Date('2026-01-02T03:04:05.678Z'),
  completedAt: new Date('2026-01-02T03:04:09.000Z'),
  createdBy: { software: 'snapback', version: '0.1.0' },
  rdb: {
    magic: 'REDIS', version: 10, aux: { 'redis-ver': '7.0.15', ctime: '1767323045' },
    databases: [{ database: 0, keys: 5n, expiring: 1n }, { database: 9, keys: 1n, expiring: 0n }],
    types: [{ type: 'STRING', keys: 4n }, { type: 'HASH', keys: 2n }],
    keys: 6n, expiring: 1n, functions: 1, rdbTypes: [0, 16], opcodes: [245, 250, 251, 252, 254], modules: [], hasHashFieldTtl: false,
    bytes: 30n, checksum: 'VALID', integrity: 'STRUCTURE_AND_CHECKSUM', unknown: null,
  },
  ...change,
});

export interface Scratch {
  root: string;
  store: Store;
  /** Path of an object's file. */
  path(key: string): string;
  get(key: string): Promise<Buffer>;
  /** Overwrites an object's bytes behind the store's back. */
  tamper(key: string, content: Uint8Array): Promise<void>;
  dispose(): Promise<void>;
}

export const scratchStore = async (fs?: FsOps): Promise<Scratch> => {
  const folder = await mkdtemp(join(tmpdir(), 'snapback-archive-'));
  const root = join(folder, 'store');
  const path = (key: string): string => join(root, key);
  return {
    root,
    store: await openFilesystemStore({ root, create: true, fs }),
    path,
    get: (key) => readFile(path(key)),
    tamper: (key, content) => writeFile(path(key), content),
    dispose: () => rm(folder, { recursive: true, force: true }),
  };
};

export const writeArchive = async (
  store: Store, plain: Uint8Array, options: Partial<CreateArchiveOptions> = {}, change: Partial<ManifestFacts> = {}, chunk = 65_536,
): Promise<Manifest> => {
  const writer = await createArchive(store, { backupId: BACKUP_ID, keys: RING, ...options });
  for (let at = 0; at < plain.length; at += chunk) await writer.write(plain.subarray(at, at + chunk));
  return writer.seal(facts(change));
};

export const readPlain = async (store: Store, range?: ReadRange, backupId = BACKUP_ID): Promise<Buffer> => {
  const reader = await openArchive(store, backupId, { keys: RING });
  const parts: Uint8Array[] = [];
  for await (const part of reader.read(range)) parts.push(part);
  return Buffer.concat(parts);
};
