import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { type Role } from '../../domain/principal.js';

@Entity('api_keys')
@Index(['projectId', 'createdAt', 'id'])
export class ApiKeyEntity {
  @PrimaryColumn('text') id!: string;
  @Column('text') projectId!: string;
  @Column('text') name!: string;
  @Column('text') role!: Role;
  @Column('boolean', { default: false }) serviceWide!: boolean;
  /** null: all of the project. */
  @Column('text', { array: true, nullable: true }) instanceIds!: string[] | null;
  /** SHA-256 of the key's secret part. */
  @Column('bytea') secretHash!: Buffer;
  @Column({ type: 'timestamptz', precision: 3 }) createdAt!: Date;
  @Column({ type: 'timestamptz', precision: 3, nullable: true }) expiresAt!: Date | null;
  @Column({ type: 'timestamptz', precision: 3, nullable: true }) revokedAt!: Date | null;
  /** To the minute. */
  @Column({ type: 'timestamptz', precision: 3, nullable: true }) lastUsedAt!: Date | null;
}
