/**
 * Expands one LZF block (the compression of strings inside RDB files). Returns null when the block is not valid or does
 * not expand to exactly `length` bytes; the caller bounds `length`.
 */
export function expandLzf(input: Uint8Array, length: number): Uint8Array | null {
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
