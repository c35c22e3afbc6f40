import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { type JobKind, type JobState } from '../../domain/job.js';
import { type JobEventKind, type JobNoticeRecord, type JobRecord } from '../../services/records.js';
import { richJson } from '../json.js';

/** Append-only, but for PROGRESS, of which only the newest of a running job is kept. */
@Entity('job_events')
@Index(['jobId', 'sequence'], { unique: true })
@Index(['projectId', 'position'])
export class JobEventEntity {
  /** Place in the feed. Given out under one lock that is held to the commit, so that positions become visible in their order. */
  @PrimaryColumn('bigint') position!: string;
  @Column('text') jobId!: string;
  @Column('text') projectId!: string;
  @Column('text', { nullable: true }) instanceId!: string | null;
  @Column('int') sequence!: number;
  @Column('text') kind!: JobEventKind;
  @Column('text') jobKind!: JobKind;
  @Column('text') jobState!: JobState;
  @Column({ type: 'timestamptz', precision: 3 }) at!: Date;
  @Column('jsonb', { transformer: richJson }) job!: Omit<JobRecord, 'notices'> & Partial<Pick<JobRecord, 'notices'>>;
  @Column('jsonb', { nullable: true }) notice!: JobNoticeRecord | null;
}
