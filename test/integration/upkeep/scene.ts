import { createHash, randomBytes } from 'node:crypto';
import { type BackupState, type Trigger } from '../../../server/domain/backup.js';
import { expiresAt } from '../../../server/domain/retention.js';
import { type Clock } from '../../../server/engine/ports.js';
import { type Store } from '../../../server/engine/store/store.js';
import { attachStore } from '../../../server/jobs/upkeep/attachment.js';
import { createUpkeep, type Upkeep, type UpkeepDeps, type UpkeepSettings } from '../../../server/jobs/upkeep/upkeep.js';
import { createAuditSigner } from '../../../server/security/audit-signer.js';
import { ALLOW_EVERYTHING, createDial } from '../../../server/security/dial.js';
import { masterKeysFromText } from '../../../server/security/master-key.js';
import { type InstanceRecord } from '../../../server/services/records.js';
import { RING, rdbOf, scratchStore, writeArchive, type Scratch } from '../../unit/archive/archive-kit.js';
import { instance as instanceRecord, policy } from '../graphql/records.js';
import { clock, newId, startRig, type Rig } from '../jobs/rig.js';

export const DAY = 24 * 60 * 60_000;

export interface BackupWish {
  instance: { id: string };
  /** Completed so many days ago. */
  days: number;
  state?: BackupState;
  trigger?: Trigger;
  /** Default true. */
  archive?: boolean;
  name?: string;
}

/** A database and a store of one test, with the real pass over both; no service. */
export interface UpkeepScene {
  rig: Rig;
  scratch: Scratch;
  instance(over?: Partial<InstanceRecord>): Promise<InstanceRecord>;
  backup(wish: BackupWish): Promise<string>;
  /** A sealed archive alone, as a lost database leaves it. */
  archive(options?: { id?: string; instance?: { id: string; name?: string }; days?: number; runId?: string; projectId?: string; port?: number }): Promise<string>;
  /** As one more process would have it. */
  upkeep(options?: Partial<Omit<UpkeepDeps, 'settings'>> & { settings?: Partial<UpkeepSettings> }): Upkeep;
  stateOf(backupId: string): Promise<string | undefined>;
  objects(): Promise<string[]>;
  lease(backupId: string, seconds?: number): Promise<string>;
  stop(): Promise<void>;
}

const DEFAULTS: UpkeepSettings = { everyMs: 600_000, unsealedMs: 3_600_000, maxDeletions: 1_000 };
/** What every archive of a scene holds. */
export const CONTENT = rdbOf(5_000, 1);
export const QUIET: UpkeepDeps['lease'] = { lifeMs: 60_000, renewMs: 60_000 };

export const startScene = async (): Promise<UpkeepScene> => {
  const [rig, scratch] = await Promise.all([startRig(), scratchStore()]);
  const { db } = rig;
  const { projectId } = rig.caller;
  await attachStore(db, scratch.store, rig.log);
  const seal: UpkeepScene['archive'] = async ({ id = newId('backup'), instance, days = 1, runId, port = 6379, ...rest } = {}) => {
    const completedAt = new Date(Date.now() - days * DAY);
    await writeArchive(scratch.store, CONTENT.plain, { backupId: id }, {
      rdb: CONTENT.rdb,
      backup: { projectId: rest.projectId ?? projectId, name: `archive ${id.slice(-4)}`, trigger: 'MANUAL' },
      source: {
        instanceId: instance?.id ?? newId('instance'), instanceName: instance?.name ?? 'orders', engine: 'REDIS', version: '7.0.15',
        runId: runId ?? randomBytes(20).toString('hex'), address: { host: '10.0.0.5', port }, node: null,
      },
      startedAt: new Date(completedAt.getTime() - 1000), completedAt,
    });
    return id;
  };
  return {
    rig, scratch, archive: seal,
    async instance(over = {}) {
      const record = instanceRecord({ projectId, name: `server ${randomBytes(4).toString('hex')}`, port: 1 + Math.floor(Math.random() * 60_000), ...over });
      record.server = { ...record.server, runId: randomBytes(20).toString('hex') };
      await db.read.instances.insert(record, null);
      await db.read.policies.insert({ ...policy(record.id), projectId, nextRunAt: null });
      return record;
    },
    async backup({ instance, days, state = 'AVAILABLE', trigger = 'MANUAL', archive = true, name = 'backup' }) {
      const id = newId('backup', new Date(Date.now() - days * DAY));
      const completedAt = new Date(Date.now() - days * DAY);
      await db.read.backups.insert({
        id, projectId, instanceId: instance.id, jobId: null, name, trigger, engine: 'REDIS', engineVersion: '7.0.15', coverage: { kind: 'INSTANCE' }, createdAt: completedAt,
      });
      await db.read.backups.change({ projectId }, id, ['CREATING'], { state, completedAt, expiresAt: expiresAt(completedAt), sizeBytes: BigInt(CONTENT.plain.length), sha256: createHash('sha256').update(CONTENT.plain).digest('hex') });
      if (archive) await seal({ id, instance, days });
      return id;
    },
    upkeep: ({ settings, ...over } = {}) =>
      createUpkeep({
        auditSigner: createAuditSigner(masterKeysFromText('ab'.repeat(32))),
        db, store: scratch.store, keys: RING, ids: { make: (kind) => newId(kind) }, clock, log: rig.log, worker: `worker-${randomBytes(3).toString('hex')}`,
        vault: { keyId: RING.current.id, seal: () => Buffer.alloc(0), open: () => '{}' }, dial: createDial(ALLOW_EVERYTHING),
        queue: { enqueueJob: () => Promise.resolve(), schedulePolicy: () => Promise.resolve() },
        lease: { lifeMs: 30_000, renewMs: 8_000 }, settings: { ...DEFAULTS, ...settings }, ...over,
      }),
    async stateOf(backupId) {
      const [row] = await rig.sql<{ state: string }>('SELECT state FROM backups WHERE id = $1', [backupId]);
      return row?.state;
    },
    async objects() {
      const keys: string[] = [];
      for await (const { key } of scratch.store.list('')) keys.push(key);
      return keys;
    },
    async lease(backupId, seconds = 60) {
      const id = randomBytes(8).toString('hex');
      await db.read.leases.add({ projectId }, { id, backupId, holder: 'a test', seconds });
      return id;
    },
    async stop() {
      await rig.stop();
      await scratch.dispose();
    },
  };
};

/** The same store, with some calls of one's own. */
export const storeWith = (store: Store, calls: Partial<Store>): Store =>
  new Proxy(store, {
    get: (target, name) => {
      const own = calls[name as keyof Store] ?? Reflect.get(target, name, target);
      return typeof own === 'function' ? (own as (...args: unknown[]) => unknown).bind(target) : own;
    },
  });

/** A clock that a test sets. */
export const setClock = (start = Date.now()): Clock & { add(ms: number): void } => {
  let offset = start - Date.now();
  return {
    now: () => new Date(Date.now() + offset),
    add: (ms) => {
      offset += ms;
    },
  };
};
