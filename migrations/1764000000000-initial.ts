import { type MigrationInterface, type QueryRunner } from 'typeorm';

/** The first schema. Forward only: a way back from here would be dropping the catalogue. */
export class Initial1764000000000 implements MigrationInterface {
  name = 'Initial1764000000000';

  async up(runner: QueryRunner): Promise<void> {
    // Positions of the event feed; handed out under an advisory lock, see the job event log.
    await runner.query('CREATE SEQUENCE job_event_position');
    await runner.query(`
      CREATE TABLE "api_keys" (
        "id" text NOT NULL,
        "project_id" text NOT NULL,
        "name" text NOT NULL,
        "role" text NOT NULL,
        "secret_hash" bytea NOT NULL,
        "created_at" TIMESTAMP(3) WITH TIME ZONE NOT NULL,
        "expires_at" TIMESTAMP(3) WITH TIME ZONE,
        "revoked_at" TIMESTAMP(3) WITH TIME ZONE,
        CONSTRAINT "pk_api_keys" PRIMARY KEY ("id")
      )`);
    await runner.query(`CREATE INDEX "ix_api_keys_project_id" ON "api_keys" ("project_id")`);
    await runner.query(`
      CREATE TABLE "backup_leases" (
        "id" text NOT NULL,
        "project_id" text NOT NULL,
        "backup_id" text NOT NULL,
        "holder" text NOT NULL,
        "expires_at" TIMESTAMP(3) WITH TIME ZONE NOT NULL,
        CONSTRAINT "pk_backup_leases" PRIMARY KEY ("id")
      )`);
    await runner.query(`CREATE INDEX "ix_backup_leases_backup_id" ON "backup_leases" ("backup_id")`);
    await runner.query(`
      CREATE TABLE "backups" (
        "id" text NOT NULL,
        "project_id" text NOT NULL,
        "instance_id" text NOT NULL,
        "job_id" text,
        "name" text NOT NULL,
        "state" text NOT NULL,
        "trigger" text NOT NULL,
        "capture_method" text NOT NULL,
        "coverage" jsonb NOT NULL,
        "engine" text NOT NULL,
        "engine_version" text NOT NULL,
        "integrity" text,
        "unknown_content" jsonb,
        "rdb_version" integer,
        "size_bytes" bigint,
        "stored_bytes" bigint,
        "sha256" text,
        "keys" bigint,
        "expiring_keys" bigint,
        "databases" jsonb,
        "types" jsonb,
        "functions" integer,
        "loads_on" jsonb,
        "replication_id" text,
        "replication_offset" bigint,
        "created_at" TIMESTAMP(3) WITH TIME ZONE NOT NULL,
        "started_at" TIMESTAMP(3) WITH TIME ZONE,
        "completed_at" TIMESTAMP(3) WITH TIME ZONE,
        "expires_at" TIMESTAMP(3) WITH TIME ZONE,
        CONSTRAINT "pk_backups" PRIMARY KEY ("id")
      )`);
    await runner.query(`CREATE INDEX "ix_backups_expires_at_part" ON "backups" ("expires_at") WHERE "state" IN ('AVAILABLE', 'FAILED', 'DAMAGED')`);
    await runner.query(`CREATE INDEX "ix_backups_instance_id_completed_at_part" ON "backups" ("instance_id", "completed_at") WHERE "state" = 'AVAILABLE'`);
    await runner.query(`CREATE INDEX "ix_backups_instance_id_created_at_id" ON "backups" ("instance_id", "created_at", "id")`);
    await runner.query(`CREATE INDEX "ix_backups_project_id_created_at_id" ON "backups" ("project_id", "created_at", "id")`);
    await runner.query(`
      CREATE TABLE "idempotency_keys" (
        "project_id" text NOT NULL,
        "mutation" text NOT NULL,
        "key" text NOT NULL,
        "input_hash" text NOT NULL,
        "result" jsonb NOT NULL,
        "created_at" TIMESTAMP(3) WITH TIME ZONE NOT NULL,
        CONSTRAINT "pk_idempotency_keys" PRIMARY KEY ("project_id", "mutation", "key")
      )`);
    await runner.query(`CREATE INDEX "ix_idempotency_keys_created_at" ON "idempotency_keys" ("created_at")`);
    await runner.query(`
      CREATE TABLE "instances" (
        "id" text NOT NULL,
        "project_id" text NOT NULL,
        "name" text NOT NULL,
        "host" text NOT NULL,
        "port" integer NOT NULL,
        "username" text,
        "has_password" boolean NOT NULL,
        "tls" jsonb,
        "secrets" bytea,
        "accept_partial" boolean NOT NULL,
        "run_id" text NOT NULL,
        "server" jsonb NOT NULL,
        "capabilities" jsonb NOT NULL,
        "created_at" TIMESTAMP(3) WITH TIME ZONE NOT NULL,
        "updated_at" TIMESTAMP(3) WITH TIME ZONE NOT NULL,
        "removed_at" TIMESTAMP(3) WITH TIME ZONE,
        CONSTRAINT "pk_instances" PRIMARY KEY ("id")
      )`);
    await runner.query(`CREATE INDEX "ix_instances_project_id_run_id" ON "instances" ("project_id", "run_id")`);
    await runner.query(`CREATE UNIQUE INDEX "ix_instances_project_id_name_part" ON "instances" ("project_id", "name") WHERE "removed_at" IS NULL`);
    await runner.query(`CREATE INDEX "ix_instances_project_id_created_at_id" ON "instances" ("project_id", "created_at", "id")`);
    await runner.query(`
      CREATE TABLE "job_events" (
        "position" bigint NOT NULL,
        "job_id" text NOT NULL,
        "project_id" text NOT NULL,
        "instance_id" text,
        "sequence" integer NOT NULL,
        "kind" text NOT NULL,
        "job_kind" text NOT NULL,
        "job_state" text NOT NULL,
        "at" TIMESTAMP(3) WITH TIME ZONE NOT NULL,
        "job" jsonb NOT NULL,
        "notice" jsonb,
        CONSTRAINT "pk_job_events" PRIMARY KEY ("position")
      )`);
    await runner.query(`CREATE INDEX "ix_job_events_project_id_position" ON "job_events" ("project_id", "position")`);
    await runner.query(`CREATE UNIQUE INDEX "ix_job_events_job_id_sequence" ON "job_events" ("job_id", "sequence")`);
    await runner.query(`
      CREATE TABLE "jobs" (
        "id" text NOT NULL,
        "project_id" text NOT NULL,
        "kind" text NOT NULL,
        "state" text NOT NULL,
        "conclusion" text,
        "phase" text,
        "phases" jsonb NOT NULL,
        "progress" jsonb,
        "failure" jsonb,
        "attempt" integer NOT NULL,
        "max_attempts" integer NOT NULL,
        "sequence" integer NOT NULL,
        "created_at" TIMESTAMP(3) WITH TIME ZONE NOT NULL,
        "started_at" TIMESTAMP(3) WITH TIME ZONE,
        "completed_at" TIMESTAMP(3) WITH TIME ZONE,
        "cancel_requested_at" TIMESTAMP(3) WITH TIME ZONE,
        "cancellable" boolean NOT NULL,
        "instance_id" text,
        "backup_id" text,
        "restore_id" text,
        "server_run_id" text,
        "fence" integer NOT NULL,
        "lease_until" TIMESTAMP(3) WITH TIME ZONE,
        "worker" text,
        "not_before" TIMESTAMP(3) WITH TIME ZONE,
        CONSTRAINT "pk_jobs" PRIMARY KEY ("id")
      )`);
    await runner.query(`CREATE UNIQUE INDEX "ix_jobs_server_run_id_part" ON "jobs" ("server_run_id") WHERE "state" <> 'COMPLETED' AND "kind" IN ('BACKUP', 'RESTORE')`);
    await runner.query(`CREATE INDEX "ix_jobs_state_lease_until_part" ON "jobs" ("state", "lease_until") WHERE "state" <> 'COMPLETED'`);
    await runner.query(`CREATE INDEX "ix_jobs_instance_id_state" ON "jobs" ("instance_id", "state")`);
    await runner.query(`CREATE INDEX "ix_jobs_project_id_created_at_id" ON "jobs" ("project_id", "created_at", "id")`);
    await runner.query(`
      CREATE TABLE "backup_policies" (
        "id" text NOT NULL,
        "project_id" text NOT NULL,
        "instance_id" text NOT NULL,
        "enabled" boolean NOT NULL,
        "weekdays" text array NOT NULL,
        "start_time" text NOT NULL,
        "window_minutes" integer NOT NULL,
        "time_zone" text NOT NULL,
        "next_run_at" TIMESTAMP(3) WITH TIME ZONE,
        "updated_at" TIMESTAMP(3) WITH TIME ZONE NOT NULL,
        CONSTRAINT "uq_backup_policies_instance_id" UNIQUE ("instance_id"),
        CONSTRAINT "pk_backup_policies" PRIMARY KEY ("id")
      )`);
    await runner.query(`CREATE INDEX "ix_backup_policies_next_run_at_part" ON "backup_policies" ("next_run_at") WHERE "next_run_at" IS NOT NULL`);
    await runner.query(`
      CREATE TABLE "projects" (
        "id" text NOT NULL,
        "name" text NOT NULL,
        "created_at" TIMESTAMP(3) WITH TIME ZONE NOT NULL,
        CONSTRAINT "uq_projects_name" UNIQUE ("name"),
        CONSTRAINT "pk_projects" PRIMARY KEY ("id")
      )`);
    await runner.query(`
      CREATE TABLE "restore_plans" (
        "id" text NOT NULL,
        "project_id" text NOT NULL,
        "key_id" text NOT NULL,
        "backup_id" text NOT NULL,
        "instance_id" text NOT NULL,
        "plan" jsonb NOT NULL,
        "created_at" TIMESTAMP(3) WITH TIME ZONE NOT NULL,
        "expires_at" TIMESTAMP(3) WITH TIME ZONE NOT NULL,
        "used_at" TIMESTAMP(3) WITH TIME ZONE,
        CONSTRAINT "pk_restore_plans" PRIMARY KEY ("id")
      )`);
    await runner.query(`CREATE INDEX "ix_restore_plans_project_id_created_at_id" ON "restore_plans" ("project_id", "created_at", "id")`);
    await runner.query(`
      CREATE TABLE "restores" (
        "id" text NOT NULL,
        "project_id" text NOT NULL,
        "plan_id" text NOT NULL,
        "backup_id" text NOT NULL,
        "instance_id" text NOT NULL,
        "method" text NOT NULL,
        "safety_backup_id" text,
        "data_now" text NOT NULL,
        "unsaved_write_bytes" bigint,
        "accepted_warnings" text array NOT NULL,
        "report" jsonb,
        "undo_record" jsonb,
        "job_id" text NOT NULL,
        "created_at" TIMESTAMP(3) WITH TIME ZONE NOT NULL,
        "completed_at" TIMESTAMP(3) WITH TIME ZONE,
        CONSTRAINT "pk_restores" PRIMARY KEY ("id")
      )`);
    await runner.query(`CREATE INDEX "ix_restores_instance_id_created_at_id" ON "restores" ("instance_id", "created_at", "id")`);
    await runner.query(`CREATE INDEX "ix_restores_project_id_created_at_id" ON "restores" ("project_id", "created_at", "id")`);
    await runner.query(`
      CREATE TABLE "service_settings" (
        "name" text NOT NULL,
        "value" text NOT NULL,
        CONSTRAINT "pk_service_settings" PRIMARY KEY ("name")
      )`);
    await runner.query(`
      CREATE TABLE "slots" (
        "id" text NOT NULL,
        "project_id" text NOT NULL,
        "policy_id" text NOT NULL,
        "instance_id" text NOT NULL,
        "planned_at" TIMESTAMP(3) WITH TIME ZONE NOT NULL,
        "state" text NOT NULL,
        "job_id" text,
        "reason" text,
        CONSTRAINT "pk_slots" PRIMARY KEY ("id")
      )`);
    await runner.query(`CREATE INDEX "ix_slots_state_part" ON "slots" ("state") WHERE "state" = 'DUE'`);
    await runner.query(`CREATE UNIQUE INDEX "ix_slots_policy_id_planned_at" ON "slots" ("policy_id", "planned_at")`);
  }

  async down(): Promise<void> {
    throw new Error('Migrations go forward only: restore the database from its own backup instead.');
  }
}
