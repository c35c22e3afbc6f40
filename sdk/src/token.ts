import type { ClientOptions } from './options.js';

/** The token that goes with every request: one for all calls at the same time, asked for anew when the service refuses it. */
export interface TokenSource {
  get(): Promise<string>;
  /** Asks once more after the service refused `refused`; calls that were refused together share the answer. @returns whether there is another now */
  renew(refused: string): Promise<boolean>;
}

/** Built here, and not by fetch, whose error for an illegal header quotes its value. */
const checked = (value: string): string => {
  if (typeof value !== 'string' || !/^[\x21-\x7e]+$/.test(value)) throw new TypeError('token: must be a non-empty text of printable ASCII characters, without spaces.');
  return value;
};

export const createTokenSource = (token: ClientOptions['token'], onRenewed: () => void): TokenSource => {
  if (typeof token === 'string') return { get: async () => checked(token), renew: () => Promise.resolve(false) };
  let held: Promise<string> | undefined;
  const ask = (): Promise<string> => {
    const asked = (async () => checked(await token()))();
    held = asked;
    // A function that failed is asked again by the next call.
    asked.catch(() => {
      if (held === asked) held = undefined;
    });
    return asked;
  };
  const get = (): Promise<string> => held ?? ask();
  return {
    get,
    renew: async (refused) => {
      const known = get();
      if ((await known) !== refused) return true;
      if (held === known) {
        onRenewed();
        return (await ask()) !== refused;
      }
      return (await get()) !== refused;
    },
  };
};
