import { isIPv4, isIPv6 } from 'node:net';

/** An address by its bytes, of which there are 4 or 16: it has one such form, however it is spelled. */
export type AddressBytes = readonly number[];

/** The first `prefix` bits are the range. */
export interface AddressRange {
  readonly bytes: AddressBytes;
  readonly prefix: number;
}

const MAPPED = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

const startsWith = (bytes: AddressBytes, start: readonly number[]): boolean => start.every((byte, at) => bytes[at] === byte);

const groupsOf = (text: string): number[] =>
  text === '' ? [] : text.split(':').flatMap((group) => {
    if (group.includes('.')) return group.split('.').map(Number);
    const value = Number.parseInt(group, 16);
    return [value >> 8, value & 0xff];
  });

const parseIPv6 = (text: string): AddressBytes => {
  const [head = '', tail] = text.split('::');
  const [before, after] = [groupsOf(head), groupsOf(tail ?? '')];
  return [...before, ...Array.from({ length: 16 - before.length - after.length }, () => 0), ...after];
};

/** undefined for what is no numeric address. A scope (`%eth0`) is left out; IPv4 in IPv6's clothes (`::ffff:…`) is IPv4, which is what the kernel dials. */
export const addressBytes = (text: string): AddressBytes | undefined => {
  const [bare = ''] = text.split('%');
  if (isIPv4(bare)) return bare.split('.').map(Number);
  if (!isIPv6(bare)) return undefined;
  const bytes = parseIPv6(bare);
  return startsWith(bytes, MAPPED) ? bytes.slice(12) : bytes;
};

/** `10.0.0.0/8`, or one address. Throws a TypeError for anything else. */
export const addressRange = (text: string): AddressRange => {
  const [address = '', prefix] = text.split('/');
  const bytes = addressBytes(address);
  if (bytes === undefined) throw new TypeError(`"${text}" is no range of addresses`);
  const bits = bytes.length * 8;
  if (prefix === undefined) return { bytes, prefix: bits };
  // The range of a mapped address counts its bits from the start of the IPv6 address.
  return { bytes, prefix: bits === 32 && address.includes(':') ? Math.max(0, Number(prefix) - 96) : Number(prefix) };
};

export const isInRange = (address: AddressBytes, { bytes, prefix }: AddressRange): boolean => {
  if (address.length !== bytes.length) return false;
  const whole = prefix >> 3;
  const mask = 0xff00 >> (prefix & 7) & 0xff;
  return startsWith(address, bytes.slice(0, whole)) && (((address[whole] ?? 0) ^ (bytes[whole] ?? 0)) & mask) === 0;
};

/** Where IPv4 addresses lie in an IPv6 address that a gateway may take apart again: by its first bytes, or by those of its interface's id. */
const CARRIERS: readonly { start: readonly number[]; from?: number; at: number; inverted?: true }[] = [
  // IPv4-compatible (RFC 4291) and IPv4-translated (RFC 2765).
  { start: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], at: 12 },
  { start: [0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0], at: 12 },
  // 6to4 (RFC 3056), NAT64 (RFC 6052), Teredo with its server and its client (RFC 4380).
  { start: [0x20, 0x02], at: 2 },
  { start: [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0], at: 12 },
  { start: [0x20, 0x01, 0, 0], at: 4 },
  { start: [0x20, 0x01, 0, 0], at: 12, inverted: true },
  // ISATAP (RFC 5214), for private and for public addresses.
  { start: [0, 0, 0x5e, 0xfe], from: 8, at: 12 },
  { start: [2, 0, 0x5e, 0xfe], from: 8, at: 12 },
];

/** `::`, `::1`, and what else would carry an address that is none. */
const CARRY_NOTHING = addressRange('::/104');

/** The IPv4 addresses that an IPv6 address carries to somebody else: what is dialled by it may end there. */
export const carriedAddresses = (address: AddressBytes): AddressBytes[] =>
  address.length === 4 || isInRange(address, CARRY_NOTHING) ? [] : CARRIERS.filter(({ start, from = 0 }) => startsWith(address.slice(from), start))
    .map(({ at, inverted }) => address.slice(at, at + 4).map((byte) => (inverted ? byte ^ 0xff : byte)));
