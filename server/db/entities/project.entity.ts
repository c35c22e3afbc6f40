import { Column, Entity, Index, PrimaryColumn } from 'typeorm';

@Entity('projects')
@Index(['createdAt', 'id'])
export class ProjectEntity {
  @PrimaryColumn('text') id!: string;
  @Column('text', { unique: true }) name!: string;
  @Column({ type: 'timestamptz', precision: 3 }) createdAt!: Date;
}
