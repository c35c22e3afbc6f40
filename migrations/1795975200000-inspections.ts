import { type MigrationInterface, type QueryRunner } from 'typeorm';

/** What inspections of backups look for and find. */
export class Inspections1795975200000 implements MigrationInterface {
  readonly name = 'Inspections1795975200000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE "inspections" (
        "job_id" text NOT NULL,
        "project_id" text NOT NULL,
        "backup_id" text NOT NULL,
        "inspected_at" TIMESTAMP(3) WITH TIME ZONE,
        CONSTRAINT "pk_inspections" PRIMARY KEY ("job_id")
      )`);
    await runner.query(`CREATE INDEX "ix_inspections_backup_id" ON "inspections" ("backup_id")`);
    await runner.query(`
      CREATE TABLE "inspection_parts" (
        "job_id" text NOT NULL,
        "name" text NOT NULL,
        "from_offset" bigint,
        "sealed" bytea NOT NULL,
        CONSTRAINT "pk_inspection_parts" PRIMARY KEY ("job_id", "name")
      )`);
    await runner.query(`CREATE INDEX "ix_inspection_parts_job_id_from_offset" ON "inspection_parts" ("job_id", "from_offset")`);
  }

  /** Migrations go forward only: an older release restores its database from a backup. */
  down(): Promise<void> {
    return Promise.reject(new Error('Inspections1795975200000 cannot be undone.'));
  }
}
