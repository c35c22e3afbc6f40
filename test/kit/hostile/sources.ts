import { randomBytes } from 'node:crypto';
import { type FakeLink, type FakeServer, type FakeServerOptions } from '../fake-server.js';
import { lengthBytes, RdbBuilder, stringBytes } from '../rdb-builder.js';
import { sleep } from '../wait.js';

export type Psync = NonNullable<FakeServerOptions['psync']>;

export const fullResync = (server: FakeServer, offset = 42): string => `+FULLRESYNC ${server.replicationId} ${String(offset)}\r\n`;

/** A sound file of about `bytes` with string keys that do not compress. */
export const soundRdb = (bytes = 2_000): Buffer => {
  const rdb = new RdbBuilder(10).aux('redis-ver', '7.0.15').select(0);
  for (let made = 0, key = 0; made < bytes; made += 500, key += 1) rdb.string(`key ${String(key)}`, randomBytes(480));
  return rdb.build();
};

export const mark = (): Buffer => Buffer.from(randomBytes(20).toString('hex'));

/** Sends in pieces of the given size, each in a write (and mostly a packet) of its own. */
export const sendInPieces = async (link: FakeLink, bytes: Uint8Array, size: number): Promise<void> => {
  for (let at = 0; at < bytes.length; at += size) {
    if (!(await link.send(bytes.subarray(at, at + size)))) return;
    await new Promise((next) => setImmediate(next));
  }
};

/** As a server without `capa eof` sends it. */
export const withLength = (rdb: Uint8Array, options: { announced?: number | bigint | string; behind?: Uint8Array | string } = {}): Psync => async (link, server) => {
  await link.send(Buffer.concat([
    Buffer.from(`${fullResync(server)}$${String(options.announced ?? rdb.length)}\r\n`), rdb, Buffer.from(options.behind ?? ''),
  ]));
};

/** As a diskless server sends it, and closes. */
export const withMark = (rdb: Uint8Array, options: { end?: Uint8Array; mark?: Buffer } = {}): Psync => async (link, server) => {
  const own = options.mark ?? mark();
  await link.send(Buffer.concat([Buffer.from(`\n${fullResync(server)}\n\n$EOF:${own.toString()}\r\n`), rdb, options.end ?? own]));
  link.end();
};

/** A mark that never comes: sound keys without end. */
export const endless: Psync = async (link, server) => {
  await link.send(`${fullResync(server)}$EOF:${mark().toString()}\r\n`);
  const head = new RdbBuilder(10).select(0).build('NONE');
  await link.send(head.subarray(0, head.length - 1));
  for (let key = 0; ; key += 1) {
    const record = new RdbBuilder(10).string(`key ${String(key)}`, randomBytes(16_000)).build('NONE');
    if (!(await link.send(record.subarray(9, record.length - 1)))) return;
  }
};

/** A set of 2^32 elements, each as short as can be, as long as anybody takes them. */
export const endlessElements: Psync = async (link, server) => {
  await link.send(`${fullResync(server)}$EOF:${mark().toString()}\r\n`);
  const head = new RdbBuilder(10).select(0).raw([2], stringBytes('key'), lengthBytes(2n ** 32n)).build('NONE');
  await link.send(head.subarray(0, head.length - 1));
  const elements = Buffer.alloc(100_000);
  while (await link.send(elements));
};

/** Keep-alives before or after +FULLRESYNC, and nothing else. */
export const newlinesForEver = (accepted: boolean): Psync => async (link, server) => {
  if (accepted) await link.send(fullResync(server));
  while (await link.send('\n')) await sleep(20);
};

/** A sound beginning, then a byte at a time. */
export const drip = (everyMs: number): Psync => async (link, server) => {
  const rdb = soundRdb(100_000);
  await link.send(`${fullResync(server)}$${String(rdb.length)}\r\n`);
  for (const byte of rdb) {
    if (!(await link.send(Buffer.from([byte])))) return;
    await sleep(everyMs);
  }
};

/** Accepts the payload and goes silent at `bytes` of it, the connection open. */
export const silentAfter = (bytes: number): Psync => async (link, server) => {
  const rdb = soundRdb(100_000);
  await link.send(Buffer.concat([Buffer.from(`${fullResync(server)}$${String(rdb.length)}\r\n`), rdb.subarray(0, bytes)]));
};
