import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Backup, type Instance, type RestorePlan } from '@snapback/sdk';
import { makeTempDir, removeTempDir } from '../kit/processes.js';
import { startRedis, type RedisServer } from '../kit/redis.js';
import { seedAllTypes, type Seeded } from '../kit/seed.js';
import { type TestService } from '../kit/service.js';
import { makeDifferent } from './contents.js';

/** A server of the matrix that is registered with the service. */
export interface Member {
  server: RedisServer;
  instance: Instance;
}

/** One version: a server full of data, and another, with other data, to restore into. */
export interface Pair {
  name: string;
  source: Member & { seeded: Seeded };
  target: Member;
}

/** Starts and registers a server; `started` gets it as soon as it runs, to be stopped whatever happens then. */
export const startMember = async ({ sdk }: TestService, version: string, name: string, started: RedisServer[]): Promise<Member> => {
  const server = await startRedis({ version });
  started.push(server);
  return { server, instance: await sdk.instances.register({ name, host: server.host, port: server.port }) };
};

export const startPair = async (service: TestService, name: string, started: RedisServer[]): Promise<Pair> => {
  const source = await startMember(service, name, `${name} source`, started);
  const target = await startMember(service, name, `${name} target`, started);
  const seeded = await seedAllTypes(source.server, { keysPerType: 3 });
  await makeDifferent(target.server);
  return { name, source: { ...source, seeded }, target };
};

/** Takes one and downloads it. */
export const takeBackup = async ({ sdk }: TestService, { instance }: Member): Promise<{ backup: Backup; file: Buffer }> => {
  const begun = await sdk.backups.create({ instanceId: instance.id, name: `of ${instance.name}` });
  const backup = await sdk.backups.wait(begun);
  const file = Buffer.from(await new Response(await sdk.backups.download(backup.id)).arrayBuffer());
  return { backup, file };
};

/** What the store has of the backup's RDB, read as it lies there. */
export const storedRdb = ({ storeRoot }: TestService, { id }: Backup): Record<string, unknown> => {
  const manifest = JSON.parse(readFileSync(join(storeRoot, 'backups', id, 'manifest'), 'utf8')) as { artifacts: [{ rdb: Record<string, unknown> }] };
  return manifest.artifacts[0].rdb;
};

export const accepting = (plan: RestorePlan): { planId: string; acceptedWarnings: string[] } => ({
  planId: plan.id, acceptedWarnings: plan.warnings.filter(({ mustAccept }) => mustAccept).map(({ name }) => name),
});

/** What a server logs when it is told to follow another, or does; versions word it differently. */
export const FOLLOWS = /REPLICAOF|SLAVE OF|Connecting to MASTER|MASTER <-> REPLICA/i;

/** What a server logs that will not load a file. */
export const REFUSES = /RDB format version|wrong signature|Fatal error loading/i;

/** Starts a server of `version` from `file` as its dump. Gives it to `use`, or the log of one that would not start. */
export const startFrom = async <T>(file: Uint8Array, version: string, use: (server: RedisServer) => Promise<T>): Promise<T | { refused: string }> => {
  const dir = makeTempDir('from-file');
  try {
    writeFileSync(join(dir, 'dump.rdb'), file);
    let server: RedisServer;
    try {
      server = await startRedis({ version, dir });
    } catch (error) {
      return { refused: String(error) };
    }
    try {
      return await use(server);
    } finally {
      await server.stop();
    }
  } finally {
    await removeTempDir(dir);
  }
};
