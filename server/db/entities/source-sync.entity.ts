import { Column, Entity, Index, PrimaryColumn } from 'typeorm';

/** An attempt at a full synchronisation that reached PSYNC. Times are the database's clock. */
@Entity('source_syncs')
@Index(['serverRunId', 'startedAt'])
@Index(['startedAt'])
export class SourceSyncEntity {
  @PrimaryColumn('text') id!: string;
  /** The server that was asked: the instance's own, or a replica in its place. */
  @Column('text') serverRunId!: string;
  /** Whose run it is; it lasts as long as that run owns its job. */
  @Column('text') jobId!: string;
  @Column('int') fence!: number;
  @Column({ type: 'timestamptz', precision: 3 }) startedAt!: Date;
  /** Null: under way, or its run has died. */
  @Column({ type: 'timestamptz', precision: 3, nullable: true }) endedAt!: Date | null;
  /** Whether a backup came of it. */
  @Column('boolean') good!: boolean;
}
