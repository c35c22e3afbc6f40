import { type MigrationInterface, type QueryRunner } from 'typeorm';

/** A way to find the few backups that are being taken or deleted. */
export class UnfinishedBackups1795578900000 implements MigrationInterface {
  name = 'UnfinishedBackups1795578900000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`CREATE INDEX "ix_backups_created_at_id_part" ON "backups" ("created_at", "id") WHERE "state" IN ('CREATING', 'DELETING')`);
  }

  async down(): Promise<void> {
    throw new Error('Migrations go forward only: restore the database from its own backup instead.');
  }
}
