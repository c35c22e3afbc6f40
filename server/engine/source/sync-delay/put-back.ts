import { addressOf } from '../../../domain/address.js';
import { DomainError } from '../../../domain/errors.js';
import { type Control, openControl } from '../../control.js';
import { type Dial, type Endpoint, type Log } from '../../ports.js';
import { SYNC_DELAY, type SyncDelayHold } from './hold.js';
import { readDelay } from './settings.js';

/** How a server was left. */
export interface SyncDelaySettlement {
  /** PUT_BACK: it has its own value again by our doing. NOTHING: it had it already. LEFT_ALONE: it shows another one, or was restarted with ours. */
  action: 'PUT_BACK' | 'NOTHING' | 'LEFT_ALONE';
  /** For people; begins with the server's address. */
  message: string;
}

/** What a person has to do where we cannot. */
export const byHand = ({ before, ours }: Pick<SyncDelayHold, 'before' | 'ours'>): string =>
  `If CONFIG GET ${SYNC_DELAY} shows ${ours} there, and nobody wants that, run CONFIG SET ${SYNC_DELAY} ${before}`;

/**
 * Puts a server's delay back if it is still the one that we set, and the server still the process that we set it on. After a restart its value
 * comes from its configuration: there it is somebody's will, or a CONFIG REWRITE has made it so, and nothing is touched. May be repeated.
 *
 * Fails as `Control.call` does, PERMISSION_MISSING where the value is not shown, CONFLICT where the server does not keep what is set, or with what `assertHeld`
 * rejects with; then the hold still stands.
 */
export const putBack = async (hold: SyncDelayHold, control: Control, assertHeld: () => Promise<void>): Promise<SyncDelaySettlement> => {
  const address = addressOf(hold);
  const runId = (await control.info('server')).get('run_id');
  const found = await readDelay(control);
  if (runId !== hold.runId) return afterRestart(hold, found);
  if (found !== hold.ours) return withoutUs(hold, found);
  await assertHeld();
  // Once more, with nothing in between: who changed it while we asked keeps his value.
  const last = await readDelay(control);
  if (last !== hold.ours) return withoutUs(hold, last);
  await control.call('CONFIG', 'SET', SYNC_DELAY, hold.before);
  const now = await readDelay(control);
  if (now === hold.ours) {
    throw new DomainError('CONFLICT', `${address} says that it has set ${SYNC_DELAY} to ${hold.before}, and shows ${now}.`, { hint: byHand(hold), retryable: true });
  }
  return { action: 'PUT_BACK', message: `${address} has its ${SYNC_DELAY} of ${hold.before} again; this service had set it to ${hold.ours}.` };
};

/** It is not the value that we set, or cannot be seen. */
const withoutUs = (hold: SyncDelayHold, found: string | null): SyncDelaySettlement => {
  const address = addressOf(hold);
  if (found === null) {
    throw new DomainError('PERMISSION_MISSING', `${address} does not show its ${SYNC_DELAY} any more; it may still be ${hold.ours}.`, { hint: `Grant the user +config|get and +config|set. ${byHand(hold)}.` });
  }
  return found === hold.before
    ? { action: 'NOTHING', message: `${address} has its ${SYNC_DELAY} of ${found} already.` }
    : { action: 'LEFT_ALONE', message: `${address}: somebody has set ${SYNC_DELAY} to ${found} meanwhile, and it was left so (it was ${hold.before} before this service set it to ${hold.ours}).` };
};

const afterRestart = (hold: SyncDelayHold, found: string | null): SyncDelaySettlement => {
  const restarted = `${addressOf(hold)} was restarted, or another server is there, since this service set its ${SYNC_DELAY} from ${hold.before} to ${hold.ours}`;
  if (found === hold.before) return { action: 'NOTHING', message: `${restarted}; it has ${found} again.` };
  if (found === null) return { action: 'LEFT_ALONE', message: `${restarted}; its value cannot be read, and nothing was changed.` };
  const origin = found === hold.ours
    ? ` That comes from its configuration: it stood there before, or somebody's CONFIG REWRITE has kept ours. ${byHand(hold)}, and CONFIG REWRITE.`
    : '';
  return { action: 'LEFT_ALONE', message: `${restarted}; it shows ${found}, and nothing was changed.${origin}` };
};

/** As `putBack`, over a connection of its own: for any node, after the one that held the server has died. */
export const settleSyncDelay = async (hold: SyncDelayHold, endpoint: Endpoint, deps: { dial: Dial; log: Log; assertHeld(): Promise<void> }): Promise<SyncDelaySettlement> => {
  const control = await openControl(endpoint, deps);
  try {
    return await putBack(hold, control, () => deps.assertHeld());
  } finally {
    control.close();
  }
};
