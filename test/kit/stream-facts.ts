import { type Redis } from 'ioredis';

/** What follows from the server's clock, or from how it lays a stream out. */
const LEFT_OUT = new Set(['radix-tree-keys', 'radix-tree-nodes', 'seen-time', 'active-time', 'lag', 'entries']);
/** Since 7.0. */
const COUNTERS = new Set(['max-deleted-entry-id', 'entries-added', 'recorded-first-entry-id', 'entries-read']);

const isRecord = (flat: unknown[]): boolean => flat.length % 2 === 0 && flat.length > 0 && flat.every((part, at) => at % 2 === 1 || (typeof part === 'string' && /^[a-z-]+$/.test(part)));

/** Everything that XINFO STREAM FULL says of a stream, its groups, consumers and pending entries, but not its entries. */
export const streamFacts = async (client: Redis, key: string | Buffer, { counters }: { counters: boolean }): Promise<unknown> => {
  const tidy = (value: unknown): unknown => {
    if (!Array.isArray(value)) return value;
    const parts = value as unknown[];
    if (!isRecord(parts)) return parts.map(tidy);
    const named = parts.flatMap((part, at) => (at % 2 === 0 ? [[String(part), tidy(parts[at + 1])] as const] : []));
    return Object.fromEntries(named.filter(([name]) => !LEFT_OUT.has(name) && (counters || !COUNTERS.has(name))));
  };
  return tidy(await client.call('XINFO', 'STREAM', key, 'FULL', 'COUNT', '0'));
};
