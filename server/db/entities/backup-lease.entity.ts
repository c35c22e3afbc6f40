import { Column, Entity, Index, PrimaryColumn } from 'typeorm';

/** A reader of an archive. Times are the database's clock. */
@Entity('backup_leases')
@Index(['backupId'])
export class BackupLeaseEntity {
  @PrimaryColumn('text') id!: string;
  @Column('text') projectId!: string;
  @Column('text') backupId!: string;
  /** What reads, for the message that refuses a deletion. */
  @Column('text') holder!: string;
  @Column({ type: 'timestamptz', precision: 3 }) expiresAt!: Date;
}
