/** The instants that a DateTime shows. Servers keep any 64-bit number as an expiry. */
const [EARLIEST, LATEST] = [0, Date.UTC(9999, 11, 31, 23, 59, 59, 999)];

/** An expiry, in Unix milliseconds, as near as it can be shown. */
export const shownInstant = (ms: number): Date => new Date(Math.min(Math.max(ms, EARLIEST), LATEST));
