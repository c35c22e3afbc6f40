import { type Log } from '../engine/ports.js';
import { type StoreEvents } from './agenda-store.js';

const QUIET_MS = 30_000;

/**
 * Tells of trouble in the background without flooding the log: while a database is away, Agenda fails several times a second.
 * Each kind of trouble is told at once, then at most every 30 s with the number of times it was left out.
 */
export class TroubleLog implements StoreEvents {
  private readonly told = new Map<string, { at: number; since: number }>();

  constructor(private readonly log: Log) {}

  trouble(what: string, error: unknown): void {
    const now = performance.now();
    const last = this.told.get(what);
    if (last && now - last.at < QUIET_MS) {
      last.since += 1;
      return;
    }
    this.told.set(what, { at: now, since: 0 });
    this.log.warn(what, { error, ...(last && last.since > 0 ? { repeated: last.since } : {}) });
  }
}
