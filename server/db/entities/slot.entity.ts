import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { type SlotState } from '../../services/ports.js';

/** One planned run. The unique index is what makes it run once. */
@Entity('slots')
@Index(['policyId', 'plannedAt'], { unique: true })
@Index(['plannedAt'])
@Index(['state'], { where: `"state" = 'DUE'` })
export class SlotEntity {
  @PrimaryColumn('text') id!: string;
  @Column('text') projectId!: string;
  @Column('text') policyId!: string;
  @Column('text') instanceId!: string;
  @Column({ type: 'timestamptz', precision: 3 }) plannedAt!: Date;
  @Column('text') state!: SlotState;
  @Column('text', { nullable: true }) jobId!: string | null;
  @Column('text', { nullable: true }) reason!: string | null;
}
