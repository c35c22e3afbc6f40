import { Column, Entity, Index, PrimaryColumn } from 'typeorm';

/** An inspection of a backup, asked for or made. */
@Entity('inspections')
@Index(['backupId'])
export class InspectionEntity {
  @PrimaryColumn('text') jobId!: string;
  @Column('text') projectId!: string;
  @Column('text') backupId!: string;
  /** Null until it has succeeded. */
  @Column({ type: 'timestamptz', precision: 3, nullable: true }) inspectedAt!: Date | null;
}

/** What was asked for, what was found, and the listed keys, some in each part. All of it holds names of keys, and is sealed. */
@Entity('inspection_parts')
@Index(['jobId', 'fromOffset'])
export class InspectionPartEntity {
  @PrimaryColumn('text') jobId!: string;
  @PrimaryColumn('text') name!: string;
  /** Of listed keys: where the first one stands in the file. */
  @Column('bigint', { nullable: true }) fromOffset!: string | null;
  @Column('bytea') sealed!: Buffer;
}
