import { feedCursor } from '../domain/cursor.js';
import { type JobEventRow } from '../services/ports.js';
import { type JobEventRecord } from '../services/records.js';

/** An event with its place in the feed of all projects. */
export interface Placed {
  readonly position: bigint;
  readonly record: JobEventRecord;
}

export const place = ({ position, ...event }: JobEventRow): Placed => ({ position: BigInt(position), record: { cursor: feedCursor(position), ...event } });

const moved = new WeakMap<JobEventRecord, Map<string, JobEventRecord>>();

/** The same event under a later place of the feed; the same object for all who ask for the same, so that it is executed once for them. */
export const under = (cursor: string, record: JobEventRecord): JobEventRecord => {
  let copies = moved.get(record);
  if (!copies) moved.set(record, (copies = new Map()));
  let copy = copies.get(cursor);
  if (!copy) copies.set(cursor, (copy = { ...record, cursor }));
  return copy;
};
