import { type RedisServer } from './redis.js';

/**
 * Every setting of a server by name, to compare it with itself. The order in which CONFIG GET answers says nothing: it is another one
 * while the server has a child that saves (its hash tables grow later then).
 */
export const settingsOf = async (server: RedisServer): Promise<Record<string, string>> => {
  const client = server.client();
  try {
    const words = await client.config('GET', '*') as string[];
    const names = words.filter((_, at) => at % 2 === 0);
    return Object.fromEntries(names.map((name, at) => [name, words[at * 2 + 1] ?? '']));
  } finally {
    client.disconnect();
  }
};
