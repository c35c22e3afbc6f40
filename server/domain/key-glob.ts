const STAR = 0x2a, ANY = 0x3f, OPEN = 0x5b, CLOSE = 0x5d, CARET = 0x5e, DASH = 0x2d, ESCAPE = 0x5c;

/** Bytes that one place of a pattern takes, as 256 flags. */
type Place = Uint8Array;

interface Pattern {
  places: Place[];
  /** `[n]`: a `*` stands before place n; the last one: at the end. */
  stars: boolean[];
}

/** Whether `bytes[from, to)`, all of them by default, fits. */
export type GlobTest = (bytes: Uint8Array, from?: number, to?: number) => boolean;

/**
 * Compiles a glob as `KEYS` of Redis and Valkey takes it (util.c, stringmatchlen): `*`, `?`, `[abc]`, `[^a]`, `[a-z]` and `\`, on bytes, for the whole
 * name. What they do with odd patterns holds, too: a class that is not closed ends with the pattern, a `\` at the end stands for itself, the ends of a
 * range may come in either order. Two things differ: bytes from 0x80 on are greater than the others in ranges (there it depends on the processor), and
 * an empty name matches any number of stars.
 *
 * All places are tried at once, one bit each, so that no pattern costs more than (its length / 32) steps per byte of the name.
 */
export const compileGlob = (pattern: Uint8Array): GlobTest => {
  const parsed = parse(pattern);
  return parsed.places.length < 32 ? matcherOfOneWord(parsed) : matcherOfWords(parsed);
};

/** Bit n of a state: what has passed may be what the first n places stand for. */
const tables = ({ places, stars }: Pattern) => {
  const words = (places.length >>> 5) + 1;
  /** `[byte * words + word]`: the bits that a byte leads to. */
  const leading = new Int32Array(256 * words);
  /** The bits that stay set, whatever byte comes. */
  const staying = new Int32Array(words);
  const set = (table: Int32Array, from: number, bit: number): void => {
    table[from + (bit >>> 5)] = (table[from + (bit >>> 5)] as number) | (1 << (bit & 31));
  };
  for (const [place, takes] of places.entries()) {
    for (let byte = 0; byte < 256; byte++) if (takes[byte] === 1) set(leading, byte * words, place + 1);
  }
  for (const [place, star] of stars.entries()) if (star) set(staying, 0, place);
  return { words, leading, staying, openEnd: stars[places.length] === true };
};

const matcherOfOneWord = (pattern: Pattern): GlobTest => {
  const { leading, staying: [staying = 0], openEnd } = tables(pattern);
  const last = 1 << pattern.places.length;
  const enough = openEnd ? last : 0;
  return (name, from = 0, to = name.length) => {
    let state = 1;
    for (let at = from; at < to; at++) {
      if ((state & enough) !== 0) return true;
      state = ((state << 1) & (leading[name[at] as number] as number)) | (state & staying);
      if (state === 0) return false;
    }
    return (state & last) !== 0;
  };
};

const matcherOfWords = (pattern: Pattern): GlobTest => {
  const { words, leading, staying, openEnd } = tables(pattern);
  const last = pattern.places.length;
  const state = new Int32Array(words);
  const ended = (): boolean => ((state[last >>> 5] as number) & (1 << (last & 31))) !== 0;
  return (name, from = 0, to = name.length) => {
    state.fill(0);
    state[0] = 1;
    for (let at = from; at < to; at++) {
      if (openEnd && ended()) return true;
      const row = (name[at] as number) * words;
      let carry = 0;
      let alive = 0;
      for (let word = 0; word < words; word++) {
        const before = state[word] as number;
        const after = (((before << 1) | carry) & (leading[row + word] as number)) | (before & (staying[word] as number));
        carry = before >>> 31;
        state[word] = after;
        alive |= after;
      }
      if (alive === 0) return false;
    }
    return ended();
  };
};

const parse = (pattern: Uint8Array): Pattern => {
  const places: Place[] = [];
  const stars = [false];
  let at = 0;
  const add = (place: Place): void => {
    places.push(place);
    stars.push(false);
  };
  while (at < pattern.length) {
    const byte = pattern[at] as number;
    if (byte === STAR) stars[places.length] = true;
    else if (byte === ANY) add(new Uint8Array(256).fill(1));
    else if (byte === OPEN) {
      const { place, end } = parseClass(pattern, at + 1);
      add(place);
      at = end;
    } else {
      if (byte === ESCAPE && at + 1 < pattern.length) at++;
      add(only(pattern[at] as number));
    }
    at++;
  }
  return { places, stars };
};

const only = (byte: number): Place => {
  const place = new Uint8Array(256);
  place[byte] = 1;
  return place;
};

/** @param start behind the bracket. @returns `end`: where the closing one stands, or the last byte */
const parseClass = (pattern: Uint8Array, start: number): { place: Place; end: number } => {
  const listed = new Uint8Array(256);
  const negated = pattern[start] === CARET;
  let at = negated ? start + 1 : start;
  for (; at < pattern.length && pattern[at] !== CLOSE; at++) {
    const byte = pattern[at] as number;
    const to = pattern[at + 2];
    if (byte === ESCAPE && at + 1 < pattern.length) {
      at++;
      listed[pattern[at] as number] = 1;
    } else if (pattern[at + 1] === DASH && to !== undefined) {
      listed.fill(1, Math.min(byte, to), Math.max(byte, to) + 1);
      at += 2;
    } else listed[byte] = 1;
  }
  return { place: negated ? listed.map((flag) => 1 - flag) : listed, end: at };
};
