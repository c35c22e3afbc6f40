import { createEventFeed } from '../../../server/events/feed.js';
import { type EventFeed, type JobEventRow } from '../../../server/services/ports.js';
import { type JobRecord } from '../../../server/services/records.js';
import { waitFor } from '../../kit/wait.js';

/** A feed whose log is what the test says, without a database. Positions and sequences begin with 10. */
export interface ScriptedFeed {
  feed: EventFeed;
  /** Returns the event's sequence. */
  append(kind: JobEventRow['kind'], of: JobRecord): number;
  /** Announces what has been appended. */
  wake(): void;
  /** Until the node's reader has given out everything. */
  givenOut(): Promise<void>;
  /** Readings of the log that begin from now on see what is there then, and answer when they are let go. */
  hold(): { reached(): Promise<void>; letGo(): void };
}

export const scriptFeed = (): ScriptedFeed => {
  const rows: JobEventRow[] = [];
  let wake: () => void = () => undefined;
  let given = '';
  let held: Promise<void> | undefined;
  let waiting = 0;
  const behind = (after: string): JobEventRow[] => rows.filter(({ position }) => BigInt(position) > BigInt(after));
  const answer = async (found: JobEventRow[], limit: number): Promise<JobEventRow[]> => {
    waiting += 1;
    await held;
    return found.slice(0, limit);
  };
  const feed = createEventFeed({
    events: {
      ofJob: (_scope, jobId, after, limit) => answer(rows.filter((row) => row.job.id === jobId && row.sequence > after), limit),
      ofProject: (_scope, _filter, after, limit) => answer(behind(after), limit),
      // As a database would, it answers in a later turn.
      since: (_projects, after, limit) => new Promise((resolve) => setImmediate(() => {
        const found = behind(after).slice(0, limit);
        given = found.at(-1)?.position ?? after;
        resolve(found);
      })),
      lastPosition: async () => rows.at(-1)?.position ?? '0', newestPosition: async () => rows.at(-1)?.position ?? '0', forgottenTo: async () => '5',
    },
    jobs: { get: async () => null },
    hub: {
      onEvent: (_topic, listener) => {
        wake = listener;
        return () => undefined;
      },
    },
    clock: { now: () => new Date() }, mayPass: () => false,
  });
  return {
    feed,
    append(kind, of) {
      const sequence = rows.length + 10;
      rows.push({ position: String(sequence), sequence, kind, at: new Date(), job: of, notice: null });
      return sequence;
    },
    wake: () => wake(),
    givenOut: async () => void (await waitFor(() => given === rows.at(-1)?.position, { message: 'everything to be given out' })),
    hold() {
      waiting = 0;
      let letGo: () => void = () => undefined;
      held = new Promise((resolve) => {
        letGo = resolve;
      });
      return {
        reached: async () => void (await waitFor(() => waiting > 0, { message: 'the log to be read' })),
        letGo() {
          held = undefined;
          letGo();
        },
      };
    },
  };
};
