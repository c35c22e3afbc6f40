/**
 * Expands one LZF block (the compression of strings inside RDB files). Returns null when the block is not valid or does
 * not expand to exactly `length` bytes; the caller bounds `length`.
 */
export function expandLzf(input: Uint8Array, length: number): Uint8Array | null {
  if (length > LOOKED_AT_FIRST && lengthOf(input) !== length) return null;
  const output = new Uint8Array(length);
  let from = 0;
  let to = 0;
  const next = (): number => input[from++] ?? -1;
  while (from < input.length) {
    const control = next();
    if (control < 32) {
      const run = control + 1;
      if (from + run > input.length || to + run > length) return null;
      output.set(input.subarray(from, from + run), to);
      from += run;
      to += run;
      continue;
    }
    let run = control >>> 5;
    if (run === 7) run += next();
    const back = ((control & 31) << 8) + next() + 1;
    run += 2;
    if (from > input.length || back > to || to + run > length) return null;
    // Source and destination may overlap: byte by byte is the format's meaning.
    for (let end = to + run; to < end; to++) output[to] = output[to - back] ?? 0;
  }
  return to === length ? output : null;
}

/** What the beginning of a block expands to, as far as it goes: at most `most` bytes, fewer where the input ends or is not valid. */
export function expandLzfStart(input: Uint8Array, most: number): Uint8Array {
  const output = new Uint8Array(most);
  let from = 0;
  let to = 0;
  while (from < input.length && to < most) {
    const control = input[from++] as number;
    if (control < 32) {
      const run = Math.min(control + 1, input.length - from, most - to);
      output.set(input.subarray(from, from + run), to);
      from += run;
      to += run;
      continue;
    }
    let run = control >>> 5;
    if (run === 7) run += input[from++] ?? 0;
    const low = input[from++];
    if (low === undefined) break;
    const back = ((control & 31) << 8) + low + 1;
    if (back > to) break;
    for (const end = Math.min(most, to + run + 2); to < end; to++) output[to] = output[to - back] as number;
  }
  return output.subarray(0, to);
}

/** So much is allocated on a declared length alone. */
const LOOKED_AT_FIRST = 1024 * 1024;

/** What a block expands to, from its control bytes alone. Whether it is valid shows only in expanding it. */
function lengthOf(input: Uint8Array): number {
  let length = 0;
  for (let at = 0; at < input.length; ) {
    const control = input[at] as number;
    if (control < 32) {
      length += control + 1;
      at += control + 2;
    } else if (control < 224) {
      length += (control >>> 5) + 2;
      at += 2;
    } else {
      length += (input[at + 1] ?? 0) + 9;
      at += 3;
    }
  }
  return length;
}
