/** A queue of one: what is handed in runs when all before it has ended, well or not. */
export const oneAtATime = (): ((run: () => Promise<void>) => Promise<void>) => {
  let last: Promise<unknown> = Promise.resolve();
  return (run) => {
    const mine = last.then(run);
    last = Promise.allSettled([mine]);
    return mine;
  };
};

/** Such a queue for each key, as long as something stands in it. */
export const oneAtATimePerKey = (): ((key: string, run: () => Promise<void>) => Promise<void>) => {
  const queues = new Map<string, { run: ReturnType<typeof oneAtATime>; waiting: number }>();
  return async (key, run) => {
    const queue = queues.get(key) ?? { run: oneAtATime(), waiting: 0 };
    queues.set(key, queue);
    queue.waiting += 1;
    try {
      await queue.run(run);
    } finally {
      queue.waiting -= 1;
      if (queue.waiting === 0) queues.delete(key);
    }
  };
};
