import { afterAll, beforeAll, describe, it } from 'vitest';
import { Client } from 'pg';
import { createEventHub, type EventHub } from '../../../server/events/hub.js';
import { createTestDatabase, type TestDatabase } from '../../kit/postgres.js';
import { startProxy, type Proxy } from '../../kit/proxy.js';
import { waitFor } from '../../kit/wait.js';

describe('the connection that hears of events', () => {
  let database: TestDatabase;
  let proxy: Proxy;
  let hub: EventHub;
  let woken = 0;
  const notify = async (): Promise<void> => {
    const client = new Client({ connectionString: database.url });
    await client.connect();
    await client.query(`NOTIFY heard, 'topic'`);
    await client.end();
  };

  beforeAll(async () => {
    database = await createTestDatabase({ empty: true });
    proxy = await startProxy(Number(new URL(database.url).port));
    const url = new URL(database.url);
    url.port = String(proxy.port);
    const quiet = (): void => undefined;
    hub = createEventHub({ url: url.href, channel: 'heard', log: { debug: quiet, info: quiet, warn: quiet, error: quiet }, askEveryMs: 300, answerMs: 200 });
    await hub.start();
    hub.onEvent('topic', () => {
      woken += 1;
    });
  });
  afterAll(async () => {
    await hub?.stop();
    await proxy?.stop();
    await database?.drop();
  });

  it('whose other end has vanished without a word is given up and made anew, and everybody is woken', async () => {
    await notify();
    await waitFor(() => woken >= 1);
    const heard = woken;
    proxy.silence();
    await waitFor(() => !hub.listening, { message: 'the silence to be noticed' });
    proxy.mend();
    await waitFor(() => hub.listening && woken > heard, { message: 'it to listen again' });
    const before = woken;
    await notify();
    await waitFor(() => woken > before);
    await waitFor(() => proxy.open === 2, { message: 'one connection and no more' });
  });
});
