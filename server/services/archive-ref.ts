import { type ArchiveRef } from './ports.js';
import { type BackupRecord } from './records.js';

/**
 * The archive that a backup's row describes. An adopted archive may name a project that this catalogue does not have: whose it is was decided when
 * it was adopted, and its manifest is known since.
 */
export const archiveOf = ({ id, jobId, projectId, manifestSha256, sha256, sizeBytes }: BackupRecord): ArchiveRef => ({
  backupId: id, known: { manifestSha256, projectId: jobId === null ? null : projectId, sha256, sizeBytes },
});
