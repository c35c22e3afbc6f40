import { createServer, type AddressInfo, type Server, Socket } from 'node:net';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { networkInterfaces } from 'node:os';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { createConnectPolicy, OwnPorts, portsOnThisMachine, type ConnectRules } from '../../../server/security/connect-policy.js';
import { type ConnectPolicy, createDial } from '../../../server/security/dial.js';
import { startDns } from '../../kit/dns.js';
import { readPem, tlsFiles } from '../../kit/redis-tls.js';

const NO_RULES: ConnectRules = { allow: [], deny: [], thisMachine: false };
const policyOf = (rules: Partial<ConnectRules> = {}, own = new OwnPorts()): ConnectPolicy => createConnectPolicy({ ...NO_RULES, ...rules }, own);

/** Each of these leads, or led somebody once, to this machine, to a cloud's secrets, or to everybody at once. */
const SHUT = [
  '127.0.0.1', '127.1', '127.0.1', '127.65535', '127.000.000.001', '127.0.0.53', '127.255.255.254', '2130706433', '017700000001', '0x7f000001', '0x7F000001', '0x7f.1', '0x7F.0.0.1', '0177.0.0.1', '0177.1',
  '127.0.0.0x1', '0x7f.0.0x0.01', '127.0x0.1', '00000177.0.0.1', '0', '00', '0x0', '0.0', '0.0.0.0', '0.0.0.1', '0.1.2.3', '127。0。0。1', '127．0．0．1', '①②⑦.⓪.⓪.①', '１２７.0.0.1', 'localhost', 'LOCALHOST',
  '::1', '0:0:0:0:0:0:0:1', '0000:0000:0000:0000:0000:0000:0000:0001', '::0001', '::0.0.0.1', '::', '::0', '0:0:0:0:0:0:0:0', '::1%lo',
  '::ffff:127.0.0.1', '::FFFF:127.0.0.1', '::ffff:7f00:1', '::ffff:7F00:0001', '0:0:0:0:0:ffff:127.0.0.1', '0000:0000:0000:0000:0000:ffff:7f00:0001', '::ffff:0.0.0.0', '::ffff:0:127.0.0.1', '::127.0.0.1', '::7f00:1',
  '64:ff9b::127.0.0.1', '64:ff9b::7f00:1', '64:ff9b:1::7f00:1', '64:ff9b:1:7f00:0:100::', '2002:7f00:1::', '2002:7f00:0001::1', '2001:0:7f00:1::', '2001:0:4136:e378:8000:63bf:80ff:fffe', '2001:db8::5efe:127.0.0.1', '2001:db8::200:5efe:7f00:1',
  '169.254.169.254', '169.254.43518', '169.16689662', '2852039166', '0xa9fea9fe', '0xA9.0xFE.0xA9.0xFE', '0251.0376.0251.0376', '0251.254.169.254', '::ffff:169.254.169.254', '::ffff:a9fe:a9fe', '64:ff9b::a9fe:a9fe', '2002:a9fe:a9fe::',
  'fd00:ec2::254', 'FD00:0EC2:0::254', 'fd00:ec2::23', 'fd20:ce::254', '169.254.170.2', '169.254.170.23', '169.254.1.1', '100.100.100.200', '1684301000', '168.63.129.16', '192.0.0.192',
  'fe80::1', 'FE80::1', 'fe80::1%lo', 'febf::1', 'fe80::5efe:127.0.0.1', '224.0.0.1', '239.255.255.250', '::ffff:224.0.0.1', 'ff02::1', 'ff0e::1', '240.0.0.1', '255.255.255.255', '0xffffffff', '4294967295',
];

describe('what may be dialled', () => {
  let canary: Server;
  let port: number;
  const reached: string[] = [];
  const watch = (host: string, at: number): Promise<Server> => new Promise((done, fail) => {
    const server = createServer((socket: Socket) => {
      reached.push(String(socket.localAddress));
      socket.destroy();
    });
    server.once('error', fail).listen(at, host, () => done(server));
  });

  beforeAll(async () => {
    // Of both families, at every address of this machine.
    canary = await watch('::', 0);
    ({ port } = canary.address() as AddressInfo);
  });
  afterAll(() => { canary.close(); });

  it(`is nothing of ${SHUT.length} spellings of what is shut by itself, told in the same words and as fast whether something listens there or not`, async () => {
    expect(new Set(SHUT).size).toBeGreaterThanOrEqual(80);
    const dial = createDial(policyOf());
    const told = async (host: string, at: number): Promise<string> => {
      const error = await dial({ host, port: at }).then(() => 'connected', (thrown: { code: string; message: string; hint: string }) => `${thrown.code} ${thrown.message} ${thrown.hint}`);
      return error.replace(`:${at} may`, ':PORT may');
    };
    // Nor does the time that it takes tell anything: nothing is dialled at all.
    const dialled = vi.spyOn(Socket.prototype, 'connect');
    onTestFinished(() => { dialled.mockRestore(); });
    for (const host of SHUT) {
      const [open, closed] = [await told(host, port), await told(host, 1)];
      expect(open, host).toMatch(/^TARGET_NOT_ALLOWED /);
      expect(open, host).toBe(closed);
    }
    expect(dialled).not.toHaveBeenCalled();
    expect(reached).toEqual([]);
  });

  it('is a name only if all it has may be: mixed answers, aliases, translated and mapped ones, answers that change', async () => {
    const files = await tlsFiles();
    const names: string[] = [];
    const cache = createTlsServer({ cert: readPem(files.certFile), key: readPem(files.keyFile) }, (socket: TLSSocket) => {
      names.push(String((socket as { servername?: unknown }).servername));
      socket.on('error', () => undefined);
    });
    const GOOD = '127.0.0.2';
    await new Promise<void>((done) => { cache.listen(0, GOOD, done); });
    const { port } = cache.address() as AddressInfo;
    const canaries = [await watch('127.0.0.1', port), await watch('::1', port)];
    const zone: Readonly<Record<string, (kind: string, nth: number) => string[]>> = {
      'mixed.test': (kind) => (kind === 'A' ? [GOOD, '127.0.0.1'] : []),
      'reversed.test': (kind) => (kind === 'A' ? ['127.0.0.1', GOOD] : []),
      'six.test': (kind) => (kind === 'A' ? [GOOD] : ['::1']),
      'alias.test': (kind) => (kind === 'A' ? ['=inner.test', '127.0.0.1'] : []),
      'mapped.test': (kind) => (kind === 'A' ? [] : ['::ffff:7f00:1']),
      'translated.test': (kind) => (kind === 'A' ? [] : ['64:ff9b::7f00:1']),
      'scoped.test': (kind) => (kind === 'A' ? [] : ['fe80::1']),
      'metadata.test': (kind) => (kind === 'A' ? ['169.254.169.254'] : []),
      // Good for whoever asks first, then for nobody.
      localhost: (kind, nth) => (kind === 'A' ? [nth === 0 ? GOOD : '127.0.0.1'] : []),
    };
    const dns = await startDns((name, kind, nth) => zone[name]?.(kind, nth) ?? []);
    try {
      const dial = createDial(policyOf({ allow: [GOOD] }), dns.resolve);
      const refused = Object.keys(zone).filter((name) => name !== 'localhost').flatMap((name) => [name, `${name}.`, name.toUpperCase()]);
      for (const host of refused) {
        const error = await dial({ host, port }).then(() => ({ code: 'connected', message: '' }), (thrown: { code: string; message: string }) => thrown);
        expect([host, error.code]).toEqual([host, 'TARGET_NOT_ALLOWED']);
        // Where a name leads inside is nobody's business.
        expect(error.message).not.toMatch(/127\.0|169\.254|::|fe80|inner/);
      }
      // Asked once, and the answer is the one dialled; the certificate is for the name and not for 127.0.0.2.
      const before = dns.asked.length;
      const socket = await dial({ host: 'localhost.', port, tls: { ca: readPem(files.caFile) } });
      expect(socket.remoteAddress).toBe(GOOD);
      await expect.poll(() => names).toEqual(['localhost']);
      socket.destroy();
      expect(dns.asked.slice(before).sort()).toEqual(['A localhost', 'AAAA localhost']);
      await expect(dial({ host: 'localhost', port, tls: { ca: readPem(files.caFile) } })).rejects.toMatchObject({ code: 'TARGET_NOT_ALLOWED' });
      expect(reached).toEqual([]);
    } finally {
      dns.stop();
      for (const server of [cache, ...canaries]) server.close();
    }
  });
});

describe('the rules', () => {
  const open = (policy: ConnectPolicy, addresses: readonly string[]): string[] => addresses.filter((address) => policy.allows(address, 6379));

  it('leave open what is shut by nobody, in all its spellings', () => {
    const fine = ['10.0.0.1', '172.16.0.1', '192.168.1.1', '100.64.0.1', '8.8.8.8', '169.253.255.255', '126.255.255.255', '128.0.0.0', '223.255.255.255', '2001:db8::1', 'fd00::1', 'fec0::1', '::ffff:10.0.0.1', '::ffff:0a00:1', '64:ff9b::10.0.0.1', '2002:a00:1::'];
    expect(open(policyOf(), fine)).toEqual(fine);
    expect(open(policyOf(), ['', 'localhost', '10.0.0', '10.0.0.256', '010.0.0.1', '1:2', ':::', '10.0.0.1 ', '%lo'])).toEqual([]);
  });

  it('are weighed by the length of their ranges, then the operator\'s over our own, then the refusal', () => {
    const all = ['127.0.0.1', '127.0.0.2', '10.1.2.3', '10.1.2.4', '192.168.0.1', '169.254.1.1', '169.254.169.254', '::1', 'fd00::1', 'fe80::1%eth0', '64:ff9b::10.1.2.3'];
    expect(open(policyOf({ allow: ['0.0.0.0/0', '::/0'] }), all)).toEqual(['10.1.2.3', '10.1.2.4', '192.168.0.1', 'fd00::1', '64:ff9b::10.1.2.3']);
    expect(open(policyOf({ allow: ['127.0.0.0/8', 'fe80::/10', '169.254.0.0/16'] }), all)).toEqual(['127.0.0.1', '127.0.0.2', '10.1.2.3', '10.1.2.4', '192.168.0.1', '169.254.1.1', 'fd00::1', 'fe80::1%eth0', '64:ff9b::10.1.2.3']);
    expect(open(policyOf({ allow: ['169.254.169.254'] }), all)).toContain('169.254.169.254');
    expect(open(policyOf({ thisMachine: true }), all)).toEqual(['127.0.0.1', '127.0.0.2', '10.1.2.3', '10.1.2.4', '192.168.0.1', '::1', 'fd00::1', '64:ff9b::10.1.2.3']);
    expect(open(policyOf({ thisMachine: true, deny: ['127.0.0.0/8', '::1'] }), all)).not.toEqual(expect.arrayContaining([expect.stringMatching(/^127|^::1/)]));
    // Only what is named: the pattern of an allow list.
    expect(open(policyOf({ deny: ['0.0.0.0/0', '::/0'], allow: ['10.1.0.0/16', '::ffff:192.168.0.0/112'] }), all)).toEqual(['10.1.2.3', '10.1.2.4', '192.168.0.1']);
    expect(open(policyOf({ allow: ['10.1.0.0/16'], deny: ['10.0.0.0/8', '10.1.2.4'] }), all)).toEqual(['10.1.2.3', '192.168.0.1', 'fd00::1', '64:ff9b::10.1.2.3']);
    expect(open(policyOf({ allow: ['10.1.2.3'], deny: ['10.1.2.3'] }), ['10.1.2.3', '::ffff:10.1.2.3', '64:ff9b::a01:203'])).toEqual([]);
  });

  it('never open this machine\'s own ports, at none of its addresses', () => {
    const own = new OwnPorts();
    const policy = policyOf({ thisMachine: true, allow: ['0.0.0.0', '::', '127.0.0.1'] }, own);
    const here = ['127.0.0.1', '127.8.8.8', '::1', '::ffff:127.0.0.1', '0.0.0.0', '::', ...Object.values(networkInterfaces()).flatMap((all) => all ?? []).filter(({ address }) => !address.startsWith('fe80')).map(({ address }) => address)];
    const openOn = (port: number): string[] => here.filter((address) => policy.allows(address, port));
    expect(openOn(4000)).toEqual(here);
    const [first, second] = [own.hold(4000), own.hold(4000)];
    expect([openOn(4000), openOn(4001)]).toEqual([[], here]);
    expect(policy.allows('10.200.200.200', 4000)).toBe(true);
    first();
    first();
    expect(openOn(4000)).toEqual([]);
    second();
    expect(openOn(4000)).toEqual(here);
  });

  it('know which databases run on this machine', () => {
    expect(portsOnThisMachine('postgresql://u:p%40@127.0.0.1:55432/db?sslmode=disable', 5432)).toEqual([55432]);
    expect(portsOnThisMachine('postgres://localhost/db', 5432)).toEqual([5432]);
    expect(portsOnThisMachine('mongodb://u:p@db.example.com,[::1]:27018,LOCALHOST.:27019,127.0.0.2/x', 27_017)).toEqual([27_018, 27_019, 27_017]);
    expect(portsOnThisMachine('postgresql://db.example.com:5432/localhost', 5432)).toEqual([]);
    expect([portsOnThisMachine('postgresql:///db?host=/run/postgresql', 5432), portsOnThisMachine('', 5432)]).toEqual([[], []]);
  });
});
