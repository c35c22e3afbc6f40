import { Ctx, FieldResolver, Resolver, Root } from 'type-graphql';
import { type BackupRecord, type InstanceRecord, type RecoveryRecord } from '../../services/records.js';
import { type GraphContext } from '../context.js';
import { loadRequired } from '../loaders.js';
import { Backup } from '../types/backup.type.js';
import { Instance } from '../types/instance.type.js';
import { Recovery } from '../types/recovery.type.js';

@Resolver(() => Recovery)
export class RecoveryResolver {
  @FieldResolver(() => Backup, { nullable: true })
  async lastAvailableBackup(@Root() recovery: RecoveryRecord, @Ctx() { loaders }: GraphContext): Promise<BackupRecord | null> {
    return recovery.lastAvailableBackupId === null ? null : loaders.backups.load(recovery.lastAvailableBackupId);
  }
}

@Resolver(() => Instance)
export class InstanceRecoveryResolver {
  @FieldResolver(() => Recovery)
  recovery(@Root() instance: InstanceRecord, @Ctx() { loaders }: GraphContext): Promise<RecoveryRecord> {
    return loadRequired(loaders.recoveryByInstance, instance.id, 'The recovery of an instance');
  }
}
