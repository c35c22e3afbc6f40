/**
 * What function libraries need of a server that is to load them. A server that cannot load one ends itself over the file (rdbFunctionLoad), and what a
 * library does while it is loaded stands nowhere but in its code.
 * - REDIS: Lua that knows its server as `redis`, as all of Redis and Valkey do.
 * - SERVER: Lua that may know it as `server`, which came with Valkey 8.0.
 * - OTHER: another engine; modules bring them to Valkey.
 */
export const FUNCTION_APIS = ['REDIS', 'SERVER', 'OTHER'] as const;
export type FunctionApi = (typeof FUNCTION_APIS)[number];

/** So much of a library's code is looked at, in bytes. What is longer may have anything in the rest. */
export const MAX_FUNCTION_CODE = 64 * 1024;

const isLua = (code: string): boolean => /^#!lua\s/i.test(code);

/** @param code the library's beginning: all of its `bytes`, or as much as was looked at */
export const functionApiOf = (code: Uint8Array, bytes: number): FunctionApi => {
  const text = Buffer.from(code.buffer, code.byteOffset, code.length).toString('latin1');
  if (!isLua(text)) return 'OTHER';
  return bytes > code.length || /\bserver\b/.test(text) ? 'SERVER' : 'REDIS';
};

/** What a file needs that has libraries of both kinds. */
export const bothOf = (a: FunctionApi | null, b: FunctionApi): FunctionApi => (a !== null && FUNCTION_APIS.indexOf(a) > FUNCTION_APIS.indexOf(b) ? a : b);

const COMMENTS_AND_STRINGS = /--\[(=*)\[[^]*?\]\1\]|--[^\n]*|\[(=*)\[[^]*?\]\2\]|"(?:\\[^]|[^"\\])*"|'(?:\\[^]|[^'\\])*'/g;
const NAMES_SERVER = /(?<![.:\w])server\s*[.[]/;
const HAS_OWN_SERVER = /\blocal\b[^=\n]*\bserver\b|\bfunction\b[^(\n]*\([^)]*\bserver\b/;

/** Whether a server that knows Lua and `redis` only refuses a library for sure. `functionApiOf` says less: that it may. */
export const surelyNeedsMore = (code: string): boolean => {
  if (!isLua(code)) return true;
  const bare = code.replace(COMMENTS_AND_STRINGS, ' ');
  return NAMES_SERVER.test(bare) && !HAS_OWN_SERVER.test(bare);
};
