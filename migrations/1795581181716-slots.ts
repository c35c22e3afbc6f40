import { type MigrationInterface, type QueryRunner } from 'typeorm';

/** What started a slot, on which day its window opened; slots by instance and those that wait by their instant; lateness that was told. */
export class Slots1795581181716 implements MigrationInterface {
  readonly name = 'Slots1795581181716';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "slots" ADD "started_by" text, ADD "weekday" text`);
    await runner.query(`DROP INDEX "ix_slots_state_part"`);
    await runner.query(`CREATE INDEX "ix_slots_planned_at_id_part" ON "slots" ("planned_at", "id") WHERE "state" = 'DUE'`);
    await runner.query(`CREATE INDEX "ix_slots_policy_id_part" ON "slots" ("policy_id") WHERE "state" = 'DUE'`);
    await runner.query(`CREATE INDEX "ix_slots_instance_id_planned_at_id" ON "slots" ("instance_id", "planned_at", "id")`);
    await runner.query(`ALTER TABLE "backup_policies" ADD "late_since" TIMESTAMP(3) WITH TIME ZONE`);
    await runner.query(`CREATE INDEX "ix_backup_policies_late_since_part" ON "backup_policies" ("late_since") WHERE "late_since" IS NOT NULL`);
  }

  /** Migrations go forward only: an older release restores its database from a backup. */
  down(): Promise<void> {
    return Promise.reject(new Error('Slots1795581181716 cannot be undone.'));
  }
}
