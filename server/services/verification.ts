import { type BackupChange } from './ports.js';
import { type BackupRecord, type VerificationRecord } from './records.js';

/** What a backup's row says after a verification came to a result. @param backup locked, or others' results could be lost */
export const verified = ({ verifications }: Pick<BackupRecord, 'verifications'>, made: VerificationRecord): BackupChange => ({
  verifications: [made, ...verifications.filter(({ level }) => level !== made.level)],
  ...(made.result === 'PASSED' ? { lastVerifiedAt: made.verifiedAt } : {}),
});
