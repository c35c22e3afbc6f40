import { Column, Entity, PrimaryColumn } from 'typeorm';

/** Work that one node at a time does for all. A lease by the database's clock, so that a node that was stopped keeps nobody waiting for long. */
@Entity('service_locks')
export class ServiceLockEntity {
  @PrimaryColumn('text') name!: string;
  @Column('text') holder!: string;
  /** Grows with each taking; every write of a holder names it. */
  @Column('int') fence!: number;
  @Column({ type: 'timestamptz', precision: 3 }) expiresAt!: Date;
}
