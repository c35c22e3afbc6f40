import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { type RestorePlanRecord } from '../../services/records.js';
import { richJson } from '../json.js';

@Entity('restore_plans')
@Index(['projectId', 'createdAt', 'id'])
export class RestorePlanEntity {
  @PrimaryColumn('text') id!: string;
  @Column('text') projectId!: string;
  @Column('text') keyId!: string;
  @Column('text') backupId!: string;
  @Column('text') instanceId!: string;
  /** What was found out, whole. Never changed after it was written. */
  @Column('jsonb', { transformer: richJson }) plan!: RestorePlanRecord;
  @Column({ type: 'timestamptz', precision: 3 }) createdAt!: Date;
  @Column({ type: 'timestamptz', precision: 3 }) expiresAt!: Date;
  @Column({ type: 'timestamptz', precision: 3, nullable: true }) usedAt!: Date | null;
}
