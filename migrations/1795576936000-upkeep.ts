import { type MigrationInterface, type QueryRunner } from 'typeorm';

/** What a backup's damage is, and the lock of the work that one node does for all. */
export class Upkeep1795576936000 implements MigrationInterface {
  name = 'Upkeep1795576936000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE "backups" ADD "damage" jsonb');
    await runner.query(`
      CREATE TABLE "service_locks" (
        "name" text NOT NULL,
        "holder" text NOT NULL,
        "fence" integer NOT NULL,
        "expires_at" TIMESTAMP(3) WITH TIME ZONE NOT NULL,
        CONSTRAINT "pk_service_locks" PRIMARY KEY ("name")
      )`);
  }

  async down(): Promise<void> {
    throw new Error('Migrations go forward only: restore the database from its own backup instead.');
  }
}
