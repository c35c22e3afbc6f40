import { useSyncExternalStore } from 'react';
import { exactly, dateTime, relative } from './format.js';

/* One clock for all: what shows an age is drawn anew each second, and nothing else is. */
const listeners = new Set<() => void>();
let now = Date.now();
let timer: ReturnType<typeof setInterval> | undefined;

const tick = (): void => {
  now = Date.now();
  for (const listener of listeners) listener();
};

const subscribe = (listener: () => void): (() => void) => {
  listeners.add(listener);
  if (timer === undefined) {
    now = Date.now();
    timer = setInterval(tick, 1_000);
  }
  return () => {
    listeners.delete(listener);
    if (listeners.size > 0) return;
    clearInterval(timer);
    timer = undefined;
  };
};

/** Milliseconds, to the second. */
export const useNow = (): number => useSyncExternalStore(subscribe, () => now);

/** How long ago, or in how long. */
export const Age = ({ at }: { at: string }) => {
  const instant = Date.parse(at);
  return <time dateTime={at} title={exactly(at)}>{relative(instant, useNow())}</time>;
};

/** The day and the time, in the viewer's own zone unless another is given. */
export const When = ({ at, zone }: { at: string; zone?: string }) => <time dateTime={at} title={exactly(at)}>{dateTime(at, zone)}</time>;
