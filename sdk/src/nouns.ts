import { abortedError, isSnapbackError, SnapbackError, type UserInputError } from './errors.js';
import type { List } from './list.js';
import type { Outcome } from './outcome.js';

/*
 * A client names all its calls at once, but a bundle should hold only what is used. So the nouns are tables of names here, and what is
 * behind them is loaded with the first call: a call or mutation can wait for it before it begins, a list or stream before its first item.
 */

/** What a noun's own module gives; the `try…` twins are made here. */
export type Loaded<Noun> = { [Name in keyof Noun as Name extends `try${string}` ? never : Name]: Noun[Name] };

type ShapeOf<Noun, Name extends keyof Noun & string> = Noun[Name] extends (...args: never[]) => infer Result
  ? Name extends 'wait' ? Name
  : Result extends Promise<unknown>
    ? `try${Capitalize<Name>}` extends keyof Noun ? 'mutation' : 'call'
    : Result extends AsyncIterator<unknown> ? 'stream' : 'list'
  : never;

/** How each call of a noun gives its result; the compiler refuses a table that lacks a call or says another shape. */
export type Shapes<Noun> = { readonly [Name in keyof Loaded<Noun> & string]: ShapeOf<Noun, Name & keyof Noun & string> };

type Call = (...args: unknown[]) => unknown;

/** Loads once; what could not be loaded is tried anew by the next call. */
export const once = <T>(load: () => Promise<T>): (() => Promise<T>) => {
  let loaded: Promise<T> | undefined;
  return () => {
    loaded ??= load().catch((cause: unknown) => {
      loaded = undefined;
      throw isSnapbackError(cause) ? cause : new SnapbackError('network', 'NOT_LOADED', 'A part of the SDK could not be loaded.', { cause, retryable: true });
    });
    return loaded;
  };
};

/** A list whose code comes with the first reading. */
export const lazyList = <Item>(open: () => Promise<List<Item>>): List<Item> => ({
  async *[Symbol.asyncIterator]() {
    yield* await open();
  },
  async *pages() {
    yield* (await open()).pages();
  },
  first: async () => (await open()).first(),
  toArray: async (bound) => (await open()).toArray(bound),
});

/** How often the client has been closed: what was on its way meanwhile has nothing open yet that `close` could end, and must not begin after it. */
export type Closings = () => number;

const loadedBefore = async <T>(closings: Closings, what: string, load: () => Promise<T>): Promise<T> => {
  const before = closings();
  const loaded = await load();
  if (closings() !== before) throw abortedError(what);
  return loaded;
};

/** An iterator whose code comes with the first `next()`. `return()` also ends a `next()` that is waiting. */
export const lazyStream = <Item>(what: string, closings: Closings, open: () => Promise<AsyncIterator<Item>>): AsyncIterableIterator<Item> => {
  let inner: Promise<AsyncIterator<Item>> | undefined;
  let closed = false;
  const end: IteratorReturnResult<undefined> = { done: true, value: undefined };
  const stream: AsyncIterableIterator<Item> = {
    [Symbol.asyncIterator]: () => stream,
    next: async () => {
      if (closed) return end;
      let iterator: AsyncIterator<Item>;
      try {
        iterator = await loadedBefore(closings, what, () => (inner ??= open()));
      } catch (error) {
        if (closed as boolean) return end;
        closed = true;
        throw error;
      }
      return closed ? end : iterator.next();
    },
    return: async () => {
      closed = true;
      await (await inner?.catch(() => undefined))?.return?.();
      return end;
    },
  };
  return stream;
};

const attempted = async <Value>(call: Promise<Value>): Promise<Outcome<Value>> => {
  try {
    return { ok: true, value: await call };
  } catch (error) {
    if (isSnapbackError(error) && error.kind === 'user_input') return { ok: false, error: error as UserInputError };
    throw error;
  }
};

const twin = (name: string): string => `try${name.charAt(0).toUpperCase()}${name.slice(1)}`;

/** A noun of the client, from the names of its calls. */
export const lazyNoun = <Noun extends object>(closings: Closings, load: () => Promise<Loaded<Noun>>, shapes: Shapes<Noun>): Noun => {
  const noun = once(load) as () => Promise<Record<string, Call>>;
  const calls: Record<string, Call> = {};
  for (const [name, shape] of Object.entries<string>(shapes)) {
    const call = async (...args: unknown[]): Promise<never> => (await noun())[name]?.(...args) as never;
    if (shape === 'list') calls[name] = (...args) => lazyList(() => call(...args));
    else if (shape === 'stream') calls[name] = (...args) => lazyStream(name, closings, () => call(...args));
    else if (shape === 'wait') calls[name] = async (...args) => (await loadedBefore(closings, name, noun))[name]?.(...args);
    else calls[name] = call;
    if (shape === 'mutation') calls[twin(name)] = (...args) => attempted(call(...args));
  }
  return calls as Noun;
};
