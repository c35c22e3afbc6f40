import { type MigrationInterface, type QueryRunner } from 'typeorm';

/** The setting that lets backups skip a server's delay, and the servers whose delay is ours at the moment. */
export class SyncDelay1795613714059 implements MigrationInterface {
  readonly name = 'SyncDelay1795613714059';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "instances" ADD "skip_sync_delay" boolean NOT NULL DEFAULT false`);
    await runner.query(`
      CREATE TABLE "sync_delay_holds" (
        "run_id" text NOT NULL,
        "project_id" text NOT NULL,
        "instance_id" text NOT NULL,
        "job_id" text NOT NULL,
        "fence" integer NOT NULL,
        "host" text NOT NULL,
        "port" integer NOT NULL,
        "before" text NOT NULL,
        "ours" text NOT NULL,
        "created_at" TIMESTAMP(3) WITH TIME ZONE NOT NULL,
        "settler" text,
        "settling_until" TIMESTAMP(3) WITH TIME ZONE,
        "attempts" integer NOT NULL DEFAULT 0,
        "due_at" TIMESTAMP(3) WITH TIME ZONE NOT NULL,
        CONSTRAINT "pk_sync_delay_holds" PRIMARY KEY ("run_id")
      )`);
  }

  /** Migrations go forward only: an older release restores its database from a backup. */
  down(): Promise<void> {
    return Promise.reject(new Error('SyncDelay1795613714059 cannot be undone.'));
  }
}
