import { ApiKeyEntity } from './api-key.entity.js';
import { AuditCheckpointEntity, AuditEndEntity, AuditEventEntity } from './audit-event.entity.js';
import { BackupLeaseEntity } from './backup-lease.entity.js';
import { BackupEntity } from './backup.entity.js';
import { DownloadLinkEntity } from './download-link.entity.js';
import { IdempotencyKeyEntity } from './idempotency-key.entity.js';
import { InspectionEntity, InspectionPartEntity } from './inspection.entity.js';
import { InstanceEntity } from './instance.entity.js';
import { JobEventEntity } from './job-event.entity.js';
import { JobEntity } from './job.entity.js';
import { NoticeEntity } from './notice.entity.js';
import { PolicyEntity } from './policy.entity.js';
import { ProjectEntity } from './project.entity.js';
import { RestoreDetailEntity } from './restore-detail.entity.js';
import { RestorePlanEntity } from './restore-plan.entity.js';
import { RestoreEntity } from './restore.entity.js';
import { ServiceLockEntity } from './service-lock.entity.js';
import { ServiceSettingEntity } from './service-setting.entity.js';
import { SlotEntity } from './slot.entity.js';
import { SourceSyncEntity } from './source-sync.entity.js';
import { SyncDelayHoldEntity } from './sync-delay-hold.entity.js';

export const ENTITIES = [
  ApiKeyEntity, AuditCheckpointEntity, AuditEndEntity, AuditEventEntity, BackupEntity, BackupLeaseEntity, DownloadLinkEntity, IdempotencyKeyEntity, InspectionEntity, InspectionPartEntity, InstanceEntity, JobEntity, JobEventEntity, NoticeEntity, PolicyEntity,
  ProjectEntity, RestoreDetailEntity, RestoreEntity, RestorePlanEntity, ServiceLockEntity, ServiceSettingEntity, SlotEntity, SourceSyncEntity, SyncDelayHoldEntity,
];
