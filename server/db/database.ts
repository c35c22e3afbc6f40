import { type DataSource, type EntityManager } from 'typeorm';
import { noticeOfJob } from '../domain/notice.js';
import { type Database, type JobEventDraft, type Repositories } from '../services/ports.js';
import { type JobRecord } from '../services/records.js';
import { DatabaseAway, isTransient } from './faults.js';
import { createApiKeyRepository, createIdempotencyRepository, createProjectRepository, createSettingRepository } from './repositories/access.repository.js';
import { createAuditRepository } from './repositories/audit.repository.js';
import { createBackupRepository, createLeaseRepository } from './repositories/backup.repository.js';
import { createInspectionRepository } from './repositories/inspection.repository.js';
import { createInstanceRepository } from './repositories/instance.repository.js';
import { createJobEventRepository } from './repositories/job-event.repository.js';
import { type AppendEvent, createJobRepository } from './repositories/job.repository.js';
import { createLinkRepository } from './repositories/link.repository.js';
import { createNoticeRepository } from './repositories/notice.repository.js';
import { createPolicyRepository } from './repositories/policy.repository.js';
import { createRecoveryRepository } from './repositories/recovery.repository.js';
import { createRunRepository } from './repositories/run.repository.js';
import { createLockRepository, createUpkeepRepository } from './repositories/upkeep.repository.js';
import { createRestoreDetailRepository } from './repositories/restore-detail.repository.js';
import { createPlanRepository, createRestoreRepository } from './repositories/restore.repository.js';
import { createSlotRepository } from './repositories/slot.repository.js';
import { createSyncRepository } from './repositories/source-sync.repository.js';
import { createSyncDelayRepository } from './repositories/sync-delay.repository.js';

/** Whom an event is announced to. */
export type TopicsOf = (job: JobRecord, event: JobEventDraft) => readonly string[];

export interface DatabaseOptions {
  /** Whether notices are kept for somebody who is told of them. Default true. */
  notices?: boolean;
  /** Told of what was announced, once it is committed. Must neither wait nor fail. */
  onCommitted?(topics: readonly string[]): void;
}

/** @param announced what is announced at the commit, as it is written */
const createRepositories = (manager: EntityManager, topicsOf: TopicsOf, { notices: told = true }: DatabaseOptions, announced: (topics: readonly string[]) => void): Repositories => {
  const events = createJobEventRepository(manager);
  const notices = createNoticeRepository(manager, told);
  // Every change of a job's state passes here, whoever makes it: a failure that nobody is told of cannot be written.
  const append: AppendEvent = async (job, event) => {
    const notice = event.kind === 'STATE' ? noticeOfJob(job, event.at) : null;
    if (notice) await notices.append(notice);
    const topics = topicsOf(job, event);
    await events.append(job, event, topics);
    announced(topics);
  };
  return {
    async now() {
      const [row]: { now: Date }[] = await manager.query('SELECT clock_timestamp() AS now');
      if (!row) throw new Error('The database does not tell the time');
      return row.now;
    },
    settings: createSettingRepository(manager),
    locks: createLockRepository(manager),
    upkeep: createUpkeepRepository(manager),
    projects: createProjectRepository(manager),
    apiKeys: createApiKeyRepository(manager, announced),
    audit: createAuditRepository(manager),
    instances: createInstanceRepository(manager),
    policies: createPolicyRepository(manager),
    slots: createSlotRepository(manager),
    recovery: createRecoveryRepository(manager),
    backups: createBackupRepository(manager),
    leases: createLeaseRepository(manager),
    links: createLinkRepository(manager),
    inspections: createInspectionRepository(manager),
    restoreDetails: createRestoreDetailRepository(manager),
    jobs: createJobRepository(manager, append),
    runs: createRunRepository(manager, append),
    events,
    plans: createPlanRepository(manager),
    restores: createRestoreRepository(manager),
    idempotency: createIdempotencyRepository(manager),
    notices,
    syncs: createSyncRepository(manager),
    syncDelays: createSyncDelayRepository(manager),
  };
};

export const createDatabase = (source: DataSource, topicsOf: TopicsOf, options: DatabaseOptions = {}): Database => ({
  read: createRepositories(source.manager, topicsOf, options, (topics) => options.onCommitted?.(topics)),
  async transaction(work) {
    const runner = source.createQueryRunner();
    try {
      await runner.connect().catch((cause: unknown) => {
        throw new DatabaseAway('No connection to the database could be had.', { cause });
      });
      const topics = new Set<string>();
      const result = await runner.manager.transaction((manager) => work(createRepositories(manager, topicsOf, options, (more) => more.forEach((topic) => topics.add(topic)))));
      if (topics.size > 0) options.onCommitted?.([...topics]);
      return result;
    } finally {
      await runner.release();
    }
  },
  isTransient: (error) => source.isInitialized && isTransient(error),
});
