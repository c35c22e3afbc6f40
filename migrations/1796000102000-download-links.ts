import { type MigrationInterface, type QueryRunner } from 'typeorm';

/** Download links that were made, so that they can be revoked and used up. */
export class DownloadLinks1796000102000 implements MigrationInterface {
  readonly name = 'DownloadLinks1796000102000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE "download_links" (
        "id" text NOT NULL,
        "project_id" text NOT NULL,
        "backup_id" text NOT NULL,
        "key_id" text NOT NULL,
        "single_use" boolean NOT NULL,
        "created_at" TIMESTAMP(3) WITH TIME ZONE NOT NULL,
        "expires_at" TIMESTAMP(3) WITH TIME ZONE NOT NULL,
        "used_at" TIMESTAMP(3) WITH TIME ZONE,
        "revoked_at" TIMESTAMP(3) WITH TIME ZONE,
        CONSTRAINT "pk_download_links" PRIMARY KEY ("id")
      )`);
    await runner.query(`CREATE INDEX "ix_download_links_project_id_backup_id" ON "download_links" ("project_id", "backup_id")`);
    await runner.query(`CREATE INDEX "ix_download_links_expires_at" ON "download_links" ("expires_at")`);
  }

  /** Migrations go forward only: an older release restores its database from a backup. */
  down(): Promise<void> {
    return Promise.reject(new Error('DownloadLinks1796000102000 cannot be undone.'));
  }
}
