import { DomainError } from '../../../domain/errors.js';
import { type Reply } from './reply-parser.js';

export const SLOTS = 16_384;
const OPEN = 0x7b, CLOSE = 0x7d;

/** CRC-16 of XMODEM (polynomial 1021), as the cluster specification has it. */
const CRC16 = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8;
  for (let bit = 0; bit < 8; bit++) crc = (crc & 0x8000) === 0 ? crc << 1 : (crc << 1) ^ 0x1021;
  return crc & 0xffff;
});

/** The slot of a key, `bytes[from, to)`: of what stands between its first braces, if anything does. */
export const slotOf = (bytes: Uint8Array, from = 0, to = bytes.length): number => {
  let start = from;
  let end = to;
  const open = bytes.indexOf(OPEN, from);
  if (open >= 0 && open < to) {
    const close = bytes.indexOf(CLOSE, open + 1);
    if (close > open + 1 && close < to) {
      start = open + 1;
      end = close;
    }
  }
  let crc = 0;
  for (let at = start; at < end; at++) crc = ((crc << 8) & 0xffff) ^ (CRC16[(crc >> 8) ^ (bytes[at] as number)] as number);
  return crc % SLOTS;
};

const tags = new Map<number, string>();
let nextTag = 0;

/** A text whose slot it is, for names of ours that have to stand beside a key. */
export const tagOf = (slot: number): string => {
  for (;;) {
    const known = tags.get(slot);
    if (known !== undefined) return known;
    const text = (nextTag++).toString(36);
    const its = slotOf(Buffer.from(text, 'latin1'));
    if (!tags.has(its)) tags.set(its, text);
  }
};

export interface SlotOwner {
  from: number;
  to: number;
  host: string;
  port: number;
}

/** A master as a cluster names it. An empty or missing host means the node that was asked; `?` means that it does not know. */
const nodeIn = (entry: Reply | undefined, asked: string): { host: string; port: number } | null => {
  if (!Array.isArray(entry)) return null;
  const [host, port] = entry;
  if (typeof port !== 'number') return null;
  const name = Buffer.isBuffer(host) ? host.toString('utf8') : '';
  return name === '?' ? null : { host: name === '' ? asked : name, port };
};

/**
 * The masters and their slots, out of the reply to CLUSTER SLOTS. Fails with TARGET_BLOCKED unless every slot has one.
 * @param asked host of the node that answered
 */
export const slotOwners = (reply: Reply, asked: string): SlotOwner[] => {
  const owners: SlotOwner[] = [];
  let covered = 0;
  for (const range of Array.isArray(reply) ? reply : []) {
    if (!Array.isArray(range)) continue;
    const [from, to, master] = range;
    const node = nodeIn(master, asked);
    if (typeof from !== 'number' || typeof to !== 'number' || node === null) continue;
    owners.push({ from, to, ...node });
    covered += to - from + 1;
  }
  if (covered !== SLOTS) {
    throw new DomainError('TARGET_BLOCKED', `The cluster has nodes for ${covered} of ${SLOTS} slots only: keys of the others could not be written.`, {
      hint: 'Repair the cluster (redis-cli --cluster fix), then make a new plan.', retryable: true, details: { slots: covered },
    });
  }
  return owners;
};

/** Where a MOVED or ASK points to; null for other errors. An empty host means the node that answered. */
export const redirectIn = (text: string, asked: string): { kind: 'MOVED' | 'ASK'; slot: number; host: string; port: number } | null => {
  const match = /^(MOVED|ASK) (\d{1,5}) (.*):(\d{1,5})$/.exec(text);
  if (match === null) return null;
  const [, kind, slot, host, port] = match;
  return { kind: kind as 'MOVED' | 'ASK', slot: Number(slot), host: host === '' || host === undefined ? asked : host, port: Number(port) };
};
