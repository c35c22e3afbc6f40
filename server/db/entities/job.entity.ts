import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { type VerificationLevel } from '../../domain/backup.js';
import { type JobConclusion, type JobFailure, type JobKind, type JobProgress, type JobState, type Phase, type PhaseRecord } from '../../domain/job.js';
import { type JobNoticeRecord } from '../../services/records.js';
import { richJson } from '../json.js';

@Entity('jobs')
@Index(['projectId', 'createdAt', 'id'])
@Index(['instanceId', 'state'])
@Index(['restoreId'], { where: '"restore_id" IS NOT NULL' })
@Index(['state', 'leaseUntil'], { where: `"state" <> 'COMPLETED'` })
// The lock of a server: one unfinished backup or restore each.
@Index(['serverRunId'], { unique: true, where: `"state" <> 'COMPLETED' AND "kind" IN ('BACKUP', 'RESTORE')` })
export class JobEntity {
  @PrimaryColumn('text') id!: string;
  @Column('text') projectId!: string;
  @Column('text') kind!: JobKind;
  @Column('text') state!: JobState;
  @Column('text', { nullable: true }) conclusion!: JobConclusion | null;
  @Column('text', { nullable: true }) phase!: Phase | null;
  @Column('jsonb', { transformer: richJson }) phases!: PhaseRecord[];
  @Column('jsonb', { nullable: true, transformer: richJson }) progress!: JobProgress | null;
  @Column('jsonb', { nullable: true, transformer: richJson }) failure!: JobFailure | null;
  /** Of its NOTICE events, so that lists of jobs show them without reading events. */
  @Column('jsonb', { default: [], transformer: richJson }) notices!: JobNoticeRecord[];
  @Column('int') attempt!: number;
  @Column('int') maxAttempts!: number;
  @Column('int') sequence!: number;
  @Column({ type: 'timestamptz', precision: 3 }) createdAt!: Date;
  @Column({ type: 'timestamptz', precision: 3, nullable: true }) startedAt!: Date | null;
  @Column({ type: 'timestamptz', precision: 3, nullable: true }) completedAt!: Date | null;
  @Column({ type: 'timestamptz', precision: 3, nullable: true }) cancelRequestedAt!: Date | null;
  @Column('boolean') cancellable!: boolean;
  @Column('text', { nullable: true }) instanceId!: string | null;
  @Column('text', { nullable: true }) backupId!: string | null;
  @Column('text', { nullable: true }) restoreId!: string | null;
  @Column('text', { nullable: true }) verificationLevel!: VerificationLevel | null;
  @Column('text', { nullable: true }) serverRunId!: string | null;
  /** Grows with each run; every write of a run names it. */
  @Column('int') fence!: number;
  /** By the database's clock; null unless RUNNING. */
  @Column({ type: 'timestamptz', precision: 3, nullable: true }) leaseUntil!: Date | null;
  @Column('text', { nullable: true }) worker!: string | null;
  /** Not to be taken up before, by the database's clock: the wait between attempts. */
  @Column({ type: 'timestamptz', precision: 3, nullable: true }) notBefore!: Date | null;
}
