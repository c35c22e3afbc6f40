import { Column, Entity, Index, PrimaryColumn } from 'typeorm';

@Entity('idempotency_keys')
@Index(['createdAt'])
export class IdempotencyKeyEntity {
  @PrimaryColumn('text') projectId!: string;
  @PrimaryColumn('text') mutation!: string;
  @PrimaryColumn('text') key!: string;
  /** SHA-256 of the mutation's input without the key, and of the caller where the answer is for nobody else. */
  @Column('text') inputHash!: string;
  /** What a repeat's answer is made from: ids of what the first call made, the seed of a secret; never a secret itself. */
  @Column('jsonb') result!: Record<string, string>;
  @Column({ type: 'timestamptz', precision: 3 }) createdAt!: Date;
}
