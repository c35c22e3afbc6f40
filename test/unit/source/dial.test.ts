import { createServer, type AddressInfo, type Server } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { DomainError } from '../../../server/domain/errors.js';
import { createDial, createPermit, createPermittedDial } from '../../../server/security/dial.js';

const listeners: Server[] = [];
afterEach(() => { for (const listener of listeners.splice(0)) listener.close(); });

const listen = async (host: string): Promise<{ port: number; accepted: () => number }> => {
  let accepted = 0;
  const listener = createServer((socket) => {
    accepted += 1;
    socket.on('error', () => undefined).end('hello');
  });
  listeners.push(listener);
  await new Promise<void>((done) => { listener.listen(0, host, done); });
  return { port: (listener.address() as AddressInfo).port, accepted: () => accepted };
};

test.each([['127.0.0.1', '127.0.0.1'], ['::1', '::1'], ['localhost', '127.0.0.1'], ['::ffff:127.0.0.1', '127.0.0.1']])('dials %s at a checked address', async (host, listenAt) => {
  const { port } = await listen(listenAt);
  const asked: string[] = [];
  const socket = await createDial({ allows: (address) => asked.push(address) > 0 })({ host, port });
  expect(asked).toContain(socket.remoteAddress);
  socket.destroy();
});

test('a refused address is TARGET_NOT_ALLOWED, and nothing is sent there', async () => {
  const { port, accepted } = await listen('127.0.0.1');
  const dial = createDial({ allows: (address) => address !== '127.0.0.1' });
  for (const host of ['127.0.0.1', 'localhost', '::ffff:127.0.0.1', '127.1', '2130706433']) {
    await expect(dial({ host, port }), host).rejects.toMatchObject({ code: 'TARGET_NOT_ALLOWED' });
  }
  expect(accepted()).toBe(0);
});

test('an aborted signal ends it with its reason, before and during', async () => {
  const dial = createDial({ allows: () => true });
  await expect(dial({ host: '127.0.0.1', port: 1 }, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'INTERRUPTED' });
  const listener = createServer((socket) => { socket.on('error', () => undefined).resume(); });
  listeners.push(listener);
  await new Promise<void>((done) => { listener.listen(0, '127.0.0.1', done); });
  const cancel = new AbortController();
  const dialling = dial({ host: '127.0.0.1', port: (listener.address() as AddressInfo).port, tls: {} }, { signal: cancel.signal });
  listener.once('connection', () => { cancel.abort(); });
  await expect(dialling).rejects.toMatchObject({ code: 'INTERRUPTED' });
});

test.each([0, -1, 65_536, 1.5, Number.NaN])('%s is no port', async (port) => {
  await expect(createDial({ allows: () => true })({ host: '127.0.0.1', port })).rejects.toMatchObject({ code: 'BAD_INPUT' });
});

test('an error after the dialling ends no process', async () => {
  const { port } = await listen('127.0.0.1');
  const socket = await createDial({ allows: () => true })({ host: '127.0.0.1', port });
  const closed = new Promise((done) => socket.once('close', done));
  socket.destroy(new Error('nobody listens for this'));
  await closed;
});

test('what is permitted is every address of a name, or none of them', async () => {
  const addresses = ['192.0.2.1', '192.0.2.2'];
  expect(await createPermit({ allows: (address, port) => addresses.includes(address) && port === 6379 }, () => Promise.resolve(addresses))({ host: 'a', port: 6379 })).toEqual(addresses);
  for (const refused of addresses) {
    await expect(createPermit({ allows: (address) => address !== refused }, () => Promise.resolve(addresses))({ host: 'a', port: 6379 })).rejects.toMatchObject({ code: 'TARGET_NOT_ALLOWED' });
  }
  await expect(createPermit({ allows: () => true }, () => Promise.resolve([]))({ host: 'a', port: 6379 })).rejects.toMatchObject({ code: 'CONNECT_FAILED' });
});

test('what asks for its addresses dials those only, and fails as it is refused', async () => {
  const { port, accepted } = await listen('127.0.0.1');
  const asked: unknown[] = [];
  const socket = await createPermittedDial((to) => {
    asked.push(to.host);
    return Promise.resolve(['127.0.0.1']);
  })({ host: 'no-such-name.invalid', port });
  expect([asked, socket.remoteAddress]).toEqual([['no-such-name.invalid'], '127.0.0.1']);
  socket.destroy();
  const refusal = new DomainError('TARGET_NOT_ALLOWED', 'Not there.');
  await expect(createPermittedDial(() => Promise.reject(refusal))({ host: '127.0.0.1', port })).rejects.toBe(refusal);
  await expect(createPermittedDial(() => new Promise(() => undefined))({ host: '127.0.0.1', port }, { timeoutMs: 50 })).rejects.toMatchObject({ code: 'CONNECT_FAILED' });
  expect(accepted()).toBe(1);
});
