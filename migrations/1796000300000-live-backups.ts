import { type MigrationInterface, type QueryRunner } from 'typeorm';

/** Lists leave out what was deleted, which in time is nearly everything: they get indexes that hold none of it. */
export class LiveBackups1796000300000 implements MigrationInterface {
  readonly name = 'LiveBackups1796000300000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`CREATE INDEX "ix_backups_project_id_created_at_id_part" ON "backups" ("project_id", "created_at", "id") WHERE "state" <> 'DELETED'`);
    await runner.query(`CREATE INDEX "ix_backups_instance_id_created_at_id_part" ON "backups" ("instance_id", "created_at", "id") WHERE "state" <> 'DELETED'`);
  }

  /** Migrations go forward only: an older release restores its database from a backup. */
  down(): Promise<void> {
    return Promise.reject(new Error('LiveBackups1796000300000 cannot be undone.'));
  }
}
