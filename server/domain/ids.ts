/** Ids are opaque to callers and typed by their prefix. */
export const ID_PREFIXES = {
  project: 'prj', instance: 'ins', policy: 'pol', slot: 'slt', backup: 'bak', restorePlan: 'rpl', restore: 'rst', job: 'job', apiKey: 'key', notice: 'ntc', auditEvent: 'aud', downloadLink: 'lnk',
} as const;
export type IdKind = keyof typeof ID_PREFIXES;

const BODY = /^[0-9a-hjkmnp-tv-z]{26}$/;

/** Whether `value` has the shape of an id of `kind`. Says nothing about whether the object exists. */
export const isId = (kind: IdKind, value: string): boolean => {
  const prefix = `${ID_PREFIXES[kind]}_`;
  return value.startsWith(prefix) && BODY.test(value.slice(prefix.length));
};

/** The kind an id claims to be, or undefined when it is none of ours. */
export const idKind = (value: string): IdKind | undefined =>
  (Object.keys(ID_PREFIXES) as IdKind[]).find((kind) => isId(kind, value));

/** Crockford base32, lower case. */
const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';

/**
 * Makes an id: 48 bits of milliseconds, then 80 random bits (the ULID layout), so that new rows land at the end of an index.
 * @param random at least 10 random bytes
 */
export const makeId = (kind: IdKind, now: Date, random: Uint8Array): string => {
  let time = now.getTime();
  let head = '';
  for (let i = 0; i < 10; i += 1) {
    head = `${ALPHABET[time % 32] ?? ''}${head}`;
    time = Math.floor(time / 32);
  }
  let tail = '';
  let bits = 0;
  let held = 0;
  for (const byte of random.subarray(0, 10)) {
    held = (held << 8) | byte;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      tail += ALPHABET[(held >> bits) & 31] ?? '';
    }
    held &= (1 << bits) - 1;
  }
  return `${ID_PREFIXES[kind]}_${head}${tail}`;
};
