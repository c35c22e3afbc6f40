import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { afterEach, describe, expect, it } from 'vitest';
import { type LinkProof } from '../../../server/engine/target/handshake.js';
import { openRestoreListener, type ListenerOptions, type RestoreListener } from '../../../server/engine/target/listener.js';
import { readPem, tlsFiles } from '../../kit/redis-tls.js';
import { waitFor } from '../../kit/wait.js';

const REPLID = 'a1'.repeat(20);
const PROOF: LinkProof = { kind: 'REPLICATION_ID', replid: REPLID };

interface Peer {
  socket: Socket;
  received: () => string;
  closed: () => boolean;
}

describe('the restore listener', () => {
  const open: { close(): Promise<void> }[] = [];
  const sockets: Socket[] = [];
  const listen = async (options: Partial<ListenerOptions> = {}): Promise<{ listener: RestoreListener; refusals: string[] }> => {
    const refusals: string[] = [];
    const listener = await openRestoreListener({ host: '127.0.0.1', peers: ['127.0.0.1'], handshakeMs: 60_000, onRefused: (reason) => refusals.push(reason), ...options });
    open.push(listener);
    return { listener, refusals };
  };
  const dial = (listener: RestoreListener, say = '', localAddress?: string): Peer => {
    let received = '';
    let closed = false;
    const socket = connect({ host: '127.0.0.1', port: listener.port, localAddress });
    sockets.push(socket);
    socket.on('data', (chunk: Buffer) => { received += chunk.toString('latin1'); }).on('error', () => undefined).on('close', () => { closed = true; });
    socket.on('connect', () => socket.write(say));
    return { socket, received: () => received, closed: () => closed };
  };
  const options = (ms = 60_000, signal = new AbortController().signal): { ms: number; signal: AbortSignal } => ({ ms, signal });

  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy();
    await Promise.all(open.splice(0).map((listener) => listener.close()));
  });

  it('turns everybody away until it expects the target', async () => {
    const { listener, refusals } = await listen();
    const early = dial(listener, `PSYNC ${REPLID} 1\r\n`);
    await waitFor(early.closed);
    expect([early.received(), refusals]).toEqual(['', ['NOT_EXPECTED']]);
  });

  it('hands over the peer with the proof, and only that one, whoever comes first and after', async () => {
    const { listener, refusals } = await listen();
    const arrival = listener.expect(PROOF, options());
    const idle = dial(listener, 'PING\r\n');
    const wrong = dial(listener, `PING\r\nPSYNC ${'b2'.repeat(20)} 1\r\n`);
    const unknown = dial(listener, 'PSYNC ? -1\r\n');
    await waitFor(() => wrong.closed() && unknown.closed() && idle.received() === '+PONG\r\n');
    const right = dial(listener, `*1\r\n$4\r\nPING\r\nAUTH user secret\r\nREPLCONF listening-port 1\r\nREPLCONF capa eof capa psync2\r\nPSYNC ${REPLID} 77\r\n`);
    const { socket } = await arrival;
    expect(right.socket.localPort).toBe(socket.remotePort);
    const second = dial(listener, `PSYNC ${REPLID} 77\r\n`);
    await waitFor(() => second.closed() && idle.closed());
    expect(right.received()).toBe('+PONG\r\n+OK\r\n+OK\r\n+OK\r\n');
    expect([wrong.received(), unknown.received(), second.received(), right.closed()]).toEqual(['+PONG\r\n', '', '', false]);
    expect([...refusals].sort()).toEqual(['NOT_EXPECTED', 'NOT_EXPECTED', 'WRONG_PROOF', 'WRONG_PROOF']);
    expect(listener.refused).toBe(4);
    await expect(listener.expect(PROOF, options())).rejects.toMatchObject({ code: 'INTERNAL' });
    await listener.close();
    await waitFor(right.closed);
  });

  it('knows the target\'s address', async () => {
    const { listener, refusals } = await listen({ peers: ['::ffff:127.0.0.2'] });
    const arrival = listener.expect(PROOF, options());
    const stranger = dial(listener, `PSYNC ${REPLID} 1\r\n`);
    await waitFor(stranger.closed);
    expect([stranger.received(), refusals]).toEqual(['', ['STRANGER']]);
    const target = dial(listener, `PSYNC ${REPLID} 1\r\n`, '127.0.0.2');
    expect((await arrival).socket.remoteAddress).toBe('127.0.0.2');
    expect(target.closed()).toBe(false);
  });

  it('takes a password as proof where PSYNC carries none', async () => {
    const { listener, refusals } = await listen();
    const arrival = listener.expect({ kind: 'PASSWORD', password: 'one-time' }, options());
    const without = dial(listener, 'PING\r\nPSYNC ? -1\r\n');
    const wrong = dial(listener, 'PING\r\nAUTH two-times\r\nPSYNC ? -1\r\n');
    await waitFor(() => without.closed() && wrong.closed());
    expect(refusals).toEqual(['WRONG_PROOF', 'WRONG_PROOF']);
    const right = dial(listener, 'PING\r\nAUTH one-time\r\nREPLCONF listening-port 6379\r\nPSYNC ? -1\r\n');
    await arrival;
    expect(right.closed()).toBe(false);
  });

  it.each(['SYNC\r\n', 'GET / HTTP/1.1\r\n', 'CONFIG GET *\r\n', '\x16\x03\x01\x02\x00\n', `${'x'.repeat(40_000)}`, 'PSYNC\r\n'])('cuts what is no replica: %j', async (say) => {
    const { listener } = await listen();
    const arrival = listener.expect(PROOF, options());
    const peer = dial(listener, say);
    await waitFor(peer.closed);
    expect([peer.received(), listener.refused]).toEqual(['', 1]);
    dial(listener, `PSYNC ${REPLID} 1\r\n`);
    await arrival;
  });

  it('over TLS, hears nobody who has no certificate of the right authority, and gives nobody a byte for a certificate alone', async () => {
    const files = await tlsFiles();
    const { listener, refusals } = await listen({ tls: { cert: readPem(files.certFile), key: readPem(files.keyFile), ca: readPem(files.caFile) } });
    const arrival = listener.expect(PROOF, options());
    const secure = (say: string, own: { cert?: string; key?: string } = {}): Peer => {
      let received = '';
      let closed = false;
      const socket = connectTls({ host: '127.0.0.1', port: listener.port, ca: readPem(files.caFile), ...own }, () => socket.write(say));
      sockets.push(socket);
      socket.on('data', (chunk: Buffer) => { received += chunk.toString('latin1'); }).on('error', () => undefined).on('close', () => { closed = true; });
      return { socket, received: () => received, closed: () => closed };
    };
    const own = { cert: readPem(files.clientCertFile), key: readPem(files.clientKeyFile) };
    const right = `PING\r\nPSYNC ${REPLID} 1\r\n`;
    const strangers = [
      dial(listener, right), secure(right), secure(right, { cert: readPem(files.otherCaFile), key: readPem(files.otherCaKeyFile) }), secure(`PSYNC ${'b2'.repeat(20)} 1\r\n`, own),
    ];
    await waitFor(() => strangers.every(({ closed }) => closed()) && refusals.length === 4);
    expect([...refusals].sort()).toEqual(['TLS_FAILED', 'TLS_FAILED', 'TLS_FAILED', 'WRONG_PROOF']);
    expect(strangers.map(({ received }) => received())).toEqual(['', '', '', '']);
    const silent = secure('', own);
    const target = secure(right, own);
    expect((await arrival).socket).toMatchObject({ encrypted: true, authorized: true });
    await waitFor(silent.closed);
    expect([target.received(), target.closed(), listener.refused]).toEqual(['+PONG\r\n', false, 5]);
  });

  it('over TLS, cuts who never begins', async () => {
    const files = await tlsFiles();
    const { listener, refusals } = await listen({ tls: { cert: readPem(files.certFile), key: readPem(files.keyFile) }, handshakeMs: 100 });
    const waiting = expect(listener.expect(PROOF, options())).rejects.toMatchObject({ code: 'INTERRUPTED' });
    const silent = dial(listener);
    await waitFor(silent.closed);
    expect([silent.received(), refusals]).toEqual(['', ['TOO_SLOW']]);
    await listener.close();
    await waiting;
  });

  it('cuts the silent, and is not filled up by them', async () => {
    const { listener, refusals } = await listen({ handshakeMs: 1_000 });
    const arrival = listener.expect(PROOF, options());
    const silent = Array.from({ length: 40 }, () => dial(listener));
    await waitFor(() => refusals.includes('TOO_MANY'));
    dial(listener, `PSYNC ${REPLID} 1\r\n`);
    await arrival;
    await waitFor(() => silent.every(({ closed }) => closed()));

    const slow = await listen({ handshakeMs: 1_000 });
    const waiting = slow.listener.expect(PROOF, options());
    const one = dial(slow.listener);
    await waitFor(one.closed);
    expect(slow.refusals).toEqual(['TOO_SLOW']);
    dial(slow.listener, `PSYNC ${REPLID} 1\r\n`);
    await waiting;
  });

  it('gives up when nobody comes, when the proofs are wrong, when it is told to, and when it is closed', async () => {
    const nobody = await listen();
    await expect(nobody.listener.expect(PROOF, options(50))).rejects.toMatchObject({ code: 'TARGET_UNREACHABLE_BACK', retryable: true });

    const wrong = await listen();
    const waiting = wrong.listener.expect(PROOF, options(1_000));
    dial(wrong.listener, `PSYNC ${'0'.repeat(40)} 1\r\n`);
    await expect(waiting).rejects.toMatchObject({ code: 'PROTOCOL_ERROR' });
    const late = dial(wrong.listener, `PSYNC ${REPLID} 1\r\n`);
    await waitFor(late.closed);
    expect(late.received()).toBe('');

    const storm = await listen();
    const stormed = expect(storm.listener.expect(PROOF, options(20_000))).rejects.toMatchObject({ code: 'PROTOCOL_ERROR' });
    for (let i = 0; i < 64; i += 1) dial(storm.listener, `PSYNC ${'0'.repeat(40)} 1\r\n`);
    await stormed;

    const cancel = new AbortController();
    const cancelled = await listen();
    const told = cancelled.listener.expect(PROOF, options(60_000, cancel.signal));
    cancel.abort();
    await expect(told).rejects.toMatchObject({ code: 'INTERRUPTED' });

    const closed = await listen();
    const cut = expect(closed.listener.expect(PROOF, options())).rejects.toMatchObject({ code: 'INTERRUPTED' });
    await closed.listener.close();
    await cut;
  });

  it('takes a free port of its range, and says so when there is none', async () => {
    const { listener: first } = await listen();
    const { port } = first;
    await expect(openRestoreListener({ host: '127.0.0.1', ports: { from: port, to: port }, peers: [], handshakeMs: 1 })).rejects.toMatchObject({ code: 'TARGET_UNREACHABLE_BACK' });
    const { listener } = await listen({ ports: { from: port, to: port + 20 }, advertisedHost: 'backup.example' });
    expect(listener.host).toBe('backup.example');
    expect(listener.port).toBeGreaterThan(port);
    await expect(openRestoreListener({ host: '192.0.2.1', peers: [], handshakeMs: 1 })).rejects.toMatchObject({ code: 'TARGET_UNREACHABLE_BACK' });
  });
});
