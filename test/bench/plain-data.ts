import { type Command, type FillUnit } from '../kit/fill.js';

const KEYS_A_UNIT = 100;
const FIELDS = 5_000;

/** A counter or a flag a key: a load is mostly making keys. 100 MiB are some four million. */
export const SMALL_KEYS: FillUnit = {
  rdbBytes: KEYS_A_UNIT * 27,
  commands: (key, random) => {
    const values = random(KEYS_A_UNIT * 5).toString('hex');
    return Array.from({ length: KEYS_A_UNIT }, (_, at): Command => ['SET', `${key}:${String(at)}`, values.slice(at * 10, at * 10 + 10)]);
  },
};

/** Hashes of so many fields that they are tables in the server, not packed: a load is mostly making fields. */
export const LARGE_HASHES: FillUnit = {
  rdbBytes: FIELDS * 33,
  commands: (key, random) => {
    const values = random(FIELDS * 10).toString('hex');
    return [['HMSET', key, ...Array.from({ length: FIELDS }, (_, at) => [`field:${String(at)}`, values.slice(at * 20, at * 20 + 20)]).flat()]];
  },
};
