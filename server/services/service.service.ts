import { type EngineGate } from '../domain/capability.js';
import { type Engine } from '../domain/backup.js';
import { DomainError } from '../domain/errors.js';
import { authorise, may } from '../domain/principal.js';
import { RETENTION_DAYS } from '../domain/retention.js';
import { SDK_MAJORS } from '../domain/sdk.js';
import { type ServiceApi } from './api.js';
import { DOWNLOAD_LINK_SECONDS } from './backup.service.js';
import { IDEMPOTENCY_SECONDS } from './idempotency.js';
import { MAX_NAME_LENGTH } from './names.js';
import { MAX_PAGE_SIZE } from './pagination.js';
import { type Database, type EnginePort } from './ports.js';
import { PLAN_SECONDS } from './restore-plan.js';

export interface ServiceServiceDeps {
  db: Database;
  engine: EnginePort;
  gate: EngineGate;
  version: string;
  defaultTimeZone: string;
  concurrentJobs: number;
}

const OLDEST: Readonly<Record<Engine, string>> = { REDIS: '2.8', VALKEY: '7.2' };

export const createServiceService = ({ db, engine, gate, version, defaultTimeZone, concurrentJobs }: ServiceServiceDeps): ServiceApi => ({
  async viewer(caller) {
    authorise(caller, 'read');
    const { credential, keyId, name, role, serviceWide, instanceIds, expiresAt, projectId } = caller;
    const project = await db.read.projects.get(projectId);
    if (!project) throw new DomainError('UNAUTHENTICATED', 'The project of this request is no longer there.');
    return { credential, keyId, keyName: name, role, serviceWide, instanceIds, expiresAt, project };
  },

  async service(caller) {
    authorise(caller, 'read');
    const { location, ...store } = await engine.storeHealth();
    const disabled = (name: string): string[] =>
      gate.rules.flatMap((rule) => (rule.startsWith(name) ? [rule.slice(name.length).trim() || '*'] : []));
    return {
      version,
      sdkMajors: SDK_MAJORS,
      defaultTimeZone,
      retentionDays: RETENTION_DAYS,
      store: { ...store, location: may(caller, 'govern') ? location : null },
      limits: {
        maxPageSize: MAX_PAGE_SIZE, maxNameLength: MAX_NAME_LENGTH, minDownloadLinkSeconds: DOWNLOAD_LINK_SECONDS.min,
        maxDownloadLinkSeconds: DOWNLOAD_LINK_SECONDS.max, restorePlanSeconds: PLAN_SECONDS, idempotencyKeySeconds: IDEMPOTENCY_SECONDS, concurrentJobs,
      },
      engines: [
        { engine: 'REDIS', minVersion: OLDEST.REDIS, disabledVersions: disabled('redis') },
        { engine: 'VALKEY', minVersion: OLDEST.VALKEY, disabledVersions: disabled('valkey') },
      ],
    };
  },
});
