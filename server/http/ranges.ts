/*
 * RFC 9110: conditional requests (section 13) and ranges (section 14), for one representation with a strong entity tag.
 */

export interface Validators {
  /** Strong, without its quotes. */
  etag: string;
  modifiedAt: Date;
}

/** Conditions as they stand in the request's headers. */
export interface Conditions {
  ifMatch?: string | undefined;
  ifNoneMatch?: string | undefined;
  ifModifiedSince?: string | undefined;
  ifUnmodifiedSince?: string | undefined;
  ifRange?: string | undefined;
  range?: string | undefined;
}

const TAG = /(W\/)?"([\x21\x23-\x7e\x80-\xff]*)"/g;

/** @param weak whether `W/` tags count too: for If-None-Match, never for If-Match and If-Range */
const lists = (header: string, etag: string, weak: boolean): boolean =>
  header.trim() === '*' || [...header.matchAll(TAG)].some(([, isWeak, tag]) => tag === etag && (weak || isWeak === undefined));

/** Seconds: HTTP dates have no finer part. NaN for what is no date, which compares as false everywhere. */
const seconds = (date: Date | string): number => Math.floor((typeof date === 'string' ? Date.parse(date) : date.getTime()) / 1000);

/** In the order of section 13.2.2; undefined means: go on and answer with content. */
export const evaluateConditions = (conditions: Conditions, { etag, modifiedAt }: Validators): 304 | 412 | undefined => {
  const { ifMatch, ifNoneMatch, ifModifiedSince, ifUnmodifiedSince } = conditions;
  if (ifMatch !== undefined) {
    if (!lists(ifMatch, etag, false)) return 412;
  } else if (ifUnmodifiedSince !== undefined && seconds(modifiedAt) > seconds(ifUnmodifiedSince)) {
    return 412;
  }
  if (ifNoneMatch !== undefined) return lists(ifNoneMatch, etag, true) ? 304 : undefined;
  return ifModifiedSince !== undefined && seconds(modifiedAt) <= seconds(ifModifiedSince) ? 304 : undefined;
};

/** `end` is exclusive. */
export type RangeAnswer = { kind: 'whole' } | { kind: 'part'; start: bigint; end: bigint } | { kind: 'unsatisfiable' };

const WHOLE: RangeAnswer = { kind: 'whole' };
const SET = /^bytes=\s*([\d\-,\s]{1,500})$/i;
const SPEC = /^(\d*)-(\d*)$/;

const oneRange = (spec: string, size: bigint): RangeAnswer | undefined => {
  const match = SPEC.exec(spec.trim());
  const [first, last] = [match?.[1] ?? '', match?.[2] ?? ''];
  if (!match || (first === '' && last === '')) return undefined;
  if (first === '') {
    const length = BigInt(last);
    if (length === 0n || size === 0n) return { kind: 'unsatisfiable' };
    return { kind: 'part', start: length > size ? 0n : size - length, end: size };
  }
  const start = BigInt(first);
  if (last !== '' && BigInt(last) < start) return undefined;
  if (start >= size) return { kind: 'unsatisfiable' };
  return { kind: 'part', start, end: last === '' || BigInt(last) >= size ? size : BigInt(last) + 1n };
};

/**
 * What a GET's Range asks for. A header that is malformed, of another unit, or stale by If-Range is ignored: the whole is sent. So it is for
 * several ranges of which any can be satisfied, which the RFC allows; if none can, the answer is 416.
 */
export const chooseRange = ({ range, ifRange }: Conditions, size: bigint, { etag, modifiedAt }: Validators): RangeAnswer => {
  if (range === undefined) return WHOLE;
  if (ifRange !== undefined) {
    const given = ifRange.trim();
    const current = /^(?:W\/)?"/.test(given) ? given === `"${etag}"` : seconds(given) === seconds(modifiedAt);
    if (!current) return WHOLE;
  }
  const set = SET.exec(range.trim())?.[1];
  const specs = set?.split(',').filter((spec) => spec.trim() !== '') ?? [];
  const answers = specs.map((spec) => oneRange(spec, size));
  const [only] = answers;
  if (only === undefined || answers.includes(undefined)) return WHOLE;
  if (answers.every((answer) => answer?.kind === 'unsatisfiable')) return { kind: 'unsatisfiable' };
  return answers.length === 1 ? only : WHOLE;
};
