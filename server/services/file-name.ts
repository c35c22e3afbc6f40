import { type BackupRecord } from './records.js';

/** File systems take 255 bytes; the time, the ending, and what a browser appends to a second copy need some of them. */
const MAX_STEM_BYTES = 200;

const cut = (text: string): string => {
  let kept = '';
  let bytes = 0;
  for (const character of text) {
    bytes += Buffer.byteLength(character);
    if (bytes > MAX_STEM_BYTES) break;
    kept += character;
  }
  return kept;
};

/** A file name that every system takes: the backup's name where it can be kept, its time, and `.rdb`. Never a path. */
export const downloadName = (backup: Pick<BackupRecord, 'name' | 'id' | 'completedAt' | 'createdAt'>): string => {
  const stem = backup.name
    .normalize('NFC')
    .replace(/[\p{Cc}\p{Cs}\p{Cf}<>:"/\\|?*]/gu, '_')
    .replace(/\s+/g, '-')
    .replace(/^[.\-_]+|[.\-_]+$/g, '');
  const time = (backup.completedAt ?? backup.createdAt).toISOString().replace(/\.\d+Z$/, 'Z').replace(/[-:]/g, '');
  return `${cut(stem) || backup.id}-${time}.rdb`;
};
