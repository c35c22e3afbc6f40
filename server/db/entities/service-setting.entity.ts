import { Column, Entity, PrimaryColumn } from 'typeorm';

/** Facts about this installation, such as the catalogue's id. */
@Entity('service_settings')
export class ServiceSettingEntity {
  @PrimaryColumn('text') name!: string;
  @Column('text') value!: string;
}
