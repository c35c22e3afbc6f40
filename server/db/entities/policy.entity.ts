import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { type Weekday } from '../../domain/schedule.js';

@Entity('backup_policies')
@Index(['nextRunAt'], { where: '"next_run_at" IS NOT NULL' })
@Index(['lateSince'], { where: '"late_since" IS NOT NULL' })
export class PolicyEntity {
  @PrimaryColumn('text') id!: string;
  @Column('text') projectId!: string;
  @Column('text', { unique: true }) instanceId!: string;
  @Column('boolean') enabled!: boolean;
  @Column('text', { array: true }) weekdays!: Weekday[];
  @Column('text') startTime!: string;
  @Column('int') windowMinutes!: number;
  @Column('text') timeZone!: string;
  /** The next planned instant; null while the policy is off or its instance removed. */
  @Column({ type: 'timestamptz', precision: 3, nullable: true }) nextRunAt!: Date | null;
  @Column({ type: 'timestamptz', precision: 3 }) updatedAt!: Date;
  /** Since when its recovery point is known to be LATE, which was told then; null while it is not. */
  @Column({ type: 'timestamptz', precision: 3, nullable: true }) lateSince!: Date | null;
}
