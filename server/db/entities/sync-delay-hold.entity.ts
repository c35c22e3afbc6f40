import { Column, Entity, PrimaryColumn } from 'typeorm';

/** A server whose `repl-diskless-sync-delay` a backup has taken away, or was about to. One a server; the row goes when the value is put back. */
@Entity('sync_delay_holds')
export class SyncDelayHoldEntity {
  @PrimaryColumn('text') runId!: string;
  @Column('text') projectId!: string;
  /** Whose credentials lead there. */
  @Column('text') instanceId!: string;
  @Column('text') jobId!: string;
  /** Of the run that took it: while that run owns its job, nobody else settles it. */
  @Column('int') fence!: number;
  /** As dialled: the instance's own address, or that of another server of it. */
  @Column('text') host!: string;
  @Column('int') port!: number;
  @Column('text') before!: string;
  @Column('text') ours!: string;
  @Column({ type: 'timestamptz', precision: 3 }) createdAt!: Date;
  /** Who settles it, and until when nobody else does; null while its run holds it. */
  @Column('text', { nullable: true }) settler!: string | null;
  @Column({ type: 'timestamptz', precision: 3, nullable: true }) settlingUntil!: Date | null;
  /** To settle it; each is followed by a longer pause. */
  @Column('int', { default: 0 }) attempts!: number;
  @Column({ type: 'timestamptz', precision: 3 }) dueAt!: Date;
}
