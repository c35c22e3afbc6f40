import { BlockList, isIPv6 } from 'node:net';

/** `::ffff:10.0.0.1` and `10.0.0.1` are one address. */
export const plainAddress = (address: string): string => (address.toLowerCase().startsWith('::ffff:') ? address.slice(7) : address);

const familyOf = (address: string): 'ipv4' | 'ipv6' => (isIPv6(address) ? 'ipv6' : 'ipv4');

/**
 * Who may connect: numeric addresses, and addresses in ranges such as `10.0.0.0/8` (a range without a prefix is one address). An address
 * proves nothing, it only keeps the world out.
 */
export const peerCheck = (addresses: readonly string[], ranges: readonly string[] = []): ((address: string) => boolean) => {
  const known = new Set(addresses.map(plainAddress));
  // One for each family: in a list of both, `::/0` has every IPv4 address in it.
  const lists = { ipv4: new BlockList(), ipv6: new BlockList() };
  for (const range of ranges) {
    const [address = '', prefix] = range.split('/');
    const family = familyOf(address);
    if (prefix === undefined) lists[family].addAddress(address, family);
    else lists[family].addSubnet(address, Number(prefix), family);
  }
  return (given) => {
    const address = plainAddress(given);
    if (known.has(address)) return true;
    // A link-local address carries its interface, which no range names.
    const [bare = ''] = address.split('%');
    return bare !== '' && lists[familyOf(bare)].check(bare, familyOf(bare));
  };
};
