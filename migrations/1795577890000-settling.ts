import { type MigrationInterface, type QueryRunner } from 'typeorm';

/** Ways to find what is to be settled without reading whole tables. */
export class Settling1795577890000 implements MigrationInterface {
  name = 'Settling1795577890000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query('CREATE INDEX "ix_slots_planned_at" ON "slots" ("planned_at")');
    await runner.query('CREATE INDEX "ix_restores_completed_at_part" ON "restores" ("completed_at") WHERE "undo_record" IS NOT NULL');
    await runner.query('CREATE INDEX "ix_jobs_restore_id_part" ON "jobs" ("restore_id") WHERE "restore_id" IS NOT NULL');
  }

  async down(): Promise<void> {
    throw new Error('Migrations go forward only: restore the database from its own backup instead.');
  }
}
