import { type MigrationInterface, type QueryRunner } from 'typeorm';

/** Who did what, in a chain for each project. */
export class Audit1796000101000 implements MigrationInterface {
  readonly name = 'Audit1796000101000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE "audit_events" (
        "id" text NOT NULL,
        "project_id" text NOT NULL,
        "sequence" bigint NOT NULL,
        "created_at" TIMESTAMP(3) WITH TIME ZONE NOT NULL,
        "credential" text,
        "actor_id" text,
        "actor_name" text,
        "address" text,
        "action" text NOT NULL,
        "outcome" text NOT NULL,
        "code" text,
        "object_id" text,
        "instance_id" text,
        "details" jsonb NOT NULL,
        "hash" bytea NOT NULL,
        CONSTRAINT "pk_audit_events" PRIMARY KEY ("id")
      )`);
    await runner.query(`CREATE UNIQUE INDEX "ix_audit_events_project_id_sequence" ON "audit_events" ("project_id", "sequence")`);
    await runner.query(`CREATE INDEX "ix_audit_events_project_id_created_at_id" ON "audit_events" ("project_id", "created_at", "id")`);
    await runner.query(`
      CREATE TABLE "audit_ends" (
        "project_id" text NOT NULL,
        "sequence" bigint NOT NULL,
        "hash" bytea NOT NULL,
        CONSTRAINT "pk_audit_ends" PRIMARY KEY ("project_id")
      )`);
    await runner.query(`
      CREATE TABLE "audit_checkpoints" (
        "project_id" text NOT NULL,
        "sequence" bigint NOT NULL,
        "hash" bytea NOT NULL,
        "created_at" TIMESTAMP(3) WITH TIME ZONE NOT NULL,
        "key_id" text NOT NULL,
        "signature" bytea NOT NULL,
        CONSTRAINT "pk_audit_checkpoints" PRIMARY KEY ("project_id", "sequence")
      )`);
    await runner.query(`
      CREATE FUNCTION audit_events_stay() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        RAISE EXCEPTION 'Audit events are neither changed nor removed.';
      END $$`);
    for (const table of ['audit_events', 'audit_checkpoints']) {
      await runner.query(`CREATE TRIGGER "${table}_stay" BEFORE UPDATE OR DELETE OR TRUNCATE ON "${table}" FOR EACH STATEMENT EXECUTE FUNCTION audit_events_stay()`);
    }
  }

  /** Migrations go forward only: an older release restores its database from a backup. */
  down(): Promise<void> {
    return Promise.reject(new Error('Audit1796000101000 cannot be undone.'));
  }
}
