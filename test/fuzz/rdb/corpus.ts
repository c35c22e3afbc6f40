import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { redisVersions } from '../../kit/redis-binary.js';
import { startRedis } from '../../kit/redis.js';
import { seedAllTypes } from '../../kit/seed.js';
import { SAMPLES } from '../../unit/rdb/samples.js';

/**
 * Fills a folder with sound files: what the builder makes of every format, type and opcode, and what each real server at hand saves of every type in
 * each of its encodings. Returns the servers' names and versions.
 */
export const makeCorpus = async (folder: string, versions: readonly (string | undefined)[] = [undefined, ...redisVersions()]): Promise<string[]> => {
  for (const [name, make] of Object.entries(SAMPLES)) writeFileSync(join(folder, `builder ${name}.rdb`), make());
  const servers: string[] = [];
  for (const version of versions) {
    const server = await startRedis(version === undefined ? {} : { version });
    try {
      await seedAllTypes(server, { keysPerType: 2, databases: [0, 3] });
      await server.cli('SAVE');
      servers.push(`${server.engine.toLowerCase()} ${server.version}`);
      copyFileSync(join(server.dir, 'dump.rdb'), join(folder, `server ${version ?? 'at hand'}.rdb`));
    } finally {
      await server.stop();
    }
  }
  return servers;
};
