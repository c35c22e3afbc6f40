import { Column, Entity, PrimaryColumn } from 'typeorm';

@Entity('projects')
export class ProjectEntity {
  @PrimaryColumn('text') id!: string;
  @Column('text', { unique: true }) name!: string;
  @Column({ type: 'timestamptz', precision: 3 }) createdAt!: Date;
}
