import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Log } from '../../../server/engine/ports.js';
import { type UndoRecord } from '../../../server/engine/restore.js';
import { digest } from '../../kit/digest.js';
import { startRedis, type RedisServer } from '../../kit/redis.js';
import { waitFor } from '../../kit/wait.js';
import { infoOf, restoreInto, silent, sourceOf, takeRdb, type Rdb } from './harness.js';

interface Stranger {
  /** What it was told, and whether the connection is over. */
  received: string;
  ended: boolean;
  error: string | undefined;
}

/** Everybody here comes from the target's own address, and some know its replication id: what is left is when they come. */
describe('strangers at the listener of a restore', () => {
  let rdb: Rdb;
  let wanted: string;
  const servers: RedisServer[] = [];
  const start = async (): Promise<RedisServer> => {
    const server = await startRedis();
    servers.push(server);
    return server;
  };
  const knock = (port: number, say: string): Stranger => {
    const stranger: Stranger = { received: '', ended: false, error: undefined };
    const socket = connect({ host: '127.0.0.1', port }, () => socket.write(say));
    socket.on('data', (chunk: Buffer) => { stranger.received += chunk.toString('latin1'); })
      .on('error', (error: NodeJS.ErrnoException) => { stranger.error = error.code; }).on('close', () => { stranger.ended = true; });
    return stranger;
  };
  const psync = (id: string): string => `PING\r\nREPLCONF capa eof capa psync2\r\nPSYNC ${id} 1\r\n`;
  const wrong = psync('0'.repeat(40));

  beforeAll(async () => {
    const source = await start();
    await source.cli('DEBUG', 'POPULATE', '3000', 'key', '300');
    rdb = await takeRdb(source);
    wanted = await digest(source);
  });
  afterAll(async () => {
    await Promise.all(servers.map((server) => server.stop()));
  });

  it('before, instead of, beside and after the target: none gets a byte, all are counted, and the restore succeeds', async () => {
    const target = await start();
    await target.cli('SET', 'old', '1');
    const logged: { message: string; fields: Record<string, unknown> | undefined }[] = [];
    const log: Log = { ...silent, warn: (message, fields) => void logged.push({ message, fields }) };
    const seen: Record<'first' | 'second' | 'late', Stranger[]> = { first: [], second: [], late: [] };
    let record: UndoRecord | undefined;
    const both = async (): Promise<Stranger[]> => {
      const pair = [knock(record?.listenerPort ?? 0, psync(record?.replidBefore ?? '')), knock(record?.listenerPort ?? 0, wrong)];
      await waitFor(() => pair.every(({ ended }) => ended));
      return pair;
    };
    const { failure, report, notices } = await restoreInto(target, sourceOf(rdb, { before: { byte: rdb.bytes.length / 2, act: async () => { seen.second = await both(); } } }), {
      deps: {
        log,
        recorder: {
          beforeReplicaOf: async (kept) => {
            record = kept;
            // With the right id, but nobody is awaited yet.
            seen.first = await both();
          },
          pointOfNoReturn: () => Promise.resolve(),
        },
        // Asked before the promotion: the payload is sent and loaded, and the port still held.
        assertOwned: async () => {
          if (record && seen.second.length > 0 && seen.late.length === 0 && (await infoOf(target))['master_link_status'] === 'up') seen.late = await both();
        },
      },
    });
    expect(failure).toBeUndefined();
    expect(await digest(target)).toBe(wanted);
    for (const strangers of Object.values(seen)) {
      expect(strangers.map(({ received }) => received)).toEqual(['', '']);
    }
    expect(notices.filter((code) => code === 'LINK_PEER_REFUSED')).toHaveLength(5);
    expect(report?.notices).toContain('6 connections to the restore listener were refused.');
    expect(logged).toContainEqual({ message: 'connections to a restore listener were refused', fields: { target: `127.0.0.1:${target.port}`, refused: 6 } });
    expect(logged.filter(({ fields }) => fields?.['reason'] === 'NOT_EXPECTED' && fields['peer'] === '127.0.0.1')).toHaveLength(5);
    expect(JSON.stringify(logged)).not.toContain(record?.replidBefore);

    const after = knock(record?.listenerPort ?? 0, psync(record?.replidBefore ?? ''));
    await waitFor(() => after.ended);
    expect(after).toMatchObject({ received: '', error: 'ECONNREFUSED' });
  });

  it('only those with a wrong id come: it fails closed', async () => {
    const target = await start();
    await target.cli('SET', 'old', '1');
    const old = await digest(target);
    const strangers: Stranger[] = [];
    let port = 0;
    let awaited = false;
    const { failure } = await restoreInto(target, sourceOf(rdb), {
      times: { linkMs: 5_000 }, plan: { link: { advertisedHost: '127.0.0.9' } },
      onProgress: (progress) => { awaited ||= progress.kind === 'phase' && progress.phase === 'TRANSFERRING'; },
      deps: {
        recorder: { beforeReplicaOf: (record) => { port = record.listenerPort; return Promise.resolve(); }, pointOfNoReturn: () => Promise.reject(new Error('must not come so far')) },
        // Asked next when the target is awaited already.
        assertOwned: () => {
          if (awaited && strangers.length === 0) strangers.push(knock(port, wrong), knock(port, 'SYNC\r\n'));
          return Promise.resolve();
        },
      },
    });
    expect(failure).toMatchObject({ code: 'PROTOCOL_ERROR', report: { dataNow: 'OLD', promoted: true, bytesSent: 0n, notices: ['2 connections to the restore listener were refused.'] } });
    expect(strangers.map(({ received, ended }) => [received, ended])).toEqual([['+PONG\r\n+OK\r\n', true], ['', true]]);
    expect(await digest(target)).toBe(old);
  });
});
