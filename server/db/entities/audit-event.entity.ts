import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { type AuditAction, type AuditOutcome } from '../../domain/audit.js';
import { type ErrorCode } from '../../domain/errors.js';
import { type CredentialKind } from '../../domain/principal.js';
import { bigintColumn } from '../json.js';

/** Append-only: a trigger refuses everything else. */
@Entity('audit_events')
@Index(['projectId', 'sequence'], { unique: true })
@Index(['projectId', 'createdAt', 'id'])
export class AuditEventEntity {
  @PrimaryColumn('text') id!: string;
  @Column('text') projectId!: string;
  @Column('bigint', { transformer: bigintColumn }) sequence!: bigint;
  @Column({ type: 'timestamptz', precision: 3 }) createdAt!: Date;
  @Column('text', { nullable: true }) credential!: CredentialKind | null;
  @Column('text', { nullable: true }) actorId!: string | null;
  @Column('text', { nullable: true }) actorName!: string | null;
  @Column('text', { nullable: true }) address!: string | null;
  @Column('text') action!: AuditAction;
  @Column('text') outcome!: AuditOutcome;
  @Column('text', { nullable: true }) code!: ErrorCode | null;
  @Column('text', { nullable: true }) objectId!: string | null;
  @Column('text', { nullable: true }) instanceId!: string | null;
  @Column('jsonb') details!: Record<string, string | number | boolean>;
  /** SHA-256, see `services/audit-chain.ts`. */
  @Column('bytea') hash!: Buffer;
}

/** The end of each project's chain: locked by whoever adds to it. */
@Entity('audit_ends')
export class AuditEndEntity {
  @PrimaryColumn('text') projectId!: string;
  @Column('bigint', { transformer: bigintColumn }) sequence!: bigint;
  @Column('bytea') hash!: Buffer;
}

/** Ends that were signed. */
@Entity('audit_checkpoints')
export class AuditCheckpointEntity {
  @PrimaryColumn('text') projectId!: string;
  @PrimaryColumn('bigint', { transformer: bigintColumn }) sequence!: bigint;
  @Column('bytea') hash!: Buffer;
  @Column({ type: 'timestamptz', precision: 3 }) createdAt!: Date;
  @Column('text') keyId!: string;
  @Column('bytea') signature!: Buffer;
}
