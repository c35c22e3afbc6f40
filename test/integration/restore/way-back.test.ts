import { createServer, type AddressInfo } from 'node:net';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { neverLinked } from '../../../server/engine/restore.js';
import { type LinkPlace } from '../../../server/engine/target/check.js';
import { digest } from '../../kit/digest.js';
import { freePort } from '../../kit/processes.js';
import { startRedis, type RedisServer, type RedisServerOptions } from '../../kit/redis.js';
import { readPem, tlsFiles, type TlsFiles } from '../../kit/redis-tls.js';
import { waitFor } from '../../kit/wait.js';
import { infoOf, inspect, restoreInto, sourceOf, takeRdb, takesWrites, type Rdb } from './harness.js';

describe('the way back from a target to us', () => {
  let rdb: Rdb;
  let wanted: string;
  const servers: RedisServer[] = [];
  const start = async (options: RedisServerOptions = {}): Promise<{ target: RedisServer; old: string }> => {
    const target = await startRedis(options);
    servers.push(target);
    await target.cli('MSET', 'a', '1', 'b', '2');
    return { target, old: await digest(target) };
  };
  const expectUntouched = async (target: RedisServer, old: string): Promise<void> => {
    expect(await digest(target)).toBe(old);
    expect((await infoOf(target))['role']).toBe('master');
    expect(await takesWrites(target)).toBe(true);
  };

  beforeAll(async () => {
    const { target: source } = await start();
    await source.cli('DEBUG', 'POPULATE', '2000', 'key', '200');
    rdb = await takeRdb(source);
    wanted = await digest(source);
  });
  afterAll(async () => {
    await Promise.all(servers.map((server) => server.stop()));
  });

  it('a target that dials from another address than it is reached at is a stranger, unless that lies in a range that is allowed', async () => {
    const { target, old } = await start({ config: { 'bind-source-addr': '127.0.0.5' } });
    const { failure, notices } = await restoreInto(target, sourceOf(rdb), { times: { linkMs: 5_000 }, plan: { link: { peerRanges: ['127.0.0.8/29', '::/0'] } } });
    expect(failure).toMatchObject({ code: 'TARGET_UNREACHABLE_BACK', report: { dataNow: 'OLD', promoted: true, bytesSent: 0n, notices: [expect.stringMatching(/^\d+ connections to the restore listener were refused\.$/)] } });
    expect(notices).toContain('LINK_PEER_REFUSED');
    await expectUntouched(target, old);

    const { failure: none } = await restoreInto(target, sourceOf(rdb), { plan: { link: { peerRanges: ['127.0.0.4/30'] } } });
    expect(none).toBeUndefined();
    expect(await digest(target)).toBe(wanted);
  });

  it('a target that cannot dial us keeps its data; the caller can tell, and go another way', async () => {
    const { target, old } = await start();
    const { failure, notices, records } = await restoreInto(target, sourceOf(rdb), { times: { linkMs: 300 }, plan: { link: { advertisedHost: '127.0.0.9' } } });
    expect(failure).toMatchObject({ code: 'TARGET_UNREACHABLE_BACK', retryable: true, report: { dataNow: 'OLD', promoted: true, bytesSent: 0n, keysAfter: null } });
    expect(failure?.message).toContain('127.0.0.9');
    expect(neverLinked(failure)).toBe(true);
    expect(notices).toContain('TARGET_UNREACHABLE_BACK');
    expect(records.map(({ committed }) => committed)).toEqual([false]);
    await expectUntouched(target, old);

    // What has got bytes, or is no such failure, goes no other way.
    const broken = await restoreInto(target, sourceOf(rdb, { before: { byte: rdb.bytes.length / 2, act: () => { throw new Error('gone'); } } }));
    expect(broken.failure).toMatchObject({ report: { dataNow: 'OLD', promoted: true } });
    expect(neverLinked(broken.failure)).toBe(false);
  });

  it('takes the only port there is for itself, and says what is taken when there is none', async () => {
    const { target, old } = await start();
    const port = await freePort();
    const link: LinkPlace = { ports: { from: port, to: port } };
    const taken = createServer();
    await new Promise<void>((done) => taken.listen(port, '127.0.0.1', done));
    expect((taken.address() as AddressInfo).port).toBe(port);
    expect((await inspect(target, rdb, undefined, link)).blockers).toMatchObject([{ name: 'CANNOT_LISTEN_BACK', code: 'TARGET_UNREACHABLE_BACK', message: expect.stringContaining(String(port)) as string }]);
    const { failure, records } = await restoreInto(target, sourceOf(rdb), { plan: { link } });
    expect(failure).toMatchObject({ code: 'TARGET_UNREACHABLE_BACK', details: { blockers: 'CANNOT_LISTEN_BACK' } });
    expect([neverLinked(failure), records]).toEqual([true, []]);
    await expectUntouched(target, old);
    await new Promise((done) => taken.close(done));

    const done = await restoreInto(target, sourceOf(rdb), { plan: { link } });
    expect(done.failure).toBeUndefined();
    expect(done.records[0]?.listenerPort).toBe(port);
    expect(await digest(target)).toBe(wanted);
  });

  describe('of a target that replicates over TLS', () => {
    let tls: TlsFiles;
    let link: LinkPlace;
    const startSecured = (): Promise<{ target: RedisServer; old: string }> => start({ tls: true, config: { 'tls-replication': 'yes' } });
    beforeAll(async () => {
      tls = await tlsFiles();
      link = { tls: () => Promise.resolve({ cert: readPem(tls.clientCertFile), key: readPem(tls.clientKeyFile), ca: readPem(tls.caFile) }) };
    });

    it('is none without a certificate of ours', async () => {
      const { target, old } = await startSecured();
      expect((await inspect(target, rdb)).blockers.map(({ name }) => name)).toEqual(['TLS_REPLICATION']);
      const { failure, records } = await restoreInto(target, sourceOf(rdb));
      expect(failure).toMatchObject({ code: 'TARGET_BLOCKED', details: { blockers: 'TLS_REPLICATION' } });
      expect(records).toEqual([]);
      await expectUntouched(target, old);
      expect((await inspect(target, rdb, undefined, link)).blockers).toEqual([]);
    });

    it('lets the target in by its certificate and its replication id, and nobody else by either', async () => {
      const { target } = await startSecured();
      const replid = (await infoOf(target))['master_replid'] ?? '';
      const id = `PING\r\nPSYNC ${replid} 1\r\n`;
      const ours = { cert: readPem(tls.clientCertFile), key: readPem(tls.clientKeyFile), ca: readPem(tls.caFile) };
      const received: string[] = [];
      const strangers = (port: number): { ended: () => boolean }[] => [
        { ...ours, say: `PING\r\nPSYNC ${'0'.repeat(40)} 1\r\n` },
        { ca: ours.ca, say: id },
        { ca: ours.ca, cert: readPem(tls.otherCaFile), key: readPem(tls.otherCaKeyFile), say: id },
      ].map(({ say, ...options }: ConnectionOptions & { say: string }) => {
        let ended = false;
        const socket = connectTls({ host: '127.0.0.1', port, ...options }, () => socket.write(say));
        socket.on('error', () => undefined).on('data', (chunk: Buffer) => received.push(chunk.toString('latin1'))).on('close', () => { ended = true; });
        return { ended: () => ended };
      });
      let port = 0;
      const knock = async (): Promise<void> => {
        const all = strangers(port);
        await waitFor(() => all.every(({ ended }) => ended()));
      };
      const { failure, notices, report } = await restoreInto(target, sourceOf(rdb, { before: { byte: rdb.bytes.length / 2, act: knock } }), {
        plan: { link },
        deps: { recorder: { beforeReplicaOf: (record) => { port = record.listenerPort; return knock(); }, pointOfNoReturn: knock } },
      });
      expect(failure).toBeUndefined();
      expect(report).toMatchObject({ dataNow: 'NEW', promoted: true });
      expect(await digest(target)).toBe(wanted);
      expect(received).toEqual([]);
      expect(notices.filter((code) => code === 'LINK_PEER_REFUSED').length).toBeGreaterThanOrEqual(3);
      expect(target.log()).not.toContain('Unencrypted');
    });

    it.each([
      { who: 'the target does not accept our certificate', place: (): LinkPlace => ({ tls: () => Promise.resolve({ cert: readPem(tls.otherCaFile), key: readPem(tls.otherCaKeyFile) }) }) },
      { who: 'we do not accept the target\'s certificate', place: (): LinkPlace => ({ tls: () => Promise.resolve({ cert: readPem(tls.clientCertFile), key: readPem(tls.clientKeyFile), ca: readPem(tls.otherCaFile) }) }) },
    ])('is none when $who', async ({ place }) => {
      const { target, old } = await startSecured();
      const { failure } = await restoreInto(target, sourceOf(rdb), { times: { linkMs: 1_500 }, plan: { link: place() } });
      expect(failure).toMatchObject({ code: 'TARGET_UNREACHABLE_BACK', hint: expect.stringContaining('REPLICATION_TLS_CERT') as string, report: { dataNow: 'OLD', promoted: true, bytesSent: 0n } });
      expect(neverLinked(failure)).toBe(true);
      await expectUntouched(target, old);
    });
  });
});
