import { AGREEING_LOOKS } from '../../domain/clock-agreement.js';
import { type Notice } from '../../domain/notice.js';
import { type Database, type UpkeepStatus } from '../../services/ports.js';

/** Nothing has been seen that would speak against the clocks. */
const NEVER: UpkeepStatus = { lastPassAt: null, agreed: AGREEING_LOOKS, stoppedBecause: null, heldBecause: null, toldAt: null, toldOf: null };
/** What goes on for longer is told again after this long; nodes of which one has a wrong clock do not tell more often either. */
const TELL_EVERY_MS = 24 * 60 * 60_000;

type Stored = Omit<UpkeepStatus, 'lastPassAt' | 'toldAt'> & { lastPassAt: string | null; toldAt: string | null };

const date = (text: string | null): Date | null => (text === null ? null : new Date(text));

/** How the last pass of any node went. */
export const readStatus = async (db: Database): Promise<UpkeepStatus> => {
  const text = await db.read.settings.get('upkeep');
  if (text === null) return NEVER;
  const { lastPassAt, toldAt, ...rest } = JSON.parse(text) as Stored;
  return { ...rest, lastPassAt: date(lastPassAt), toldAt: date(toldAt) };
};

export const encodeStatus = (status: UpkeepStatus): string => JSON.stringify(status);

/** What the operator is to be told of a pass that stands still, if it is time to; with what the status then remembers. */
export const noticeOfStop = (at: Date, reason: string, of: 'STORE' | 'CLOCK', before: UpkeepStatus): { notice: Notice | null; told: Pick<UpkeepStatus, 'toldAt' | 'toldOf'> } => {
  const { toldAt, toldOf } = before;
  if (toldOf === of && toldAt !== null && Math.abs(at.getTime() - toldAt.getTime()) < TELL_EVERY_MS) return { notice: null, told: { toldAt, toldOf } };
  return {
    notice: { kind: 'RETENTION_STOPPED', projectId: null, instanceId: null, at, message: `Retention stands still, and expired backups are not removed: ${reason}`, details: { cause: of } },
    told: { toldAt: at, toldOf: of },
  };
};
