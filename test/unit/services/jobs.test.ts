import { describe, expect, it } from 'vitest';
import { type Principal } from '../../../server/domain/principal.js';
import { createJobService } from '../../../server/services/job.service.js';
import { type Database, type EventFeed } from '../../../server/services/ports.js';

const CALLER: Principal = { credential: 'API_KEY', keyId: 'key_1', name: 'k', projectId: 'prj_1', role: 'VIEWER', serviceWide: false, instanceIds: null, expiresAt: null };

describe('a page of jobs', () => {
  it.each([[true, ['where the feed stands', 'the page']], [false, ['the page']]])('with its place in the feed (%s) is read after it, so that nothing is in neither', async (feedCursor, order) => {
    const asked: string[] = [];
    const jobs = createJobService({
      db: { read: { jobs: { list: async () => {
        asked.push('the page');
        return { items: [], more: false };
      } } } } as unknown as Database,
      feed: { now: async () => {
        // As a database would, it answers in a later turn.
        await new Promise((resolve) => setImmediate(resolve));
        asked.push('where the feed stands');
        return 'c7';
      } } as unknown as EventFeed,
      clock: { now: () => new Date(0) }, queue: { enqueueJob: () => Promise.resolve(), schedulePolicy: () => Promise.resolve() },
    });
    expect((await jobs.list(CALLER, {}, {}, { feedCursor })).feedCursor).toBe(feedCursor ? 'c7' : null);
    expect(asked).toEqual(order);
  });
});
