const DECIMAL = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i;
const INFINITE = /^([+-]?)inf(?:inity)?$/i;
const NOT_A_NUMBER = /^[+-]?nan(?:\(.*\))?$/i;
/** Servers write 17 significant digits, or the shortest form that reads back as the same number. */
const LONGEST = 512;

/** A score as servers write it into sorted sets; undefined for what is no number. */
export const parseScore = (bytes: Buffer): number | undefined => {
  if (bytes.length > LONGEST) return undefined;
  const text = bytes.toString('latin1');
  if (DECIMAL.test(text)) return Number(text);
  const infinite = INFINITE.exec(text);
  if (infinite !== null) return infinite[1] === '-' ? -Infinity : Infinity;
  return NOT_A_NUMBER.test(text) ? NaN : undefined;
};

/** The shortest text from which every server reads exactly this number. Not for NaN, which no server takes. */
export const scoreText = (score: number): string => {
  if (score === Infinity) return 'inf';
  if (score === -Infinity) return '-inf';
  return Object.is(score, -0) ? '-0' : String(score);
};
