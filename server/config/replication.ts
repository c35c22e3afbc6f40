import { resolve } from 'node:path';
import { cidrs } from './cidrs.js';
import { hostName } from './host.js';
import { type SettingsReader } from './reader.js';

/** How restore targets reach this service back. */
export interface ReplicationSettings {
  readonly advertiseHost: string | null;
  readonly ports: { readonly from: number; readonly to: number } | null;
  /** Ranges (`10.0.0.0/8`) and addresses that targets may come from besides their own. */
  readonly peerCidrs: readonly string[];
  /** From `REPLICAOF` to the target's connection, in ms. */
  readonly linkMs: number;
  /** PEM files, for targets with `tls-replication yes`. */
  readonly tls: {
    readonly certFile: string;
    readonly keyFile: string;
    /** What the target's own certificate has to be signed by; null: it is not asked for one. */
    readonly caFile: string | null;
  } | null;
}

const portRange = (settings: SettingsReader): ReplicationSettings['ports'] => {
  const value = settings.text('REPLICATION_PORTS');
  if (value === undefined) return null;
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(value);
  const from = Number(match?.[1]);
  const to = Number(match?.[2] ?? match?.[1]);
  if (match && from >= 1 && to <= 65_535 && from <= to) return { from, to };
  return settings.wrong('REPLICATION_PORTS', `must be a port or a range such as "7000-7009", not "${value}"`, null);
};

const tls = (settings: SettingsReader): ReplicationSettings['tls'] => {
  const [certFile, keyFile, caFile] = (['CERT', 'KEY', 'CA'] as const).map((name) => {
    const value = settings.text(`REPLICATION_TLS_${name}`);
    if (value?.includes('-----BEGIN')) return settings.wrong(`REPLICATION_TLS_${name}`, 'must be the path of a PEM file, not what stands in it', undefined);
    return value === undefined ? undefined : resolve(value);
  });
  const given = (name: string): boolean => settings.text(`REPLICATION_TLS_${name}`) !== undefined;
  if (given('CERT') !== given('KEY')) settings.wrong(given('CERT') ? 'REPLICATION_TLS_KEY' : 'REPLICATION_TLS_CERT', `must be set where ${given('CERT') ? 'REPLICATION_TLS_CERT' : 'REPLICATION_TLS_KEY'} is`, null);
  else if (given('CA') && !given('CERT')) settings.wrong('REPLICATION_TLS_CA', 'is of no use without REPLICATION_TLS_CERT and REPLICATION_TLS_KEY', null);
  return certFile === undefined || keyFile === undefined ? null : { certFile, keyFile, caFile: caFile ?? null };
};

export const replicationSettings = (settings: SettingsReader): ReplicationSettings => ({
  advertiseHost: hostName(settings, 'REPLICATION_ADVERTISE_HOST') ?? null,
  ports: portRange(settings),
  peerCidrs: cidrs(settings, 'REPLICATION_PEER_CIDRS'),
  linkMs: settings.seconds('REPLICATION_LINK_SECONDS', 30_000, 1, 600),
  tls: tls(settings),
});
