import { createHmac } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Notice } from '../../../server/domain/notice.js';
import { dialAgents } from '../../../server/engine/dial-agents.js';
import { type Dial } from '../../../server/engine/ports.js';
import { createOutbox, type Outbox, OUTBOX_TIMES, type OutboxTimes, waitAfter } from '../../../server/jobs/outbox.js';
import { forgetOld } from '../../../server/jobs/reconcile.js';
import { ALLOW_EVERYTHING, createDial } from '../../../server/security/dial.js';
import { createWebhook } from '../../../server/security/webhook.js';
import { readPem, tlsFiles } from '../../kit/redis-tls.js';
import { waitFor } from '../../kit/wait.js';
import { type Delivery, HANG, startReceiver, type Receiver } from '../../kit/webhook.js';
import { clock, startRig, type Rig } from '../jobs/rig.js';

const SECRET = 'a secret that nobody may see: 0451';
const QUICK: OutboxTimes = { everyMs: 10, leaseMs: 20_000, firstWaitMs: 40, maxWaitMs: 160, attempts: 4 };

interface NodeOptions {
  url?: string;
  dial?: Dial;
  times?: Partial<OutboxTimes>;
  timeoutMs?: number;
  version?: string;
}

describe('delivery of notices', () => {
  let rig: Rig;
  let receiver: Receiver;
  const outboxes: Outbox[] = [];
  beforeAll(async () => {
    rig = await startRig();
  });
  afterAll(() => rig?.stop());
  beforeEach(async () => {
    receiver = await startReceiver();
    await rig.sql('DELETE FROM notices');
    rig.logged.length = 0;
  });
  afterEach(async () => {
    await Promise.all(outboxes.splice(0).map((outbox) => outbox.stop()));
    await receiver.stop();
    expect(rig.logged.filter((line) => line.includes(SECRET))).toEqual([]);
  });

  /** One more node. */
  const node = ({ url = receiver.url, dial = createDial(ALLOW_EVERYTHING), times = {}, timeoutMs = 20_000, version = '1.2.3' }: NodeOptions = {}): Outbox => {
    const webhook = createWebhook({ url, secret: SECRET, agents: dialAgents(dial, { keepAlive: false }), clock, version, timeoutMs });
    const outbox = createOutbox({ db: rig.db, webhook, log: rig.log, times: { ...QUICK, ...times } });
    outboxes.push(outbox);
    outbox.start();
    return outbox;
  };
  const tell = async (over: Partial<Notice> = {}): Promise<void> => {
    await rig.db.transaction((tx) => tx.notices.append({
      kind: 'RETENTION_STOPPED', projectId: null, instanceId: null, at: new Date(), message: 'The clock jumped: zurück in die Zukunft.', details: { cause: 'CLOCK' }, ...over,
    }));
  };
  const rows = (): Promise<{ id: string; state: string; attempts: number }[]> => rig.sql('SELECT id, state, attempts FROM notices ORDER BY created_at, id');
  const settled = async (state: string): Promise<{ id: string; attempts: number }> => {
    const [row] = await waitFor(async () => {
      const now = await rows();
      return now.length > 0 && now.every((one) => one.state === state) ? now : null;
    }, { message: () => `all notices to be ${state}; logged: ${rig.logged.slice(-5).join('\n')}` });
    return row!;
  };

  it('is one POST of the stored bytes, signed with the time it was sent at', async () => {
    node();
    const before = Math.floor(Date.now() / 1000);
    await tell();
    const { id } = await settled('DELIVERED');
    const [{ headers, body, path }] = receiver.deliveries as [Delivery];
    expect(receiver.deliveries).toHaveLength(1);
    expect(path).toBe('/hooks/backups?team=data');
    const timestamp = String(headers['x-snapback-timestamp']);
    expect(Number(timestamp)).toBeGreaterThanOrEqual(before);
    expect(Number(timestamp)).toBeLessThanOrEqual(Date.now() / 1000);
    expect(headers).toMatchObject({
      'content-type': 'application/json; charset=utf-8', 'user-agent': 'snapback/1.2.3', 'x-snapback-delivery': id, 'x-snapback-kind': 'RETENTION_STOPPED', 'x-snapback-attempt': '1',
      'x-snapback-signature': `v1=${createHmac('sha256', SECRET).update(`${timestamp}.${body}`).digest('hex')}`,
    });
    const [stored] = await rig.sql<{ body: string }>('SELECT body FROM notices');
    expect(body).toBe(stored?.body);
    expect(JSON.parse(body)).toMatchObject({ id, kind: 'RETENTION_STOPPED', message: 'The clock jumped: zurück in die Zukunft.', details: { cause: 'CLOCK' } });
  });

  it('is tried again after an error, a hanging receiver and a broken connection, under the same id, with growing waits', async () => {
    receiver.next(500, HANG, (response) => response.destroy());
    // One more follows where the machine stands still for longer than an attempt may last.
    node({ timeoutMs: 300, times: { attempts: 20 } });
    const startedAt = performance.now();
    await tell();
    const { id, attempts } = await settled('DELIVERED');
    expect(attempts).toBeGreaterThanOrEqual(4);
    const { deliveries } = receiver;
    expect(deliveries.map(({ headers }) => [headers['x-snapback-delivery'], headers['x-snapback-attempt']])).toEqual(Array.from({ length: attempts }, (_, at) => [id, String(at + 1)]));
    expect(new Set(deliveries.map(({ body }) => body)).size).toBe(1);
    // From the beginning on: what arrives may be noticed late, and then the wait behind it looks shorter than it was. With the limit of the attempt that hung.
    const [, second, third, fourth] = deliveries.map(({ at }) => at - startedAt);
    expect(second).toBeGreaterThanOrEqual(36);
    expect(third).toBeGreaterThanOrEqual(36 + 300 + 72 - 5);
    expect(fourth).toBeGreaterThanOrEqual(36 + 300 + 72 + 144 - 5);
    expect(rig.logged.filter((line) => line.includes('sent again'))).toHaveLength(attempts - 1);
    expect(rig.logged.join('\n')).toContain('did not answer within 300 ms');
    expect(rig.logged.join('\n')).not.toContain('team=data');
  });

  it('ends after so many attempts, and the log says so', async () => {
    receiver.behave(503);
    node();
    await tell();
    const { id } = await settled('GIVEN_UP');
    expect(receiver.deliveries).toHaveLength(QUICK.attempts);
    expect(rig.logged.filter((line) => line.includes('given up'))).toEqual([expect.stringMatching(new RegExp(`"noticeId":"${id}".*answered 503`))]);
  });

  it('follows no redirect', async () => {
    const elsewhere = await startReceiver();
    try {
      receiver.behave((response) => void response.writeHead(307, { location: elsewhere.url }).end());
      node({ times: { attempts: 2 } });
      await tell();
      await settled('GIVEN_UP');
      expect(receiver.deliveries).toHaveLength(2);
      expect(elsewhere.connections).toBe(0);
      expect(rig.logged.join('\n')).toContain('redirects are not followed');
    } finally {
      await elsewhere.stop();
    }
  });

  it('takes a status for an answer, and reads no answer without end', async () => {
    let open = 0;
    receiver.behave((response) => {
      open += 1;
      response.once('close', () => (open -= 1));
      response.writeHead(200);
      const more = (): void => void (response.destroyed || response.write(Buffer.alloc(8_192), more));
      more();
    });
    node({ timeoutMs: 5_000 });
    await tell();
    await settled('DELIVERED');
    await waitFor(() => open === 0, { message: 'the connection to be closed' });
    expect(receiver.deliveries).toHaveLength(1);
  });

  it('goes where the connect policy lets it, and nowhere else', async () => {
    node({ dial: createDial({ allows: () => false }), times: { attempts: 1 } });
    await tell();
    await settled('GIVEN_UP');
    expect(receiver.connections).toBe(0);
    expect(rig.logged.join('\n')).toContain('may not be dialled');
  });

  it('goes through TLS, and only to whom the certificate belongs', async () => {
    const files = await tlsFiles();
    const secure = await startReceiver({ tls: { cert: readPem(files.certFile), key: readPem(files.keyFile) } });
    try {
      const stranger = node({ url: secure.url, times: { attempts: 1 } });
      await tell();
      await settled('GIVEN_UP');
      expect(secure.deliveries).toEqual([]);
      await stranger.stop();
      await rig.sql('DELETE FROM notices');
      const dial = createDial(ALLOW_EVERYTHING);
      node({ url: secure.url, dial: ({ tls, ...to }, options) => dial({ ...to, ...(tls ? { tls: { ca: readPem(files.caFile) } } : {}) }, options) });
      await tell();
      await settled('DELIVERED');
      expect(secure.deliveries).toHaveLength(1);
    } finally {
      await secure.stop();
    }
  });

  it('is made once by several nodes, also of what comes while they work', async () => {
    receiver.behave((response) => void setTimeout(() => response.writeHead(200).end('taken'), 20));
    for (const version of ['1', '2', '3']) node({ version, timeoutMs: 10_000 });
    await Promise.all(Array.from({ length: 60 }, (_, index) => tell({ message: `notice ${index}` })));
    await settled('DELIVERED');
    expect((await rows()).map(({ attempts }) => attempts)).toEqual(Array.from({ length: 60 }, () => 1));
    expect(new Set(receiver.deliveries.map(({ headers }) => headers['x-snapback-delivery'])).size).toBe(60);
    expect(receiver.deliveries).toHaveLength(60);
    expect(new Set(receiver.deliveries.map(({ headers }) => headers['user-agent'])).size).toBeGreaterThan(1);
  });

  it('is taken over from a node that died, and a node that only slept changes nothing any more', async () => {
    await tell();
    const [dead] = await rig.db.read.notices.claim(8, 20_000);
    expect(await rig.db.read.notices.claim(8, 20_000)).toEqual([]);
    await rig.sql(`UPDATE notices SET due_at = clock_timestamp() - interval '1 millisecond'`);
    receiver.next(HANG);
    node({ timeoutMs: 1_000, times: { firstWaitMs: 10 } });
    await waitFor(() => receiver.deliveries.length === 1, { message: 'the other node to send it' });
    expect(await rig.db.read.notices.settle(dead!, { state: 'GIVEN_UP' })).toBe(false);
    expect(await rig.db.read.notices.settle(dead!, { state: 'PENDING', waitMs: 0 })).toBe(false);
    const { attempts } = await settled('DELIVERED');
    expect(attempts).toBeGreaterThanOrEqual(3);
    expect(receiver.deliveries.map(({ headers }) => headers['x-snapback-attempt'])).toEqual(Array.from({ length: attempts - 1 }, (_, at) => String(at + 2)));
  });

  it('is due at once for another node when one is stopped', async () => {
    receiver.next(HANG);
    const first = node({ timeoutMs: 20_000 });
    await tell();
    await waitFor(() => receiver.deliveries.length === 1, { message: 'the first attempt' });
    await first.stop();
    expect(rig.logged.filter((line) => line.includes('could not be delivered'))).toEqual([]);
    node({ timeoutMs: 20_000, times: { firstWaitMs: 60_000, maxWaitMs: 60_000 } });
    await settled('DELIVERED');
    expect(receiver.deliveries).toHaveLength(2);
  });

  it('goes on by itself after the database was away', async () => {
    node({ times: { leaseMs: 200 } });
    await rig.cutConnections();
    await waitFor(async () => tell().then(() => true, () => false), { message: 'the notice to be written' });
    await settled('DELIVERED');
  });

  it('is remembered for 30 days', async () => {
    node();
    await Promise.all([tell({ message: 'old' }), tell({ message: 'young' })]);
    await settled('DELIVERED');
    await rig.sql(`UPDATE notices SET created_at = clock_timestamp() - CASE WHEN body LIKE '%old%' THEN interval '30 days 1 second' ELSE interval '29 days' END`);
    await forgetOld({ db: rig.db });
    expect((await rig.sql<{ body: string }>('SELECT body FROM notices')).map(({ body }) => (JSON.parse(body) as { message: string }).message)).toEqual(['young']);
  });
});

describe('the waits between attempts', () => {
  it('double up to an hour, and the attempts take a day', () => {
    expect([1, 2, 3, 9, 10, 32].map((attempt) => waitAfter(attempt, OUTBOX_TIMES, 0))).toEqual([10_000, 20_000, 40_000, 2_560_000, 3_600_000, 3_600_000]);
    expect(waitAfter(1, OUTBOX_TIMES, 1)).toBe(9_000);
    const all = Array.from({ length: OUTBOX_TIMES.attempts - 1 }, (_, index) => waitAfter(index + 1, OUTBOX_TIMES, 0.5)).reduce((sum, wait) => sum + wait, 0);
    expect(all / 3_600_000).toBeGreaterThan(20);
    expect(all / 3_600_000).toBeLessThan(26);
  });
});
