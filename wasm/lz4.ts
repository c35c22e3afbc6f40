/*
 * The LZ4 block format (lz4_Block_format.md of the LZ4 project) in AssemblyScript: `npm run codegen:wasm` makes
 * server/engine/archive/codec/generated/lz4-wasm.ts of it.
 *
 * One memory of fixed size with room for one plain and one stored block, which every call uses again: nothing is allocated, zeroed or
 * faulted in for a block. Copies go by 8 bytes and may write up to 15 bytes more than they should: what comes next overwrites that, or it
 * lies in the slack behind a block. No vectors: they gain nothing here, and not every processor has them.
 */

/** The largest block of an archive. */
export const MOST_PLAIN: u32 = 1024 * 1024;
/** What bytes that do not compress can become at most. */
export const MOST_STORED: u32 = MOST_PLAIN + MOST_PLAIN / 255 + 16;

const SLACK: u32 = 64;

/** Where six bytes stood last, by their hash. 16 KiB stay in the first cache, a table of twice as many makes 2 % less and costs 15 to 20 % more. */
const TABLE: u32 = 0;
const TABLE_BITS: u32 = 12;
const TABLE_BYTES: u32 = 4 << TABLE_BITS;

/** Where the plain block lies: so that a slot of the table that holds zero is too far away from all of it. */
export const PLAIN: u32 = 64 * 1024;
/** Where the stored block lies; the bytes right before it are the caller's. */
export const STORED: u32 = PLAIN + MOST_PLAIN + 2 * SLACK;

const SHORTEST_MATCH: u32 = 4;
const FARTHEST_MATCH: u32 = 65535;
/** A length of 15 in a token goes on in the bytes that follow: each adds its value, one below 255 is the last. */
const GOES_ON: u32 = 15;
/** The end rules of the format, for decoders that copy more than they should: no match begins in the last 12 bytes, none reaches into the last 5. */
const NO_MATCH_FROM: u32 = 12;
const LAST_LITERALS: u32 = 5;
/** Every so many positions without a match, the search goes on in larger steps; a power of two. */
const SEARCHES_BITS: u32 = 4;
/** Those before the steps grow. */
const CLOSE_SEARCHES: u32 = 1 << SEARCHES_BITS;

/** Of six bytes, the shortest that are looked for: a match of four takes three bytes and the time of a long one. */
// @ts-ignore: a decorator of AssemblyScript
@inline
function slotOf(at: u32): u32 {
  return TABLE + (<u32>(((load<u64>(at) << 16) * 227718039650203) >> (64 - TABLE_BITS)) << 2);
}

// @ts-ignore: a decorator of AssemblyScript
@inline
function isMatch(match: u32, at: u32): bool {
  return match + FARTHEST_MATCH >= at && ((load<u64>(match) ^ load<u64>(at)) << 16) == 0;
}

/** What a length adds to the 15 in its token. Returns where to go on. */
// @ts-ignore: a decorator of AssemblyScript
@inline
function putLength(to: u32, more: u32): u32 {
  while (more >= 255) {
    store<u8>(to++, 255);
    more -= 255;
  }
  store<u8>(to++, <u8>more);
  return to;
}

function putLastLiterals(to: u32, from: u32, end: u32): u32 {
  const length = end - from;
  if (length >= GOES_ON) {
    store<u8>(to, <u8>(GOES_ON << 4));
    to = putLength(to + 1, length - GOES_ON);
  } else {
    store<u8>(to++, <u8>(length << 4));
  }
  memory.copy(to, from, length);
  return to + length;
}

/** Compresses the first `length` bytes (at most MOST_PLAIN) of the plain block; returns the length of the stored one. The same bytes give the same bytes. */
export function compress(length: u32): u32 {
  const end = PLAIN + length;
  /** What is stored already. */
  let anchor = PLAIN;
  let to = STORED;
  if (length <= NO_MATCH_FROM) return putLastLiterals(to, anchor, end) - STORED;

  memory.fill(TABLE, 0, TABLE_BYTES);
  const lastStart = end - NO_MATCH_FROM;
  const matchEnd = end - LAST_LITERALS;
  let at = PLAIN;
  store<u32>(slotOf(at), at);
  at++;
  let slot = slotOf(at);
  while (true) {
    let match: u32 = 0;
    let found = false;
    let searches: u32 = 1 << SEARCHES_BITS;
    if (at + CLOSE_SEARCHES < lastStart) {
      // Most of the time goes here. Every second position is looked up, all of them are put down: a match is found a byte late at most, and its beginning below.
      const until = at + CLOSE_SEARCHES;
      do {
        match = load<u32>(slot);
        store<u32>(slot, at);
        store<u32>(slotOf(at + 1), at + 1);
        slot = slotOf(at + 2);
        if (isMatch(match, at)) {
          found = true;
          break;
        }
        at += 2;
      } while (at < until);
      searches += CLOSE_SEARCHES;
    }
    if (!found) {
      let next = at;
      let step: u32 = searches >> SEARCHES_BITS;
      do {
        at = next;
        next += step;
        step = searches++ >> SEARCHES_BITS;
        if (next > lastStart) return putLastLiterals(to, anchor, end) - STORED;
        match = load<u32>(slot);
        store<u32>(slot, at);
        slot = slotOf(next);
      } while (!isMatch(match, at));
    }
    // A match begins before what was found, by up to 8 bytes, without a branch for each. What lies before the blocks is memory, too.
    const same = <u32>clz(load<u64>(at - 8) ^ load<u64>(match - 8)) >> 3;
    const back = min(same, min(at - anchor, match - PLAIN));
    at -= back;
    match -= back;

    let token = to++;
    let literals = at - anchor;
    let upper: u32;
    if (literals >= GOES_ON) {
      upper = GOES_ON << 4;
      to = putLength(to, literals - GOES_ON);
      const literalsEnd = to + literals;
      do {
        store<u64>(to, load<u64>(anchor));
        store<u64>(to, load<u64>(anchor, 8), 8);
        to += 16;
        anchor += 16;
      } while (to < literalsEnd);
      to = literalsEnd;
    } else {
      upper = literals << 4;
      store<u64>(to, load<u64>(anchor));
      store<u64>(to, load<u64>(anchor, 8), 8);
      to += literals;
    }

    while (true) {
      store<u16>(to, <u16>(at - match));
      to += 2;
      at += SHORTEST_MATCH;
      match += SHORTEST_MATCH;
      const from = at;
      let differs: u64 = 0;
      while (at + 8 <= matchEnd) {
        differs = load<u64>(at) ^ load<u64>(match);
        if (differs != 0) {
          at += <u32>ctz(differs) >> 3;
          break;
        }
        at += 8;
        match += 8;
      }
      if (differs == 0) {
        while (at < matchEnd && load<u8>(at) == load<u8>(match)) {
          at++;
          match++;
        }
      }
      const more = at - from;
      if (more >= GOES_ON) {
        store<u8>(token, <u8>(upper | GOES_ON));
        to = putLength(to, more - GOES_ON);
      } else {
        store<u8>(token, <u8>(upper | more));
      }
      anchor = at;
      if (at >= lastStart) return putLastLiterals(to, anchor, end) - STORED;

      store<u32>(slotOf(at - 2), at - 2);
      slot = slotOf(at);
      match = load<u32>(slot);
      store<u32>(slot, at);
      if (!isMatch(match, at)) break;
      // The next match begins right here, without literals.
      token = to++;
      upper = 0;
    }
    at++;
    slot = slotOf(at);
  }
}

/**
 * Expands the first `storedLength` bytes (at most MOST_STORED) of the stored block. Whether they are one block of exactly `plainLength` bytes
 * (at most MOST_PLAIN); if not, what the plain block holds means nothing. Whatever the bytes are, nothing is written but the plain block
 * and its slack.
 */
export function expand(storedLength: u32, plainLength: u32): bool {
  let at = STORED;
  const end = STORED + storedLength;
  let to = PLAIN;
  const plainEnd = PLAIN + plainLength;
  while (at < end) {
    const token = <u32>load<u8>(at++);
    let literals = token >> 4;
    if (literals == GOES_ON) {
      let more: u32;
      do {
        if (at >= end || literals > plainLength) return false;
        more = <u32>load<u8>(at++);
        literals += more;
      } while (more == 255);
      if (literals > end - at || literals > plainEnd - to) return false;
      for (let i: u32 = 0; i < literals; i += 16) {
        store<u64>(to + i, load<u64>(at + i));
        store<u64>(to + i, load<u64>(at + i, 8), 8);
      }
    } else {
      if (literals > end - at || literals > plainEnd - to) return false;
      store<u64>(to, load<u64>(at));
      store<u64>(to, load<u64>(at, 8), 8);
    }
    at += literals;
    to += literals;
    // The last sequence is literals only.
    if (at == end) return to == plainEnd;

    if (end - at < 2) return false;
    const distance = <u32>load<u16>(at);
    at += 2;
    if (distance == 0 || distance > to - PLAIN) return false;
    let length = token & GOES_ON;
    if (length == GOES_ON) {
      let more: u32;
      do {
        if (at >= end || length > plainLength) return false;
        more = <u32>load<u8>(at++);
        length += more;
      } while (more == 255);
    }
    length += SHORTEST_MATCH;
    if (length > plainEnd - to) return false;
    const copied = to + length;
    let match = to - distance;
    if (distance < 8) {
      // It reaches into its own copy, which repeats. After 8 bytes one by one it also repeats after a multiple of the distance that is no less than 8.
      for (let i: u32 = 0; i < 8; i++) store<u8>(to + i, load<u8>(match + i));
      to += 8;
      match = to - distance * ((7 + distance) / distance);
    }
    while (to < copied) {
      store<u64>(to, load<u64>(match));
      to += 8;
      match += 8;
    }
    to = copied;
  }
  return false;
}
