import { type Clock } from '../engine/ports.js';
import { type Repositories } from './ports.js';

/** The time that schedules are judged by. */
export type ScheduleTime = (tx: Pick<Repositories, 'now'>) => Promise<Date>;

/** The database's clock, so that a node whose own clock is off plans and runs neither early nor late; in tests one of their own. */
export const scheduleTime = (clock?: Clock): ScheduleTime => (clock ? () => Promise.resolve(clock.now()) : (tx) => tx.now());
