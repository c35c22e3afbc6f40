import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { type HostPort, type SourcePreference } from '../../domain/source.js';
import { type CapabilitiesRecord, type InstanceTlsRecord, type ServerFactsRecord } from '../../services/records.js';
import { richJson } from '../json.js';

@Entity('instances')
@Index(['projectId', 'createdAt', 'id'])
@Index(['projectId', 'name'], { unique: true, where: '"removed_at" IS NULL' })
@Index(['projectId', 'runId'])
export class InstanceEntity {
  @PrimaryColumn('text') id!: string;
  @Column('text') projectId!: string;
  @Column('text') name!: string;
  @Column('text') host!: string;
  @Column('int') port!: number;
  @Column('text', { nullable: true }) username!: string | null;
  @Column('boolean') hasPassword!: boolean;
  /** What may be shown of the TLS settings; certificates and keys are sealed in `secrets`. */
  @Column('jsonb', { nullable: true }) tls!: InstanceTlsRecord | null;
  @Column('bytea', { nullable: true, select: false }) secrets!: Buffer | null;
  @Column('boolean') acceptPartial!: boolean;
  @Column('text') sourcePreference!: SourcePreference;
  @Column('jsonb', { nullable: true }) replica!: HostPort | null;
  @Column('boolean', { default: false }) skipSyncDelay!: boolean;
  /** As the last probe found it; a restart of the server changes it. */
  @Column('text') runId!: string;
  @Column('jsonb', { transformer: richJson }) server!: ServerFactsRecord;
  @Column('jsonb', { transformer: richJson }) capabilities!: CapabilitiesRecord;
  @Column({ type: 'timestamptz', precision: 3 }) createdAt!: Date;
  @Column({ type: 'timestamptz', precision: 3 }) updatedAt!: Date;
  @Column({ type: 'timestamptz', precision: 3, nullable: true }) removedAt!: Date | null;
}
