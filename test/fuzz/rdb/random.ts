/** Gives an integer from 0 up to, but not including, its argument. */
export type Random = (below: number) => number;

/** As good as mutations need, and different for each pair of seed and number (splitmix, then mulberry32). */
export const randomOf = (seed: number, number: number): Random => {
  let state = Math.imul(seed ^ Math.imul(number, 0x9e3779b1), 0x85ebca6b) ^ (number >>> 3);
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  };
};

export const pick = <T>(items: readonly T[], random: Random): T => {
  const item = items[random(items.length)];
  if (item === undefined) throw new RangeError('Nothing to pick from');
  return item;
};
