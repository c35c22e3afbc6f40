import { Column, Entity, Index, PrimaryColumn } from 'typeorm';

/** A download link that was made. Of the link itself there is nothing here: its token is signed, not stored. */
@Entity('download_links')
@Index(['projectId', 'backupId'])
@Index(['expiresAt'])
export class DownloadLinkEntity {
  @PrimaryColumn('text') id!: string;
  @Column('text') projectId!: string;
  @Column('text') backupId!: string;
  /** The API key it was made with. */
  @Column('text') keyId!: string;
  @Column('boolean') singleUse!: boolean;
  @Column({ type: 'timestamptz', precision: 3 }) createdAt!: Date;
  @Column({ type: 'timestamptz', precision: 3 }) expiresAt!: Date;
  @Column({ type: 'timestamptz', precision: 3, nullable: true }) usedAt!: Date | null;
  @Column({ type: 'timestamptz', precision: 3, nullable: true }) revokedAt!: Date | null;
}
