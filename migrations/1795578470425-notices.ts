import { type MigrationInterface, type QueryRunner } from 'typeorm';

/** The outbox of what the operator is told by webhook. */
export class Notices1795578470425 implements MigrationInterface {
  readonly name = 'Notices1795578470425';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE "notices" (
        "id" text NOT NULL,
        "kind" text NOT NULL,
        "project_id" text,
        "body" text NOT NULL,
        "state" text NOT NULL,
        "attempts" integer NOT NULL,
        "due_at" TIMESTAMP(3) WITH TIME ZONE NOT NULL,
        "created_at" TIMESTAMP(3) WITH TIME ZONE NOT NULL,
        CONSTRAINT "pk_notices" PRIMARY KEY ("id")
      )`);
    await runner.query(`CREATE INDEX "ix_notices_due_at_part" ON "notices" ("due_at") WHERE "state" = 'PENDING'`);
    await runner.query(`CREATE INDEX "ix_notices_created_at" ON "notices" ("created_at")`);
  }

  /** Migrations go forward only: an older release restores its database from a backup. */
  down(): Promise<void> {
    return Promise.reject(new Error('Notices1795578470425 cannot be undone.'));
  }
}
