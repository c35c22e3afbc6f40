import { createContext, useContext } from 'react';
import { createClient, type Client } from '@snapback/sdk';
import { createLive, watchFeed, type LinkState, type Live } from './live.js';
import { createStore, type Store } from './store.js';

export type Viewer = Awaited<ReturnType<Client['viewer']>>;

/** Somebody who is signed in. */
export interface Session {
  readonly client: Client;
  readonly live: Live;
  readonly viewer: Viewer;
  /** Whether the role allows to back up, download, restore, cancel and change policies. The service decides; this is for what to offer. */
  readonly mayOperate: boolean;
  /** Whether it allows to register servers: not for a key that is limited to some. */
  readonly mayExtend: boolean;
  /** Forgets the key. */
  end(why?: string): void;
}

interface SignedOut {
  /** Why, when it was not the user who signed out. */
  readonly why: string | null;
}

export const session: Store<Session | SignedOut> = createStore<Session | SignedOut>({ why: null });

/*
 * The key lives in this page's memory. Only for those who ask for it, it is also kept in sessionStorage, which ends with the tab, so that a
 * reload finds it. Nowhere else, and never in an address.
 */
const STORED = 'snapback-key';

const keep = (key: string | null): void => {
  try {
    if (key === null) sessionStorage.removeItem(STORED);
    else sessionStorage.setItem(STORED, key);
  } catch {
    // Browsers can forbid it; then a reload asks for the key.
  }
};

export const keptKey = (): string | null => {
  try {
    return sessionStorage.getItem(STORED);
  } catch {
    return null;
  }
};

const OPERATORS = ['OPERATOR', 'ADMIN'];

/** Throws what the service says to the key. */
export const signIn = async (key: string, { remember }: { remember: boolean }): Promise<void> => {
  const link = createStore<LinkState>('connecting');
  const live = createLive(link, () => end('The service does not accept this key any more: it was revoked, has expired, or has other rights now.'));
  const client = createClient({
    url: location.origin, token: key, timeoutMs: 10_000, keepAliveMs: 5_000, retry: { attempts: 3, maxMs: 3_000 }, ...watchFeed(link, () => live.ready()),
  });
  const end = (why: string | null = null): void => {
    keep(null);
    live.stop();
    session.set({ why });
  };
  const viewer = await client.viewer();
  keep(remember ? key : null);
  const mayOperate = OPERATORS.includes(viewer.role);
  session.set({ client, live, viewer, mayOperate, mayExtend: mayOperate && viewer.instanceIds === null, end });
  live.start(client);
};

const SessionContext = createContext<Session | null>(null);
export const SessionProvider = SessionContext.Provider;

/** Below the sign-in only. */
export const useSession = (): Session => {
  const current = useContext(SessionContext);
  if (current === null) throw new Error('Nobody is signed in.');
  return current;
};
