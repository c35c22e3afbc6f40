import { type RedisServer, startRedis, type RedisServerOptions } from './redis.js';
import { waitFor } from './wait.js';

const field = (info: string, name: string): string | undefined => new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1];

/** One field of INFO. */
export const infoField = async (server: RedisServer, name: string): Promise<string | undefined> => field(await server.cli('INFO'), name);

/** Waits until a replica follows its master, has all that it had, and is announced by it. */
export const inStep = async (replica: RedisServer, master: RedisServer): Promise<void> => {
  await waitFor(async () => {
    const [ahead, behind] = [await master.cli('INFO', 'replication'), await replica.cli('INFO', 'replication')];
    return field(behind, 'master_link_status') === 'up' && ahead.includes(`port=${replica.port},state=online`)
      && Number(field(behind, 'slave_repl_offset')) >= Number(field(ahead, 'master_repl_offset'));
  }, { message: 'the replica to be in step' });
};

/** A replica that is in step with its master. With `through` it reaches its master by that port, such as a proxy's. */
export const startReplica = async (master: RedisServer, { through, ...options }: RedisServerOptions & { through?: number } = {}): Promise<RedisServer> => {
  const replica = await startRedis({ password: master.password, ...options, replicaOf: { host: master.host, port: through ?? master.port, password: master.password } });
  await inStep(replica, master);
  return replica;
};

/** How often a server was asked for a full synchronisation. */
export const syncsOf = async (server: RedisServer): Promise<number> => Number(await infoField(server, 'sync_full'));
