import { AGREEING_LOOKS } from '../../domain/clock-agreement.js';
import { type Database, type UpkeepStatus } from '../../services/ports.js';

/** Nothing has been seen that would speak against the clocks. */
const NEVER: UpkeepStatus = { lastPassAt: null, agreed: AGREEING_LOOKS, stoppedBecause: null };

interface Stored {
  lastPassAt: string | null;
  agreed: number;
  stoppedBecause: string | null;
}

/** How the last pass of any node went. */
export const readStatus = async (db: Database): Promise<UpkeepStatus> => {
  const text = await db.read.settings.get('upkeep');
  if (text === null) return NEVER;
  const { lastPassAt, agreed, stoppedBecause } = JSON.parse(text) as Stored;
  return { lastPassAt: lastPassAt === null ? null : new Date(lastPassAt), agreed, stoppedBecause };
};

export const encodeStatus = ({ lastPassAt, agreed, stoppedBecause }: UpkeepStatus): string =>
  JSON.stringify({ lastPassAt: lastPassAt?.toISOString() ?? null, agreed, stoppedBecause } satisfies Stored);
