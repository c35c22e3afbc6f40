import { type Control } from '../../control.js';
import { optional } from '../../probe/optional.js';
import { SYNC_DELAY } from './hold.js';

/** A server's delay, in seconds, as CONFIG GET shows it; null where it does not: the user lacks the right, or there is no such setting. */
export const readDelay = async (control: Control): Promise<string | null> => {
  const value = (await readSettings(control, SYNC_DELAY))?.get(SYNC_DELAY);
  return value !== undefined && /^\d{1,9}$/.test(value) ? value : null;
};

/** The settings that a pattern fits; undefined when the server does not let us read them. */
const readSettings = async (control: Control, pattern: string): Promise<ReadonlyMap<string, string> | undefined> => {
  const reply = await optional(control.call('CONFIG', 'GET', pattern));
  if (!Array.isArray(reply)) return undefined;
  return new Map(reply.flatMap((name, at) => (at % 2 === 0 ? [[String(name), String(reply[at + 1])] as const] : [])));
};

/** What there is to skip: so many seconds, or nothing, or that cannot be known. */
export type Wait = { kind: 'SECONDS'; before: string } | { kind: 'NONE' | 'UNKNOWN'; because: string };

/** Looks whether a diskless replica has to wait on this server, and for how long. */
export const readWait = async (control: Control): Promise<Wait> => {
  const settings = await readSettings(control, 'repl-diskless-sync*');
  if (!settings) return { kind: 'UNKNOWN', because: 'the user may not read its settings (grant +config|get and +config|set)' };
  const before = settings.get(SYNC_DELAY);
  if (before === undefined) return { kind: 'NONE', because: 'it knows no such setting' };
  if (settings.get('repl-diskless-sync') !== 'yes') return { kind: 'NONE', because: 'it saves to its disk first (repl-diskless-sync is off), without any delay' };
  if (before === '0') return { kind: 'NONE', because: 'it is 0' };
  // With one awaited replica it begins at its next look, within a second.
  if (settings.get('repl-diskless-sync-max-replicas') === '1') return { kind: 'NONE', because: 'it waits for one replica only (repl-diskless-sync-max-replicas is 1)' };
  if (!/^\d{1,9}$/.test(before)) return { kind: 'UNKNOWN', because: `it shows "${before.slice(0, 40)}", which is no number of seconds` };
  return { kind: 'SECONDS', before };
};
