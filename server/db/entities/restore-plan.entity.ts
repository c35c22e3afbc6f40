import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { type RestorePlanRecord } from '../../services/records.js';
import { richJson } from '../json.js';

@Entity('restore_plans')
@Index(['projectId', 'createdAt', 'id'])
@Index(['jobId'], { where: '"job_id" IS NOT NULL' })
export class RestorePlanEntity {
  @PrimaryColumn('text') id!: string;
  @Column('text') projectId!: string;
  @Column('text') keyId!: string;
  @Column('text') backupId!: string;
  @Column('text') instanceId!: string;
  /** What was found out, whole. Written once more by the job that fills it, where there is one. */
  @Column('jsonb', { transformer: richJson }) plan!: RestorePlanRecord;
  /** The job that fills it. */
  @Column('text', { nullable: true }) jobId!: string | null;
  @Column({ type: 'timestamptz', precision: 3 }) createdAt!: Date;
  @Column({ type: 'timestamptz', precision: 3 }) expiresAt!: Date;
  @Column({ type: 'timestamptz', precision: 3, nullable: true }) usedAt!: Date | null;
}
