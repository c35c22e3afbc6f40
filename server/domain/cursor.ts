import { DomainError } from './errors.js';
import { type IdKind, isId } from './ids.js';

/*
 * Cursors are opaque to callers: base64url of a JSON list whose first item names the list they belong to, so that a cursor of another
 * list, or one that somebody made up, is refused instead of giving a wrong page.
 */
export type ListName = 'instances' | 'backups' | 'jobs' | 'restores' | 'slots' | 'projects' | 'apiKeys' | 'auditEvents';

const KIND_OF: Readonly<Record<ListName, IdKind>> = {
  instances: 'instance', backups: 'backup', jobs: 'job', restores: 'restore', slots: 'slot', projects: 'project', apiKeys: 'apiKey', auditEvents: 'auditEvent',
};

const bad = (field: string): DomainError =>
  new DomainError('BAD_INPUT', `"${field}" is not a cursor of this list.`, { hint: 'Use a cursor that this list gave out.', field: [field] });

const decode = (cursor: string): unknown[] | undefined => {
  if (cursor.length > 256 || !/^[A-Za-z0-9_-]+$/.test(cursor)) return undefined;
  try {
    const value: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8'));
    return Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
};

const encode = (fields: readonly (string | number)[]): string => Buffer.from(JSON.stringify(fields)).toString('base64url');

export const listCursor = (list: ListName, item: { createdAt: Date; id: string }): string => encode([list, item.createdAt.getTime(), item.id]);

export const parseListCursor = (list: ListName, cursor: string, field: string): { createdAt: Date; id: string } => {
  const [name, millis, id] = decode(cursor) ?? [];
  if (name !== list || typeof millis !== 'number' || !Number.isSafeInteger(millis) || Math.abs(millis) > 8.64e15 || typeof id !== 'string' || !isId(KIND_OF[list], id)) throw bad(field);
  return { createdAt: new Date(millis), id };
};

/** A place in the list of a backup's keys: where the key stands in its RDB file. */
export const keyCursor = (backupId: string, offset: number): string => encode(['keys', backupId, offset]);

export const parseKeyCursor = (backupId: string, cursor: string, field: string): number => {
  const [name, id, offset] = decode(cursor) ?? [];
  if (name !== 'keys' || id !== backupId || typeof offset !== 'number' || !Number.isSafeInteger(offset) || offset < 0) throw bad(field);
  return offset;
};

export const feedCursor = (position: string): string => encode(['feed', position]);

export const parseFeedCursor = (cursor: string, field: string): string => {
  const [name, position] = decode(cursor) ?? [];
  if (name !== 'feed' || typeof position !== 'string' || !/^\d{1,18}$/.test(position)) throw bad(field);
  return position;
};
