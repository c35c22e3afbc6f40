import { type JobEventRecord } from '../../../server/services/records.js';

/** A feed by hand: `push` gives an event, `ended` says that the reader has let go. */
export const feed = () => {
  const queue: (JobEventRecord | Error)[] = [];
  const state = { ended: false, finished: false };
  let wake: () => void = () => undefined;
  const iterator: AsyncIterableIterator<JobEventRecord> = {
    [Symbol.asyncIterator]: () => iterator,
    async next() {
      for (;;) {
        const value = queue.shift();
        if (value instanceof Error) throw value;
        if (value) return { value, done: false };
        if (state.ended || state.finished) return { value: undefined, done: true };
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
    async return() {
      state.ended = true;
      wake();
      return { value: undefined, done: true };
    },
  };
  return {
    iterator, state,
    push: (...values: (JobEventRecord | Error)[]) => {
      queue.push(...values);
      wake();
    },
    finish: () => {
      state.finished = true;
      wake();
    },
  };
};
