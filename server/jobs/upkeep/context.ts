import { type Clock, type Log } from '../../engine/ports.js';
import { type Database, type Ids } from '../../services/ports.js';
import { type UpkeepArchives } from './archives.js';
import { type ServiceLock } from './service-lock.js';

/** What a step of the upkeep works with. Everything it changes, it changes through the lock. */
export interface UpkeepContext {
  db: Database;
  archives: UpkeepArchives;
  ids: Ids;
  clock: Clock;
  log: Log;
  lock: ServiceLock;
  /** The database's clock at the pass's beginning. */
  now: Date;
  /** Aborted when the lock is lost or the service stops. */
  signal: AbortSignal;
  /** Rejects when the store has become another catalogue's. Awaited before everything that removes. */
  assertOurs(): Promise<void>;
}
