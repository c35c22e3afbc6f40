import { type Redis } from 'ioredis';
import { valueCommands, type ValueCommandsInput } from '../../server/engine/rdb/commands/value-commands.js';
import { crc64 } from '../../server/engine/rdb/crc64.js';
import { type LossName } from '../../server/engine/rdb/losses.js';
import { type RdbMagic } from '../../server/engine/rdb/summary.js';
import { keyCounts } from './digest.js';
import { hasCommand } from './seed.js';
import { int64 } from './rdb-builder.js';
import { type RedisServer } from './redis.js';

/** A key as DUMP gives it, taken apart. */
export interface DumpedKey {
  database: number;
  key: Buffer;
  rdbType: number;
  magic: RdbMagic;
  value: Buffer;
  /** Exact from 7.0 on. */
  expiresAtMs: number | null;
}

export const dumpAll = async (server: RedisServer): Promise<DumpedKey[]> => {
  const client = server.client();
  const dumped: DumpedKey[] = [];
  try {
    const exact = await hasCommand(client, 'PEXPIRETIME');
    for (const database of Object.keys(await keyCounts(server)).map(Number)) {
      await client.select(database);
      for (const key of await client.keysBuffer('*')) {
        const payload = await client.dumpBuffer(key);
        const at = exact ? await client.pexpiretime(key) : await client.pttl(key);
        dumped.push({
          database, key, rdbType: payload[0] ?? 0, magic: payload.readUInt16LE(payload.length - 10) >= 80 ? 'VALKEY' : 'REDIS',
          value: payload.subarray(1, -10), expiresAtMs: at < 0 ? null : exact ? at : Date.now() + at,
        });
      }
    }
    return dumped;
  } finally {
    client.disconnect();
  }
};

/** What RESTORE takes. */
export const payloadOf = (rdbType: number, value: Uint8Array, version: number): Buffer => {
  const body = Buffer.concat([Buffer.from([rdbType]), value, Buffer.from([version & 255, version >> 8])]);
  return Buffer.concat([body, int64(crc64(body))]);
};

export type CopyOptions = Pick<ValueCommandsInput, 'replace' | 'fieldExpiry' | 'nowMs'>;

/** Makes a key by the commands of the engine; every one of them must succeed, and keep within its bounds. Returns what was lost. */
export const makeByCommands = async (client: Redis, target: Pick<RedisServer, 'engine' | 'version'>, { key, rdbType, magic, value, expiresAtMs }: DumpedKey, options: Partial<CopyOptions> = {}): Promise<Partial<Record<LossName, number>>> => {
  const losses: Partial<Record<LossName, number>> = {};
  const commands = valueCommands({
    key, rdbType, magic, value, target, nowMs: Date.now(), expiresAtMs, onLoss: (name, count) => { losses[name] = count; }, ...options,
  });
  const pipeline = client.pipeline();
  const sent: string[] = [];
  for (const [name, ...args] of commands) {
    pipeline.call(String(name), ...args);
    sent.push(`${String(name)} ${args.slice(0, 8).map((arg) => arg.toString('latin1').slice(0, 60)).join(' ')}`);
  }
  for (const [at, [error]] of ((await pipeline.exec()) ?? []).entries()) {
    if (error) throw new Error(`${target.engine} ${target.version} refused "${sent[at] ?? ''}" (type ${String(rdbType)}): ${error.message}`);
  }
  return losses;
};

/** Makes a key by RESTORE (5.0 and later). */
export const makeByPayload = async (client: Redis, { key, rdbType, value, expiresAtMs }: DumpedKey, version: number): Promise<void> => {
  await client.call('RESTORE', key, String(expiresAtMs ?? 0), payloadOf(rdbType, value, version), 'ABSTTL');
};
