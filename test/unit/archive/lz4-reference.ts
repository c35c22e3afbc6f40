/**
 * What a block of the LZ4 block format holds, byte by byte, as lz4_Block_format.md of the LZ4 project says; null for what is no block of that length.
 * `endsRight` is whether it keeps the end rules, which bind who compresses: the last five bytes are literals, and the last match begins twelve before the end.
 */
export const readLz4Block = (block: Uint8Array, plainLength: number): { plain: Buffer; endsRight: boolean } | null => {
  const plain = Buffer.alloc(plainLength);
  let at = 0;
  let filled = 0;
  let lastMatch = -1;
  const lengthFrom = (nibble: number): number => {
    let length = nibble;
    for (let more = nibble === 15 ? 255 : 0; more === 255; length += more) more = block[at++] ?? Number.NaN;
    return length;
  };
  while (at < block.length) {
    const token = block[at++]!;
    const literals = lengthFrom(token >>> 4);
    if (!(at + literals <= block.length && filled + literals <= plainLength)) return null;
    plain.set(block.subarray(at, at + literals), filled);
    at += literals;
    filled += literals;
    if (at === block.length) {
      const endsRight = lastMatch === -1 || (literals >= 5 && lastMatch <= plainLength - 12);
      return filled === plainLength ? { plain, endsRight } : null;
    }
    const distance = (block[at] ?? Number.NaN) + 256 * (block[at + 1] ?? Number.NaN);
    at += 2;
    const length = lengthFrom(token & 15) + 4;
    if (!(distance >= 1 && distance <= filled && filled + length <= plainLength)) return null;
    lastMatch = filled;
    for (let copied = 0; copied < length; copied += 1, filled += 1) plain[filled] = plain[filled - distance]!;
  }
  return null;
};
