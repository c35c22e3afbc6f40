import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { type SlotStarter, type SlotState } from '../../domain/slot.js';
import { type Weekday } from '../../domain/schedule.js';

/** One planned run. The unique index is what makes it run once. */
@Entity('slots')
@Index(['policyId', 'plannedAt'], { unique: true })
@Index(['plannedAt'])
@Index(['instanceId', 'plannedAt', 'id'])
@Index(['plannedAt', 'id'], { where: `"state" = 'DUE'` })
@Index(['policyId'], { where: `"state" = 'DUE'` })
export class SlotEntity {
  @PrimaryColumn('text') id!: string;
  @Column('text') projectId!: string;
  @Column('text') policyId!: string;
  @Column('text') instanceId!: string;
  @Column({ type: 'timestamptz', precision: 3 }) plannedAt!: Date;
  /** null of slots from before it was kept. */
  @Column('text', { nullable: true }) weekday!: Weekday | null;
  @Column('text') state!: SlotState;
  @Column('text', { nullable: true }) startedBy!: SlotStarter | null;
  @Column('text', { nullable: true }) jobId!: string | null;
  @Column('text', { nullable: true }) reason!: string | null;
}
