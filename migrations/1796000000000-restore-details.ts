import { type MigrationInterface, type QueryRunner } from 'typeorm';

/** Restores key by key: plans that are filled by a job, and what plans and restores tell of keys. */
export class RestoreDetails1796000000000 implements MigrationInterface {
  readonly name = 'RestoreDetails1796000000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "restore_plans" ADD COLUMN "job_id" text`);
    await runner.query(`CREATE INDEX "ix_restore_plans_job_id_part" ON "restore_plans" ("job_id") WHERE "job_id" IS NOT NULL`);
    await runner.query(`
      CREATE TABLE "restore_details" (
        "owner_id" text NOT NULL,
        "project_id" text NOT NULL,
        "created_at" TIMESTAMP(3) WITH TIME ZONE NOT NULL,
        "sealed" bytea NOT NULL,
        CONSTRAINT "pk_restore_details" PRIMARY KEY ("owner_id")
      )`);
    await runner.query(`CREATE INDEX "ix_restore_details_created_at" ON "restore_details" ("created_at")`);
  }

  /** Migrations go forward only: an older release restores its database from a backup. */
  down(): Promise<void> {
    return Promise.reject(new Error('RestoreDetails1796000000000 cannot be undone.'));
  }
}
