const MIB = 1024 * 1024;

/** S3's own limit. */
export const MAX_PARTS = 10_000;

/**
 * How many parts of which size, in MiB. Nobody knows beforehand how large an object becomes, and a part has to be in memory as a whole: so parts
 * are small where objects are, and an object of 1 TiB can still be written with the 10,000 that S3 allows.
 */
const SIZES: readonly (readonly [parts: number, mib: number])[] = [[2000, 8], [2000, 16], [2000, 32], [1000, 64], [1000, 128], [1000, 256], [1000, 512]];

/** @param number from 1 */
export const partBytes = (number: number): number => {
  let before = 0;
  const found = SIZES.find(([parts]) => number <= (before += parts)) ?? SIZES.at(-1);
  return (found?.[1] ?? 0) * MIB;
};

/** The largest object that can be written, in bytes. */
export const MAX_OBJECT_BYTES = SIZES.reduce((sum, [parts, mib]) => sum + BigInt(parts) * BigInt(mib * MIB), 0n);
