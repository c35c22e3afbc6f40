import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import WebSocket, { WebSocketServer } from 'ws';
import { createCanary } from '../../kit/canary.js';
import { tapSockets } from '../../kit/canary-wire.js';

const SECRET = 'canary/4f+1b "quoted" ümlaut';

describe('the canary of the tests', () => {
  const bytes = Buffer.from(SECRET);
  it.each([
    ['as it is', SECRET], ['in a URL', encodeURIComponent(SECRET)], ['in JSON', JSON.stringify({ secret: SECRET })], ['in hexadecimal', bytes.toString('hex')],
    ['in base64, with more behind', Buffer.concat([bytes, Buffer.from('more')]).toString('base64')], ['in base64url', bytes.toString('base64url')],
  ])('sees a secret %s, and does not say it', (_what, text) => {
    const canary = createCanary();
    const check = canary.enter();
    canary.enter();
    canary.hide(SECRET);
    check('a service', { log: 'nothing', database: 'hidden' });
    const seen = (): void => check('a service', { log: 'nothing', database: `before ${text} behind` });
    expect(seen).toThrow('a service, database: …before');
    expect(seen).toThrow(expect.not.objectContaining({ message: expect.stringContaining(text) as string }) as Error);
    // Told once.
    check('a service', { log: 'nothing' });
    canary.sent('an answer', text);
    expect(() => check('a service', {})).toThrow('an answer');
    canary.sent('an answer', Buffer.from(text));
    expect(() => check('a service', {})).toThrow('an answer');
  });

  it('forgets what it hid with the last service that had it', () => {
    const canary = createCanary();
    const [first, second] = [canary.enter(), canary.enter()];
    canary.hide(SECRET);
    first('one', {});
    expect(() => second('another', { log: SECRET })).toThrow('another, log');
    const third = canary.enter();
    third('a third', { log: SECRET });
  });

  it('knows which settings are secrets, and what in an address is', () => {
    const canary = createCanary();
    const check = canary.enter();
    canary.enter();
    canary.hideSettings({
      MASTER_KEY: `${'ab'.repeat(32)}, ${'cd'.repeat(32)}`, WEBHOOK_SECRET: 'sixteen-letters!', DATABASE_URL: 'postgresql://user:pass%20word-1@db/x', WEBHOOK_URL: 'https://hooks.example.com/T0123456789abcdef?token=of-the-hook', PUBLIC_URL: 'https://public.example.com',
    });
    for (const text of ['ab'.repeat(32), 'cd'.repeat(32), 'sixteen-letters!', 'pass word-1', 'T0123456789abcdef', 'of-the-hook']) expect(() => check('x', { text }), text).toThrow('Secrets were found');
    check('x', { text: 'https://public.example.com hooks.example.com user' });
  });

  it('hears a secret from its second time on: in answers, their heads, pieces, events and frames, but not in downloads', async () => {
    const canary = createCanary();
    const check = canary.enter();
    canary.enter();
    const heard = (): boolean => {
      try {
        check('x', {});
        return false;
      } catch {
        return true;
      }
    };
    const token = 'shown-once-and-never-again';
    const server = createServer((request, response) => {
      const [first, second] = [token.slice(0, 9), token.slice(9)];
      switch (request.url) {
        case '/body': return void response.end(JSON.stringify({ token }));
        case '/head': return void response.writeHead(404, { 'x-token': token }).end();
        // Two packets, one after the other.
        case '/pieces': return void response.writeHead(200, { 'content-length': token.length }).write(first, () => setTimeout(() => response.end(second), 20));
        case '/download': return void response.writeHead(200, { 'content-disposition': 'attachment; filename="x"' }).write(token, () => response.end(token));
        default: return void response.end('nothing');
      }
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const sockets = new WebSocketServer({ server });
    sockets.on('connection', (socket) => socket.send(`frame ${token}`));
    const stop = tapSockets((from) => from === port, (text, seen) => canary.sent('an answer', text, seen));
    const get = async (path: string): Promise<boolean> => {
      await (await fetch(`http://127.0.0.1:${port}${path}`)).text();
      return heard();
    };
    try {
      expect(await get('/body')).toBe(false);
      canary.hide(token);
      // What was shown before it was hidden stays shown, also beside what comes next on that connection.
      expect(await get('/nothing')).toBe(false);
      for (const path of ['/body', '/head', '/pieces']) expect([path, await get(path)]).toEqual([path, true]);
      expect([await get('/download'), await get('/nothing'), await get('/body')]).toEqual([false, false, true]);
      const client = new WebSocket(`ws://127.0.0.1:${port}`);
      await once(client, 'message');
      expect(heard()).toBe(true);
      client.terminate();
    } finally {
      stop();
      sockets.close();
      server.close();
      server.closeAllConnections();
    }
    expect(heard()).toBe(false);
  });
});
