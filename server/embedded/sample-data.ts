import { type ChainableCommander, type Redis } from 'ioredis';
import { DomainError } from '../domain/errors.js';

type Argument = string | number | Buffer;
type Call = (command: string, ...args: Argument[]) => void;

const HOUR_S = 3_600;
const CITIES = [['Amsterdam', 4.9, 52.37], ['Beijing', 116.4, 39.9], ['Lagos', 3.38, 6.52], ['Lima', -77.04, -12.05], ['Oslo', 10.75, 59.91]] as const;

/** A small shop: some three thousand keys of every type in databases 0 and 1, for a first look at the service. */
export const seedSampleData = async (client: Redis): Promise<void> => {
  const [known] = (await client.call('COMMAND', 'INFO', 'XADD')) as unknown[];
  await fill(client, 0, addShop);
  if (Array.isArray(known) && known.length > 0) await fill(client, 0, addStreams);
  await fill(client, 1, addCache);
  await client.select(0);
};

const fill = async (client: Redis, database: number, add: (call: Call) => void): Promise<void> => {
  await client.select(database);
  const batch: ChainableCommander = client.pipeline();
  add((command, ...args) => {
    batch.call(command, ...args);
  });
  for (const [error] of (await batch.exec()) ?? []) {
    if (error !== null) throw new DomainError('INTERNAL', `The sample server refused its data: ${error.message}`, { cause: error });
  }
};

const addShop = (call: Call): void => {
  for (let i = 1; i <= 800; i += 1) {
    call('HMSET', `user:${String(i)}`, 'name', `User ${String(i)}`, 'email', `user${String(i)}@example.com`, 'visits', (i * 37) % 500);
    call('SET', `session:${String(i)}`, `{"user":${String(i)},"theme":"${i % 2 === 0 ? 'dark' : 'light'}"}`, 'EX', HOUR_S * (24 + (i % 700)));
    if (i % 4 === 0) call('RPUSH', `cart:${String(i)}`, ...Array.from({ length: 1 + (i % 6) }, (_, k) => `product:${String(k * 7 + 1)}`));
    if (i % 8 === 0) call('SADD', `tags:${String(i)}`, 'new', 'sale', `group ${String(i % 13)}`);
  }
  for (let i = 1; i <= 500; i += 1) {
    call('SET', `product:${String(i)}:text`, `Product ${String(i)} is a very good product. `.repeat(1 + (i % 12)));
    call('SET', `product:${String(i)}:stock`, (i * 13) % 97);
  }
  for (const game of ['chess', 'go', 'tag']) {
    call('ZADD', `leaderboard:${game}`, ...Array.from({ length: 300 }, (_, k) => [(k * 7919) % 10_007, `user:${String(k + 1)}`]).flat());
  }
  call('RPUSH', 'queue:mail', ...Array.from({ length: 400 }, (_, k) => `{"to":"user${String(k)}@example.com"}`));
  call('SADD', 'users:active', ...Array.from({ length: 600 }, (_, k) => k + 1));
  call('PFADD', 'visitors:today', ...Array.from({ length: 2_000 }, (_, k) => `visitor ${String(k)}`));
  for (const [name, longitude, latitude] of CITIES) call('GEOADD', 'shops', longitude, latitude, name);
  for (let day = 0; day < 31; day += 3) call('SETBIT', 'open-days', day, 1);
  call('SET', Buffer.from([0xff, 0x00, 0x0d, 0x0a, 0x80]), Buffer.from(Array.from({ length: 256 }, (_, k) => k)));
};

const addStreams = (call: Call): void => {
  for (let i = 1; i <= 500; i += 1) call('XADD', 'orders', `${String(1_700_000_000_000 + i * 1_000)}-0`, 'user', (i % 800) + 1, 'total', (i * 31) % 400);
  call('XGROUP', 'CREATE', 'orders', 'billing', '0');
  call('XREADGROUP', 'GROUP', 'billing', 'worker-1', 'COUNT', 20, 'STREAMS', 'orders', '>');
};

const addCache = (call: Call): void => {
  for (let i = 1; i <= 400; i += 1) call('SET', `page:${String(i)}`, `<h1>Page ${String(i)}</h1>`.repeat(20), 'EX', HOUR_S * (48 + i));
};
