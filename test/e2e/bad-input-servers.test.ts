import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type RegisterInstanceInput } from '@snapback/sdk';
import { freePort } from '../kit/processes.js';
import { startRedis, type RedisServer, type RedisServerOptions } from '../kit/redis.js';
import { startService, type TestService } from '../kit/service.js';
import { caught, register } from './scene.js';

const PASSWORD = 'canary-password-19cd';
const WRONG = 'canary-wrong-password-19cd';

const listening = (server: Server): Promise<number> =>
  new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port)));

describe('servers that cannot be protected', () => {
  let service: TestService;
  const servers: RedisServer[] = [];
  const listeners: Server[] = [];
  const start = async (options?: RedisServerOptions): Promise<RedisServer> => {
    const server = await startRedis(options);
    servers.push(server);
    return server;
  };
  const listen = (server: Server): Promise<number> => {
    listeners.push(server);
    return listening(server);
  };

  beforeAll(async () => {
    service = await startService();
  });
  afterAll(async () => {
    for (const listener of listeners) listener.close();
    await Promise.all([service?.stop(), ...servers.map((server) => server.stop())]);
  });

  /** The right code in less than callers wait for, with what to do, and nothing stored. */
  const expectRefused = async (port: number, code: string, rest: Partial<RegisterInstanceInput> = {}): Promise<void> => {
    const began = performance.now();
    const error = await caught(register(service, 'refused', { host: '127.0.0.1', port }, rest));
    expect(performance.now() - began).toBeLessThan(25_000);
    expect(error).toMatchObject({ kind: 'user_input', code });
    expect(error.message.length).toBeGreaterThan(40);
    for (const secret of [PASSWORD, WRONG]) expect(error.message).not.toContain(secret);
    expect(await service.sdk.instances.list().toArray({ limit: 10 })).toEqual([]);
  };

  it('a wrong password, of the default user and of another', async () => {
    const { port } = await start({ password: PASSWORD, acl: [`backup on >${PASSWORD} ~* &* +@all`] });
    await expectRefused(port, 'AUTH_FAILED', { password: WRONG });
    await expectRefused(port, 'AUTH_FAILED', { username: 'backup', password: WRONG });
    await expectRefused(port, 'AUTH_FAILED', { username: 'nobody', password: PASSWORD });
    await expectRefused(port, 'AUTH_FAILED');
  });

  it('a password for a server that has none set: nobody goes on as somebody else', async () => {
    const { port } = await start();
    await expectRefused(port, 'AUTH_FAILED', { password: WRONG });
    await expectRefused(port, 'AUTH_FAILED', { username: 'backup', password: WRONG });
  });

  it('a user who lacks the right', async () => {
    const { port } = await start({ acl: [`backup on >${PASSWORD} +ping +get`] });
    await expectRefused(port, 'PERMISSION_MISSING', { username: 'backup', password: PASSWORD });
  });

  it('a closed port, and a host that does not exist', async () => {
    await expectRefused(await freePort(), 'CONNECT_FAILED');
    const error = await caught(register(service, 'refused', { host: 'no-such-host.invalid', port: 6379 }));
    expect(error).toMatchObject({ kind: 'user_input', code: 'CONNECT_FAILED' });
  });

  it('the service itself, its database, and this machine unless the operator opens it: in the same words, whatever listens there', async () => {
    for (const url of [service.url, service.databaseUrl]) await expectRefused(Number(new URL(url).port), 'TARGET_NOT_ALLOWED');
    const shut = await startService({ env: { CONNECT_ALLOW: '' } });
    try {
      let reached = 0;
      const open = await listen(createServer((socket) => { reached += 1; socket.destroy(); }));
      const told = await Promise.all([open, await freePort()].map(async (port) => {
        const { code, message } = await caught(register(shut, 'refused', { host: 'localhost', port }, { password: PASSWORD }));
        return { code, text: message.replaceAll(String(port), 'PORT') };
      }));
      expect(told[0]).toMatchObject({ code: 'TARGET_NOT_ALLOWED' });
      expect(told[1]).toEqual(told[0]);
      expect([reached, await shut.sdk.instances.list().toArray({ limit: 1 })]).toEqual([0, []]);
    } finally {
      await shut.stop();
    }
  });

  it('one that speaks HTTP', async () => {
    const port = await listen(createHttpServer((_request, response) => response.end('hello')));
    await expectRefused(port, 'PROTOCOL_ERROR');
    await expectRefused(port, 'PROTOCOL_ERROR', { password: PASSWORD });
    await expectRefused(port, 'CONNECT_FAILED', { tls: { insecureSkipVerify: true } });
  });

  it('ones that accept and stay silent, close at once, talk without end, or speak TLS where we do not and the other way round', async () => {
    const endless = createServer((socket) => {
      const timer = setInterval(() => socket.write('+'.padEnd(65_536, 'x')), 1);
      socket.on('error', () => undefined).on('close', () => clearInterval(timer));
    });
    const silent = createServer((socket) => socket.on('error', () => undefined));
    // A server that expects TLS waits for a longer greeting than ours: it too stays silent.
    const closing = createServer((socket) => socket.destroy());
    const [silentPort, closingPort, endlessPort, secure, plain] = await Promise.all([listen(silent), listen(closing), listen(endless), start({ tls: true }), start()]);
    await Promise.all([
      expectRefused(silentPort, 'CONNECT_FAILED'), expectRefused(silentPort, 'CONNECT_FAILED', { password: PASSWORD }), expectRefused(silentPort, 'CONNECT_FAILED', { tls: {} }),
      expectRefused(secure.port, 'CONNECT_FAILED'), expectRefused(secure.port, 'CONNECT_FAILED', { tls: {} }), expectRefused(plain.port, 'CONNECT_FAILED', { tls: { insecureSkipVerify: true } }),
      expectRefused(closingPort, 'CONNECT_FAILED'), expectRefused(endlessPort, 'CONNECT_FAILED'),
    ]);
  });

  it('a server whose backup is not possible is registered and says why; a backup of it is refused', async () => {
    const { sdk } = service;
    const limited = await start({ acl: [`backup on >${PASSWORD} +@all -psync`] });
    const instance = await register(service, 'limited', limited, { username: 'backup', password: PASSWORD });
    expect(instance.capabilities.backup).toMatchObject({ possible: false, reason: expect.stringContaining('psync') as string });
    expect(await caught(sdk.backups.create({ instanceId: instance.id, name: 'x' }))).toMatchObject({ code: 'ENGINE_UNSUPPORTED' });
    expect(await sdk.jobs.list().toArray({ limit: 1 })).toEqual([]);

    // What is fixed there is seen by the next probe.
    await limited.cli('ACL', 'SETUSER', 'backup', '+psync');
    expect((await sdk.instances.probe(instance)).capabilities.backup.possible).toBe(true);
    await sdk.backups.wait(await sdk.backups.create({ instanceId: instance.id, name: 'x' }));
    await sdk.instances.remove(instance);
  });

  it('an update that cannot be probed changes nothing', async () => {
    const { sdk } = service;
    const server = await start({ password: PASSWORD });
    const instance = await register(service, 'kept', server, { password: PASSWORD });
    for (const change of [{ password: WRONG }, { port: await freePort() }, { password: null }]) {
      expect(['AUTH_FAILED', 'CONNECT_FAILED']).toContain((await caught(sdk.instances.update({ instanceId: instance.id, name: 'changed', ...change }))).code);
    }
    expect(await sdk.instances.get(instance)).toMatchObject({ name: 'kept', port: server.port, hasPassword: true, updatedAt: instance.updatedAt });
    await sdk.backups.wait(await sdk.backups.create({ instanceId: instance.id, name: 'still works' }));
  });

  it('logs no password, wrong ones neither', () => {
    for (const secret of [PASSWORD, WRONG]) expect(service.logs()).not.toContain(secret);
  });
});
