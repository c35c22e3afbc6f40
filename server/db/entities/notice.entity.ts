import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { type NoticeKind } from '../../domain/notice.js';

/** The outbox: what is to be told to the operator's webhook. All times but `at`, which is in the body, are the database's clock. */
@Entity('notices')
@Index(['dueAt'], { where: `"state" = 'PENDING'` })
@Index(['createdAt'])
export class NoticeEntity {
  @PrimaryColumn('text') id!: string;
  @Column('text') kind!: NoticeKind;
  @Column('text', { nullable: true }) projectId!: string | null;
  /** JSON, exactly as it is signed and sent: each attempt sends the same bytes. */
  @Column('text') body!: string;
  @Column('text') state!: 'PENDING' | 'DELIVERED' | 'GIVEN_UP';
  /** Attempts begun; also the fence of the one that is under way. */
  @Column('int') attempts!: number;
  /** Not to be sent before: the wait between attempts, and the lease of the one that is under way. */
  @Column({ type: 'timestamptz', precision: 3 }) dueAt!: Date;
  @Column({ type: 'timestamptz', precision: 3 }) createdAt!: Date;
}
