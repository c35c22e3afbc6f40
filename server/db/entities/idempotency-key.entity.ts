import { Column, Entity, Index, PrimaryColumn } from 'typeorm';

@Entity('idempotency_keys')
@Index(['createdAt'])
export class IdempotencyKeyEntity {
  @PrimaryColumn('text') projectId!: string;
  @PrimaryColumn('text') mutation!: string;
  @PrimaryColumn('text') key!: string;
  /** SHA-256 of the mutation's input without the key. */
  @Column('text') inputHash!: string;
  /** Ids of what the first call made. */
  @Column('jsonb') result!: Record<string, string>;
  @Column({ type: 'timestamptz', precision: 3 }) createdAt!: Date;
}
