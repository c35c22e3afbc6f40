import { type MigrationInterface, type QueryRunner } from 'typeorm';

/** Which server a backup is read from, and how often one is asked to give its data. */
export class Source1795613523331 implements MigrationInterface {
  readonly name = 'Source1795613523331';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "instances" ADD "source_preference" text NOT NULL DEFAULT 'PREFER_REPLICA'`);
    await runner.query('ALTER TABLE "instances" ALTER COLUMN "source_preference" DROP DEFAULT');
    await runner.query('ALTER TABLE "instances" ADD "replica" jsonb');
    await runner.query('ALTER TABLE "backups" ADD "source" jsonb');
    await runner.query(`
      CREATE TABLE "source_syncs" (
        "id" text NOT NULL,
        "server_run_id" text NOT NULL,
        "job_id" text NOT NULL,
        "fence" integer NOT NULL,
        "started_at" TIMESTAMP(3) WITH TIME ZONE NOT NULL,
        "ended_at" TIMESTAMP(3) WITH TIME ZONE,
        "good" boolean NOT NULL,
        CONSTRAINT "pk_source_syncs" PRIMARY KEY ("id")
      )`);
    await runner.query('CREATE INDEX "ix_source_syncs_server_run_id_started_at" ON "source_syncs" ("server_run_id", "started_at")');
    await runner.query('CREATE INDEX "ix_source_syncs_started_at" ON "source_syncs" ("started_at")');
  }

  /** Migrations go forward only: an older release restores its database from a backup. */
  down(): Promise<void> {
    return Promise.reject(new Error('Source1795613523331 cannot be undone.'));
  }
}
