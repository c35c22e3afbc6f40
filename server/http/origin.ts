import { type IncomingHttpHeaders } from 'node:http';

/** Browsers always send Origin across hosts, other clients may leave it out: a page of a foreign site must not use a connection in its visitor's name. */
export const originAllowed = ({ origin, host }: IncomingHttpHeaders, allowed: readonly string[]): boolean => {
  if (origin === undefined || allowed.includes(origin)) return true;
  return URL.canParse(origin) && new URL(origin).host === host;
};
