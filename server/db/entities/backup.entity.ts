import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import {
  type BackupState, type CaptureMethod, type Coverage, type DatabaseCount, type Engine, type Integrity, type Trigger, type TypeCount,
} from '../../domain/backup.js';
import { type SourceNode } from '../../domain/source.js';
import { type DamageRecord, type LoadTargetRecord, type VerificationRecord } from '../../services/records.js';
import { bigintColumn, richJson } from '../json.js';

@Entity('backups')
@Index(['projectId', 'createdAt', 'id'])
@Index(['instanceId', 'createdAt', 'id'])
// Lists leave out what was deleted.
@Index(['projectId', 'createdAt', 'id'], { where: `"state" <> 'DELETED'` })
@Index(['instanceId', 'createdAt', 'id'], { where: `"state" <> 'DELETED'` })
@Index(['instanceId', 'completedAt'], { where: `"state" = 'AVAILABLE'` })
@Index(['createdAt', 'id'], { where: `"state" IN ('CREATING', 'DELETING')` })
@Index(['expiresAt'], { where: `"state" IN ('AVAILABLE', 'FAILED', 'DAMAGED')` })
export class BackupEntity {
  @PrimaryColumn('text') id!: string;
  @Column('text') projectId!: string;
  @Column('text') instanceId!: string;
  @Column('text', { nullable: true }) jobId!: string | null;
  @Column('text') name!: string;
  @Column('text') state!: BackupState;
  @Column('text') trigger!: Trigger;
  @Column('text') captureMethod!: CaptureMethod;
  @Column('jsonb') coverage!: Coverage;
  /** Null until it has been read, and for those from before 0.2. */
  @Column('jsonb', { nullable: true, transformer: richJson }) source!: SourceNode | null;
  @Column('text') engine!: Engine;
  @Column('text') engineVersion!: string;
  @Column('text', { nullable: true }) integrity!: Integrity | null;
  @Column('jsonb', { nullable: true, transformer: richJson }) unknownContent!: { what: string; offset: bigint } | null;
  @Column('int', { nullable: true }) rdbVersion!: number | null;
  @Column('bigint', { nullable: true, transformer: bigintColumn }) sizeBytes!: bigint | null;
  @Column('bigint', { nullable: true, transformer: bigintColumn }) storedBytes!: bigint | null;
  @Column('text', { nullable: true }) sha256!: string | null;
  @Column('bigint', { nullable: true, transformer: bigintColumn }) keys!: bigint | null;
  @Column('bigint', { nullable: true, transformer: bigintColumn }) expiringKeys!: bigint | null;
  @Column('jsonb', { nullable: true, transformer: richJson }) databases!: DatabaseCount[] | null;
  @Column('jsonb', { nullable: true, transformer: richJson }) types!: TypeCount[] | null;
  @Column('int', { nullable: true }) functions!: number | null;
  @Column('jsonb', { nullable: true }) loadsOn!: LoadTargetRecord[] | null;
  /** Only for DAMAGED. */
  @Column('jsonb', { nullable: true, transformer: richJson }) damage!: DamageRecord | null;
  @Column('text', { nullable: true }) manifestSha256!: string | null;
  @Column('jsonb', { nullable: true, transformer: richJson }) verifications!: VerificationRecord[] | null;
  @Column({ type: 'timestamptz', precision: 3, nullable: true }) lastVerifiedAt!: Date | null;
  @Column('text', { nullable: true }) replicationId!: string | null;
  @Column('bigint', { nullable: true, transformer: bigintColumn }) replicationOffset!: bigint | null;
  @Column({ type: 'timestamptz', precision: 3 }) createdAt!: Date;
  @Column({ type: 'timestamptz', precision: 3, nullable: true }) startedAt!: Date | null;
  @Column({ type: 'timestamptz', precision: 3, nullable: true }) completedAt!: Date | null;
  @Column({ type: 'timestamptz', precision: 3, nullable: true }) expiresAt!: Date | null;
}
