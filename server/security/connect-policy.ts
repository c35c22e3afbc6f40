import { networkInterfaces } from 'node:os';
import { type ConnectPolicy } from './dial.js';
import { addressBytes, type AddressBytes, addressRange, type AddressRange, carriedAddresses, isInRange } from './ip.js';

/** What may not be dialled until the operator says so. */
const DENIED: readonly string[] = [
  // "This host" (which Linux takes for itself), loopback, link-local, multicast, reserved and broadcast.
  '0.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', '224.0.0.0/4', '240.0.0.0/4', '::', '::1', 'fe80::/10', 'ff00::/8',
  // Where clouds tell a machine its secrets: named one by one, so that allowing link-local addresses or a private range does not open these.
  '169.254.169.254', '169.254.170.2', '169.254.170.23', '169.254.0.23', '100.100.100.200', '168.63.129.16', '192.0.0.192',
  'fd00:ec2::254', 'fd00:ec2::23', 'fd20:ce::254',
  // Translation to IPv4 within a network (RFC 8215): where in the address that lies, only the operator knows.
  '64:ff9b:1::/48',
];

export interface ConnectRules {
  /** Ranges and addresses: opens what is denied by itself, and exceptions from `deny`. */
  allow: readonly string[];
  /** Ranges and addresses: everything else stays open. */
  deny: readonly string[];
  /** Loopback is allowed too. */
  thisMachine: boolean;
}

/** Ports that this installation itself listens on, on this machine: the API's, the database's, those of restores under way. */
export class OwnPorts {
  private readonly held = new Map<number, number>();

  /** Until the answer is called. */
  hold(port: number): () => void {
    this.held.set(port, (this.held.get(port) ?? 0) + 1);
    let released = false;
    return () => {
      if (released) return;
      released = true;
      const left = (this.held.get(port) ?? 1) - 1;
      if (left > 0) this.held.set(port, left);
      else this.held.delete(port);
    };
  }

  has(port: number): boolean {
    return this.held.has(port);
  }
}

const LOOPBACK: readonly string[] = ['127.0.0.0/8', '::1'];
/** Dialled, all of these end on this machine. */
const HERE = [...LOOPBACK, '0.0.0.0/8', '::'].map(addressRange);

/** Whether an address is one of this machine's own, as it stands now. */
const isOwnAddress = (address: AddressBytes): boolean =>
  HERE.some((range) => isInRange(address, range))
  || Object.values(networkInterfaces()).flatMap((all) => all ?? []).some((own) => isInRange(address, addressRange(own.address)));

/** Ports of servers in a URL (`postgresql://a:1,b/…`) that run on this machine. @param standard where none is given */
export const portsOnThisMachine = (url: string, standard: number): number[] => {
  const hosts = /^[a-z0-9+.-]+:\/\/(?:[^@/]*@)?([^/?#]*)/i.exec(url)?.[1] ?? '';
  return hosts.split(',').flatMap((item) => {
    const [, bracketed, name, port] = /^(?:\[([^\]]*)\]|([^:]*))(?::(\d+))?$/.exec(item) ?? [];
    const host = bracketed ?? name ?? '';
    const bytes = addressBytes(host);
    return /^localhost\.?$/i.test(host) || (bytes !== undefined && isOwnAddress(bytes)) ? [Number(port ?? standard)] : [];
  });
};

/**
 * The longest range that an address lies in decides, as in a table of routes; of equally long ones the operator's over what is denied by
 * itself, and `deny` over `allow`. What lies in none may be dialled. An IPv6 address that carries IPv4 ones is judged with each of them. This
 * machine's own ports stay shut whatever the rules say.
 */
export const createConnectPolicy = ({ allow, deny, thisMachine }: ConnectRules, own: OwnPorts): ConnectPolicy => {
  // In the order of who wins at the same length.
  const rules: readonly { range: AddressRange; open: boolean }[] = [
    ...deny.map((text) => ({ range: addressRange(text), open: false })),
    ...[...allow, ...(thisMachine ? LOOPBACK : [])].map((text) => ({ range: addressRange(text), open: true })),
    ...DENIED.map((text) => ({ range: addressRange(text), open: false })),
  ].sort((a, b) => b.range.prefix - a.range.prefix);
  const isOpen = (address: AddressBytes): boolean => rules.find(({ range }) => isInRange(address, range))?.open ?? true;
  return {
    allows(text, port) {
      const address = addressBytes(text);
      if (address === undefined) return false;
      return [address, ...carriedAddresses(address)].every((one) => isOpen(one) && !(own.has(port) && isOwnAddress(one)));
    },
  };
};
