import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { type RestoreMethod } from '../../domain/restore-method.js';
import { type UndoRecord } from '../../services/ports.js';
import { type RestoreRecord, type RestoreReportRecord } from '../../services/records.js';
import { bigintColumn, richJson } from '../json.js';

@Entity('restores')
@Index(['projectId', 'createdAt', 'id'])
@Index(['instanceId', 'createdAt', 'id'])
@Index(['completedAt'], { where: '"undo_record" IS NOT NULL' })
export class RestoreEntity {
  @PrimaryColumn('text') id!: string;
  @Column('text') projectId!: string;
  @Column('text') planId!: string;
  @Column('text') backupId!: string;
  @Column('text') instanceId!: string;
  @Column('text') method!: RestoreMethod;
  @Column('text', { nullable: true }) safetyBackupId!: string | null;
  @Column('text') dataNow!: RestoreRecord['dataNow'];
  @Column('bigint', { nullable: true, transformer: bigintColumn }) unsavedWriteBytes!: bigint | null;
  @Column('text', { array: true }) acceptedWarnings!: string[];
  @Column('jsonb', { nullable: true, transformer: richJson }) report!: RestoreReportRecord | null;
  /** Written before the target is told to follow us, so that any node can settle a half-done restore. */
  @Column('jsonb', { nullable: true }) undoRecord!: UndoRecord | null;
  @Column('text') jobId!: string;
  @Column({ type: 'timestamptz', precision: 3 }) createdAt!: Date;
  @Column({ type: 'timestamptz', precision: 3, nullable: true }) completedAt!: Date | null;
}
