/** The least a match copies; its token says how much more. */
const SHORTEST_MATCH = 4;
/** A length of 15 in a token goes on in the bytes that follow: each adds its value, one below 255 is the last. */
const GOES_ON = 15;

/**
 * Expands one block of the LZ4 block format (lz4_Block_format.md of the LZ4 project): sequences of a token, literals, and a match that
 * copies from what is already there. RangeError for anything else than exactly `plainLength` bytes.
 *
 * For machines that the native codec is not built for: an archive must open everywhere. Some 500 MB/s.
 */
export const expandLz4Block = (block: Uint8Array, plainLength: number): Uint8Array => {
  const out = Buffer.allocUnsafeSlow(plainLength);
  const end = block.length;
  let at = 0;
  let filled = 0;
  const lengthFrom = (nibble: number): number => {
    let length = nibble;
    if (nibble !== GOES_ON) return length;
    for (;;) {
      if (at >= end || length > plainLength) throw malformed();
      const more = block[at++] as number;
      length += more;
      if (more !== 255) return length;
    }
  };

  while (at < end) {
    const token = block[at++] as number;
    const literals = lengthFrom(token >>> 4);
    if (literals > end - at || literals > plainLength - filled) throw malformed();
    out.set(block.subarray(at, at + literals), filled);
    at += literals;
    filled += literals;
    // The last sequence is literals only.
    if (at === end) break;

    if (end - at < 2) throw malformed();
    const distance = (block[at] as number) | ((block[at + 1] as number) << 8);
    at += 2;
    const length = lengthFrom(token & 15) + SHORTEST_MATCH;
    if (distance === 0 || distance > filled || length > plainLength - filled) throw malformed();
    // A match may reach into its own copy, which then repeats; only one that does not can be copied at once.
    const from = filled - distance;
    if (length <= distance) out.copyWithin(filled, from, from + length);
    else for (let i = 0; i < length; i++) out[filled + i] = out[from + i] as number;
    filled += length;
  }
  if (filled !== plainLength) throw malformed();
  return out;
};

const malformed = (): RangeError => new RangeError('The bytes are no LZ4 block of that length.');
