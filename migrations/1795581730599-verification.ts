import { type MigrationInterface, type QueryRunner } from 'typeorm';

/** What an archive has to be, and how its verifications went. */
export class Verification1795581730599 implements MigrationInterface {
  name = 'Verification1795581730599';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE "backups" ADD "manifest_sha256" text');
    await runner.query('ALTER TABLE "backups" ADD "verifications" jsonb');
    await runner.query('ALTER TABLE "backups" ADD "last_verified_at" TIMESTAMP(3) WITH TIME ZONE');
    await runner.query('ALTER TABLE "jobs" ADD "verification_level" text');
  }

  async down(): Promise<void> {
    throw new Error('Migrations go forward only: restore the database from its own backup instead.');
  }
}
