import { type BackupRecord } from './records.js';

/** A file name that every system takes: the backup's name where it can be kept, its time, and `.rdb`. Never a path. */
export const downloadName = (backup: Pick<BackupRecord, 'name' | 'id' | 'completedAt' | 'createdAt'>): string => {
  const stem = backup.name
    .normalize('NFC')
    .replace(/[\p{Cc}\p{Cs}\p{Cf}<>:"/\\|?*]/gu, '_')
    .replace(/\s+/g, '-')
    .replace(/^[.\-_]+|[.\-_]+$/g, '');
  const time = (backup.completedAt ?? backup.createdAt).toISOString().replace(/\.\d+Z$/, 'Z').replace(/[-:]/g, '');
  return `${[...stem].slice(0, 80).join('') || backup.id}-${time}.rdb`;
};
