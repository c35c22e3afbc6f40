import { Column, Entity, Index, PrimaryColumn } from 'typeorm';

/** What of a restore plan or a restore tells of data: sealed. */
@Entity('restore_details')
@Index(['createdAt'])
export class RestoreDetailEntity {
  /** Of the plan or the restore. */
  @PrimaryColumn('text') ownerId!: string;
  @Column('text') projectId!: string;
  @Column({ type: 'timestamptz', precision: 3 }) createdAt!: Date;
  @Column('bytea') sealed!: Buffer;
}
