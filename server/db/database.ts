import { type DataSource, type EntityManager } from 'typeorm';
import { type Database, type Repositories } from '../services/ports.js';
import { createApiKeyRepository, createIdempotencyRepository, createProjectRepository, createSettingRepository } from './repositories/access.repository.js';
import { createBackupRepository, createLeaseRepository } from './repositories/backup.repository.js';
import { createInstanceRepository } from './repositories/instance.repository.js';
import { type AppendEvent, createJobRepository } from './repositories/job.repository.js';
import { createPolicyRepository, createSlotRepository } from './repositories/policy.repository.js';
import { createRunRepository } from './repositories/run.repository.js';
import { createPlanRepository, createRestoreRepository } from './repositories/restore.repository.js';

export const createRepositories = (manager: EntityManager, append: AppendEvent): Repositories => ({
  async now() {
    const [row]: { now: Date }[] = await manager.query('SELECT clock_timestamp() AS now');
    if (!row) throw new Error('The database does not tell the time');
    return row.now;
  },
  settings: createSettingRepository(manager),
  projects: createProjectRepository(manager),
  apiKeys: createApiKeyRepository(manager),
  instances: createInstanceRepository(manager),
  policies: createPolicyRepository(manager),
  slots: createSlotRepository(manager),
  backups: createBackupRepository(manager),
  leases: createLeaseRepository(manager),
  jobs: createJobRepository(manager, append),
  runs: createRunRepository(manager, append),
  plans: createPlanRepository(manager),
  restores: createRestoreRepository(manager),
  idempotency: createIdempotencyRepository(manager),
});

export const createDatabase = (source: DataSource, append: AppendEvent): Database => ({
  read: createRepositories(source.manager, append),
  transaction: (work) => source.transaction((manager) => work(createRepositories(manager, append))),
});
