import { useEffect, useRef, useState } from 'react';
import { isSnapbackError, type Client, type List, type Page } from '@snapback/sdk';
import { useSession } from './session.js';

export interface Query<T> {
  /** The newest answer; kept while a newer one is on its way, and when that fails. */
  data: T | undefined;
  /** What the newest attempt ended with; undefined once one has succeeded. */
  error: unknown;
  /** Asks again, now. */
  refresh(): void;
}

/** Never oftener than this, however much happens. */
const GAP_MS = 700;

interface State<T> {
  key: string;
  data: T | undefined;
  error: unknown;
}

/**
 * Something read from the service, and read again whenever it may have changed. `key` names what is read: with another one, everything
 * begins anew.
 */
export const useQuery = <T>(key: string, read: (client: Client, signal: AbortSignal) => Promise<T>): Query<T> => {
  const { client, live, end } = useSession();
  const [state, setState] = useState<State<T>>({ key, data: undefined, error: undefined });
  const latest = useRef(read);
  latest.current = read;
  const again = useRef<() => void>(() => undefined);

  useEffect(() => {
    const gone = new AbortController();
    let running = false;
    let wanted = false;
    let last = 0;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const run = async (): Promise<void> => {
      timer = undefined;
      running = true;
      wanted = false;
      last = Date.now();
      try {
        const data = await latest.current(client, gone.signal);
        if (!gone.signal.aborted) setState({ key, data, error: undefined });
      } catch (error) {
        if (gone.signal.aborted) return;
        if (isSnapbackError(error) && error.code === 'UNAUTHENTICATED') end('The service does not accept this key any more.');
        else setState((before) => ({ key, data: before.key === key ? before.data : undefined, error }));
      } finally {
        running = false;
        if (wanted && !gone.signal.aborted) ask();
      }
    };
    const ask = (): void => {
      if (running) wanted = true;
      else timer ??= setTimeout(() => void run(), Math.max(0, last + GAP_MS - Date.now()));
    };
    again.current = ask;
    void run();
    const stop = live.onChange(ask);
    return () => {
      stop();
      clearTimeout(timer);
      gone.abort();
    };
  }, [key, client, live, end]);

  const current = state.key === key;
  return { data: current ? state.data : undefined, error: current ? state.error : undefined, refresh: () => again.current() };
};

export interface Pages<T> extends Query<Page<T>> {
  /** From 1. */
  number: number;
  next: (() => void) | undefined;
  previous: (() => void) | undefined;
}

export const PAGE_SIZE = 25;

/** A list, one page at a time. */
export const usePages = <T>(key: string, open: (client: Client, page: { after: string | undefined; pageSize: number }, signal: AbortSignal) => List<T>): Pages<T> => {
  const [place, setPlace] = useState<{ key: string; cursors: readonly string[] }>({ key, cursors: [] });
  const cursors = place.key === key ? place.cursors : [];
  const after = cursors.at(-1);
  const query = useQuery(`${key} ${after ?? ''}`, async (client, signal) => {
    for await (const page of open(client, { after, pageSize: PAGE_SIZE }, signal).pages()) return page;
    return { items: [], totalCount: 0, endCursor: null, hasNextPage: false };
  });
  const { hasNextPage = false, endCursor = null } = query.data ?? {};
  return {
    ...query,
    number: cursors.length + 1,
    next: hasNextPage && endCursor !== null ? () => setPlace({ key, cursors: [...cursors, endCursor] }) : undefined,
    previous: cursors.length > 0 ? () => setPlace({ key, cursors: cursors.slice(0, -1) }) : undefined,
  };
};
