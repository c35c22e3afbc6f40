import type { UserInputError } from './errors.js';

/** What a `try…` call gives: its value, or why the service refused the input. Everything else is thrown as ever. */
export type Outcome<Value> =
  | { readonly ok: true; readonly value: Value }
  | { readonly ok: false; readonly error: UserInputError };

/** Each of the mutations once more under a name with `try`, giving user errors back instead of throwing them. */
export type Tries<Mutations> = {
  [Name in keyof Mutations & string as `try${Capitalize<Name>}`]: Mutations[Name] extends (...args: infer Args) => Promise<infer Value>
    ? (...args: Args) => Promise<Outcome<Value>>
    : never;
};
