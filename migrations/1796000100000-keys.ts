import { type MigrationInterface, type QueryRunner } from 'typeorm';

/** Keys that are limited to instances or reach over the service, and when they were used. Who had the first key had the whole service. */
export class Keys1796000100000 implements MigrationInterface {
  readonly name = 'Keys1796000100000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      ALTER TABLE "api_keys" ADD "service_wide" boolean NOT NULL DEFAULT false, ADD "instance_ids" text array, ADD "last_used_at" TIMESTAMP(3) WITH TIME ZONE`);
    await runner.query(`UPDATE "api_keys" SET "service_wide" = true WHERE "id" = (SELECT "value" FROM "service_settings" WHERE "name" = 'first-key')`);
    await runner.query(`DROP INDEX "ix_api_keys_project_id"`);
    await runner.query(`CREATE INDEX "ix_api_keys_project_id_created_at_id" ON "api_keys" ("project_id", "created_at", "id")`);
    await runner.query(`CREATE INDEX "ix_projects_created_at_id" ON "projects" ("created_at", "id")`);
  }

  /** Migrations go forward only: an older release restores its database from a backup. */
  down(): Promise<void> {
    return Promise.reject(new Error('Keys1796000100000 cannot be undone.'));
  }
}
