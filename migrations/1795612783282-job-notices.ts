import { type MigrationInterface, type QueryRunner } from 'typeorm';

/** What was to be known about a job stands in its row, too. */
export class JobNotices1795612783282 implements MigrationInterface {
  readonly name = 'JobNotices1795612783282';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "jobs" ADD "notices" jsonb NOT NULL DEFAULT '[]'`);
    await runner.query(`
      UPDATE "jobs" j SET "notices" = n."all" FROM (
        SELECT "job_id", jsonb_agg("notice" ORDER BY "sequence") AS "all" FROM "job_events" WHERE "notice" IS NOT NULL GROUP BY "job_id") n
      WHERE n."job_id" = j."id"`);
  }

  /** Migrations go forward only: an older release restores its database from a backup. */
  down(): Promise<void> {
    return Promise.reject(new Error('JobNotices1795612783282 cannot be undone.'));
  }
}
