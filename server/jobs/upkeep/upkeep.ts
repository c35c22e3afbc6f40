import { DomainError } from '../../domain/errors.js';
import { noticeOfMissed } from '../../domain/notice.js';
import { type Clock } from '../../engine/ports.js';
import { type KeyRing } from '../../engine/archive/archive.js';
import { type Store } from '../../engine/store/store.js';
import { type AuditSigner, type Repositories, type UpkeepBackup, type UpkeepPort } from '../../services/ports.js';
import { type SlotRecord } from '../../services/records.js';
import { adoptArchive } from './adopt.js';
import { createUpkeepArchives } from './archives.js';
import { detachedBecause } from './attachment.js';
import { ClockWatch } from './clock-watch.js';
import { type UpkeepContext } from './context.js';
import { takeInventory } from './inventory.js';
import { endAbandoned, markMissing } from './missing.js';
import { proveArchive } from './prove.js';
import { buryUndead, retire } from './retention.js';
import { ServiceLock, type ServiceLockDeps } from './service-lock.js';
import { encodeStatus, noticeOfStop, readStatus } from './status.js';
import { settleTargets, type SettleDeps } from './settle-targets.js';
import { rekey } from './rekey.js';
import { signAudit } from './sign-audit.js';
import { sweepUnsealed } from './sweep.js';

const LOCK = 'upkeep';
/** How often each node looks whether a pass is due, or the store has been adopted. */
const LOOK_EVERY_MS = 5_000;

const MOST_SLOTS = 1_000;

export interface UpkeepSettings {
  /** From one pass to the next, of whatever node. */
  everyMs: number;
  /** Unsealed files that nobody works on are kept for so long after they were last written to. */
  unsealedMs: number;
  /** Most deletions of one pass. */
  maxDeletions: number;
}

export interface UpkeepDeps extends SettleDeps {
  store: Store;
  keys: KeyRing;
  /** Times that are written down. */
  clock: Clock;
  /** This machine's own clock, right or wrong: compared with the database's, by which everything is judged. Default: `clock`. */
  machine?: Clock | undefined;
  auditSigner: AuditSigner;
  worker: string;
  lease: ServiceLockDeps['times'];
  settings: UpkeepSettings;
  /** The database's clock; default: the database's. For tests. */
  databaseClock?: (() => Promise<Date>) | undefined;
}

export interface PassReport {
  stoppedBecause: string | null;
  adopted: number;
  proven: number;
  damaged: number;
  swept: number;
  removed: number;
  /** Archives whose keys were put under the current master key. */
  rekeyed: number;
}

export interface Upkeep extends UpkeepPort {
  /** One pass, now. null: another node is at it. */
  pass(): Promise<PassReport | null>;
  /** A pass at once, then whenever one is due. */
  start(): void;
  /** Interrupts a pass between two of its steps, and waits for it. */
  stop(): Promise<void>;
}

const STOPPED = new DomainError('INTERRUPTED', 'The service is being stopped.', { retryable: true });

/**
 * Keeps catalogue and store in accord, and removes what is past its time: on one node at a time, at the start and regularly. Every step can
 * be cut off anywhere and repeated by any node.
 */
export const createUpkeep = (deps: UpkeepDeps): Upkeep => {
  const { db, store, keys, log, settings } = deps;
  const archives = createUpkeepArchives(store, keys);
  const clocks = new ClockWatch();
  const stopping = new AbortController();
  /** What was logged last of an archive: a fault that lasts is told once, not with each pass. */
  const told = new Map<string, string>();
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<unknown> | undefined;

  const now = deps.databaseClock ?? (() => db.read.now());

  /** A step that fails keeps no other from being done. */
  const step = async (what: string, ctx: Pick<UpkeepContext, 'signal'>, work: () => Promise<void>): Promise<void> => {
    if (ctx.signal.aborted) return;
    try {
      await work();
    } catch (error) {
      if (!ctx.signal.aborted) log.error(`The upkeep could not ${what}; the next pass tries again.`, { error: String(error) });
    }
  };

  const each = async <T>(items: readonly T[], idOf: (item: T) => string, what: string, ctx: UpkeepContext, act: (item: T) => Promise<void>): Promise<void> => {
    for (const item of items) {
      if (ctx.signal.aborted) return;
      try {
        await act(item);
        told.delete(idOf(item));
      } catch (error) {
        if (ctx.signal.aborted) return;
        const fault = String(error);
        log[told.get(idOf(item)) === fault ? 'debug' : 'error'](`The upkeep could not ${what}; each pass tries again.`, { backupId: idOf(item), error: fault });
        told.set(idOf(item), fault);
      }
    }
  };

  /** Everything about the store. `held`: nothing is removed by the clock. */
  const tend = async (ctx: UpkeepContext, held: boolean): Promise<Omit<PassReport, 'stoppedBecause'>> => {
    const report = { adopted: 0, proven: 0, damaged: 0, swept: 0, removed: 0, rekeyed: 0 };
    const begunAt = performance.now();
    await step('look through the store', ctx, async () => {
      const inventory = await takeInventory({ db, archives, masterKeyId: keys.current.id }, ctx.signal);
      await each(inventory.strangers, (id) => id, 'adopt an archive', ctx, async (id) => {
        await adoptArchive(id, ctx);
        report.adopted += 1;
      });
      await step('put what is sealed under the current master key', ctx, async () => {
        report.rekeyed = await rekey(deps.vault, inventory.otherKeys, ctx);
      });
      await step('mark what is missing', ctx, async () => {
        report.damaged = await markMissing(inventory.sealed, ctx);
      });
      await step('remove archives of deleted backups', ctx, () => buryUndead(inventory.undead.slice(0, settings.maxDeletions), ctx));
      if (!held) {
        await step('sweep', ctx, async () => {
          report.swept = await sweepUnsealed(inventory, new Date(ctx.now.getTime() - settings.unsealedMs), ctx);
        });
      }
      const unproven = [...inventory.unproven, ...(await db.read.upkeep.backups(inventory.strangers)).filter(({ state }) => state === 'CREATING')];
      await step('end what nobody takes', ctx, () => endAbandoned(ctx));
      await step('remove what is past its time', ctx, async () => {
        report.removed = await retire({ limit: settings.maxDeletions, mayBegin: !held }, ctx);
      });
      await each(newestFirst(unproven), ({ id }) => id, 'read an archive through', ctx, async (backup) => {
        // A store full of adopted archives takes long to read: retention is not to wait for all of it.
        if (report.proven > 0 && performance.now() - begunAt > settings.everyMs) return;
        report.proven += 1;
        if ((await proveArchive(backup, ctx)) === 'DAMAGED') report.damaged += 1;
      });
    });
    return report;
  };

  const locked = async (lock: ServiceLock): Promise<PassReport> => {
    const signal = AbortSignal.any([lock.lost, stopping.signal]);
    const status = await readStatus(db);
    const detached = await detachedBecause(db, store);
    const at = await now();
    const { agreed, heldBecause } = clocks.look({ database: at, node: (deps.machine ?? deps.clock).now(), monotonicMs: performance.now() }, status);
    const stoppedBecause = detached ?? heldBecause;
    const { notice, told } = stoppedBecause === null
      ? { notice: null, told: { toldAt: status.toldAt, toldOf: status.toldOf } }
      : noticeOfStop(at, stoppedBecause, detached === null ? 'CLOCK' : 'STORE', status);
    await lock.write(async (tx) => {
      await tx.settings.put('upkeep', encodeStatus({ lastPassAt: at, agreed, stoppedBecause, heldBecause, ...told }));
      if (notice) await tx.notices.append(notice);
    });
    if (stoppedBecause !== status.stoppedBecause) {
      if (stoppedBecause === null) log.info('Sweeping and retention go on.');
      else log.warn('Sweeping and retention stand still.', { reason: stoppedBecause });
    }
    await step('settle targets of ended restores', { signal }, () => settleTargets(deps, lock, signal));
    await step('look for slots without jobs', { signal }, async () => {
      for (const slot of await lock.write((tx) => endSlotsWithoutJob(tx, at))) {
        log.warn('A planned backup says it was started, and its job is not there; it is recorded as MISSED.', { policyId: slot.policyId, plannedAt: slot.plannedAt.toISOString() });
      }
    });
    const nothing = { stoppedBecause, adopted: 0, proven: 0, damaged: 0, swept: 0, removed: 0, rekeyed: 0 };
    const sign = (): Promise<void> => step('sign the ends of the audit chains', { signal }, async () => void (await signAudit(db, deps.auditSigner, lock, { at, signal })));
    if (detached !== null) {
      await sign();
      return nothing;
    }
    const ctx: UpkeepContext = {
      db, archives, ids: deps.ids, clock: deps.clock, log, lock, now: at, signal,
      async assertOurs() {
        if (signal.aborted) throw STOPPED;
        await lock.assertHeld();
        const reason = await detachedBecause(db, store);
        if (reason !== null) throw new DomainError('CONFLICT', reason);
      },
    };
    const done = await tend(ctx, heldBecause !== null);
    await sign();
    return { ...nothing, ...done };
  };

  const pass = async (): Promise<PassReport | null> => {
    const lock = await ServiceLock.take(LOCK, { db, log, worker: deps.worker, times: deps.lease });
    if (!lock) return null;
    try {
      return await locked(lock);
    } finally {
      await lock.release();
    }
  };

  /** Passes of all nodes together come as often as the setting says; while the store is another's, it is looked at more often. */
  const isDue = async (): Promise<boolean> => {
    const { lastPassAt } = await readStatus(db);
    const age = lastPassAt === null ? Infinity : (await now()).getTime() - lastPassAt.getTime();
    return age >= settings.everyMs || age < 0 || (await detachedBecause(db, store)) !== null;
  };

  const run = async (always: boolean): Promise<void> => {
    try {
      if (always || (await isDue())) await pass();
    } catch (error) {
      log.warn('A pass of the upkeep came to nothing; the next one follows.', { error: String(error) });
    }
  };

  const plan = (): void => {
    timer = setTimeout(() => {
      running = run(false).finally(plan);
    }, Math.min(settings.everyMs, LOOK_EVERY_MS));
    if (stopping.signal.aborted) clearTimeout(timer);
  };

  return {
    pass,
    async status() {
      const { lastPassAt, heldBecause } = await readStatus(db);
      return {
        lastPassAt, nextPassAt: lastPassAt && new Date(lastPassAt.getTime() + settings.everyMs), maxDeletions: settings.maxDeletions,
        stoppedBecause: (await detachedBecause(db, store)) ?? heldBecause,
      };
    },
    start() {
      running = run(true).finally(plan);
    },
    async stop() {
      stopping.abort(STOPPED);
      clearTimeout(timer);
      await running;
    },
  };
};

/** One notice for each policy, as for other slots that are missed. */
const endSlotsWithoutJob = async (tx: Repositories, at: Date): Promise<SlotRecord[]> => {
  const ended = await tx.upkeep.endSlotsWithoutJob('Its job is not there any more.', MOST_SLOTS);
  for (const policyId of new Set(ended.map((slot) => slot.policyId))) {
    const notice = noticeOfMissed(ended.filter((slot) => slot.policyId === policyId), at);
    if (notice) await tx.notices.append(notice);
  }
  return ended;
};

const newestFirst = (backups: readonly UpkeepBackup[]): UpkeepBackup[] => [...backups].sort((a, b) => (a.id < b.id ? 1 : -1));
