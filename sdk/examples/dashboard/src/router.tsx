import { type AnchorHTMLAttributes, type MouseEvent } from 'react';
import { createStore, useStore } from './store.js';

/** Paths of this app, without its base: `/`, `/jobs`, `/instances/<id>/<tab>`. */
const BASE = '/dashboard';

const current = (): string => {
  const path = location.pathname.startsWith(BASE) ? location.pathname.slice(BASE.length) : '';
  return path === '' ? '/' : path;
};

const store = createStore(current());
addEventListener('popstate', () => store.set(current()));

export const usePath = (): string => useStore(store);

export const href = (path: string): string => (path === '/' ? BASE : `${BASE}${path}`);

/** `replace`: another view of the same page, such as a tab, which the back button does not lead to. */
export const go = (path: string, { replace = false } = {}): void => {
  if (path === store.get()) return;
  history[replace ? 'replaceState' : 'pushState'](null, '', href(path));
  store.set(current());
  if (!replace) scrollTo(0, 0);
};

/** A click with a modifier, or with another button than the first, is the browser's. */
const isPlain = (event: MouseEvent): boolean => event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;

export const Link = ({ to, ...rest }: { to: string } & AnchorHTMLAttributes<HTMLAnchorElement>) => (
  <a
    {...rest}
    href={href(to)}
    onClick={(event) => {
      if (!isPlain(event)) return;
      event.preventDefault();
      go(to);
    }}
  />
);
