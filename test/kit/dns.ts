import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { Resolver } from 'node:dns/promises';
import { type ResolveName } from '../../server/security/dial.js';

/** What a name has at the nth time it is asked for, from 0 on; a name that starts with `=` is an alias of another. */
export type Zone = (name: string, kind: 'A' | 'AAAA', nth: number) => readonly string[];

const KINDS: Readonly<Record<number, 'A' | 'AAAA'>> = { 1: 'A', 28: 'AAAA' };

const wire = (name: string): Buffer => Buffer.concat([...name.split('.').filter((label) => label !== '').map((label) => Buffer.from(`${String.fromCharCode(label.length)}${label}`, 'latin1')), Buffer.from([0])]);

const address = (text: string): Buffer => {
  if (!text.includes(':')) return Buffer.from(text.split('.').map(Number));
  const [head = '', tail = ''] = text.split('::');
  const groups = (part: string): number[] => (part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16)));
  const all = text.includes('::') ? [...groups(head), ...Array.from({ length: 8 - groups(head).length - groups(tail).length }, () => 0), ...groups(tail)] : groups(head);
  return Buffer.from(all.flatMap((group) => [group >> 8, group & 255]));
};

const record = (name: Buffer, type: number, data: Buffer): Buffer => {
  const head = Buffer.alloc(10);
  head.writeUInt16BE(type, 0);
  head.writeUInt16BE(1, 2);
  // A life of 0 s: whoever asks again, asks here.
  head.writeUInt16BE(data.length, 8);
  return Buffer.concat([name, head, data]);
};

/** A name server over UDP, and a resolver that asks it. `asked` are its questions in their order. */
export const startDns = async (zone: Zone): Promise<{ resolve: ResolveName; asked: string[]; stop: () => void }> => {
  const asked: string[] = [];
  const socket = createSocket('udp4');
  socket.on('message', (question, from) => {
    const labels: string[] = [];
    let at = 12;
    for (let length = question[at] ?? 0; length > 0; length = question[at] ?? 0) {
      labels.push(question.toString('latin1', at + 1, at + 1 + length));
      at += length + 1;
    }
    const name = labels.join('.');
    const type = question.readUInt16BE(at + 1);
    const kind = KINDS[type] ?? 'A';
    const found = zone(name.toLowerCase(), kind, asked.filter((line) => line === `${kind} ${name}`).length);
    asked.push(`${kind} ${name}`);
    const pointer = Buffer.from([0xc0, 12]);
    const alias = found.find((text) => text.startsWith('='))?.slice(1);
    const owner = alias === undefined ? pointer : wire(alias);
    const answers = [
      ...(alias === undefined ? [] : [record(pointer, 5, wire(alias))]),
      ...found.filter((text) => !text.startsWith('=')).map((text) => record(owner, type, address(text))),
    ];
    const head = Buffer.from(question.subarray(0, 12));
    // An authoritative answer to one question.
    head.writeUInt16BE(0x8580, 2);
    head.writeUInt16BE(answers.length, 6);
    head.writeUInt32BE(0, 8);
    socket.send(Buffer.concat([head, question.subarray(12, at + 5), ...answers]), from.port, from.address);
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const resolver = new Resolver({ timeout: 2_000, tries: 1 });
  resolver.setServers([`127.0.0.1:${socket.address().port}`]);
  const none = (error: unknown): string[] => {
    if ((error as NodeJS.ErrnoException).code === 'ENODATA') return [];
    throw error;
  };
  return {
    asked,
    resolve: async (host) => (await Promise.all([resolver.resolve4(host).catch(none), resolver.resolve6(host).catch(none)])).flat(),
    stop: () => void socket.close(),
  };
};
