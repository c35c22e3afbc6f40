import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createLastingQueue } from '../../../server/jobs/lasting-queue.js';

describe('a queue whose store goes away', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  const scene = () => {
    const told: string[] = [];
    const logged: string[] = [];
    const store = { away: false, silent: false };
    const tell = (what: string): Promise<void> => {
      if (store.silent) return new Promise(() => undefined);
      if (store.away) return Promise.reject(new Error('away'));
      told.push(what);
      return Promise.resolve();
    };
    const log = { debug: () => undefined, info: (m: string) => void logged.push(m), warn: (m: string) => void logged.push(m), error: (m: string) => void logged.push(m) };
    const queue = createLastingQueue({ enqueueJob: (id) => tell(id), schedulePolicy: (id, at) => tell(`${id} ${at === null ? 'never' : String(at.getTime())}`) }, log);
    return { queue, told, logged, store };
  };

  it('fails nobody, and is told everything later: the newest word of each, once', async () => {
    const { queue, told, logged, store } = scene();
    store.away = true;
    await queue.enqueueJob('job_1');
    await queue.schedulePolicy('pol_1', new Date(1));
    await queue.enqueueJob('job_1');
    await queue.schedulePolicy('pol_1', null);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(told).toEqual([]);
    expect(logged).toHaveLength(1);
    store.away = false;
    await vi.advanceTimersByTimeAsync(2_000);
    expect(told).toEqual(['job_1', 'pol_1 never']);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(told).toHaveLength(2);
    await queue.enqueueJob('job_2');
    expect(told).toEqual(['job_1', 'pol_1 never', 'job_2']);
    queue.stop();
  });

  it('keeps nobody waiting for an answer that does not come', async () => {
    const { queue, store } = scene();
    store.silent = true;
    let over = false;
    const asked = queue.enqueueJob('job_1').then(() => {
      over = true;
    });
    await vi.advanceTimersByTimeAsync(1_000);
    await asked;
    expect(over).toBe(true);
    queue.stop();
  });
});
