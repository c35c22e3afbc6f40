import { randomBytes } from 'node:crypto';
import { Keyspace } from './keyspace.js';
import { PROFILES, type LegacyProfile, type LegacyVersion } from './profile.js';

/** Where a replica stands with its master. */
export type LinkState = 'CONNECT' | 'TRANSFER' | 'UP';

/** A replica that is attached: gets every byte of the command stream. */
export interface AttachedReplica {
  feed(bytes: Buffer): void;
}

const randomId = (): string => randomBytes(20).toString('hex');
const command = (...words: readonly string[]): Buffer =>
  Buffer.from(`*${String(words.length)}\r\n${words.map((word) => `$${String(Buffer.byteLength(word))}\r\n${word}\r\n`).join('')}`);

const defaults = (version: LegacyVersion): Record<string, string> => ({
  dir: '/data', dbfilename: 'dump.rdb', save: '900 1 300 10 60 10000', rdbchecksum: 'yes', rdbcompression: 'yes', appendonly: 'no', databases: '16',
  maxmemory: '0', 'maxmemory-policy': 'noeviction', requirepass: '', masterauth: '',
  'slave-read-only': 'yes', 'slave-serve-stale-data': 'yes', 'slave-priority': '100', 'min-slaves-to-write': '0', 'min-slaves-max-lag': '10',
  'repl-diskless-sync': 'no', 'repl-diskless-sync-delay': '5', 'repl-timeout': '60', 'repl-backlog-size': '1048576',
  ...(version === '2.8.24' ? {} : { 'lazyfree-lazy-eviction': 'no', 'slave-lazy-flush': 'no', 'slave-announce-ip': '', 'slave-announce-port': '0' }),
});

/** What a scripted server is and holds; commands, feed and link work on it. */
export class LegacyNode {
  readonly profile: LegacyProfile;
  readonly runId = randomId();
  readonly settings: Map<string, string>;
  readonly replicas = new Set<AttachedReplica>();
  keyspace = new Keyspace();
  /** What it saves instead of its keyspace, which holds only what is known here of it. */
  file: Buffer | undefined;
  master: { host: string; port: number; state: LinkState; offset: number } | undefined;
  loading: { total: number; loaded: number } | undefined;
  replid = randomId();
  replid2 = '0'.repeat(40);
  offset = 0;
  secondOffset = -1;
  /** The backlog of commands exists: writes move the offset from then on, with replicas or without. */
  backlog = false;
  fullSyncs = 0;

  /** @param says its version in INFO */
  constructor(readonly version: LegacyVersion, config: Readonly<Record<string, string>>, readonly says: string = version) {
    this.profile = PROFILES[version];
    this.settings = new Map(Object.entries({ ...defaults(version), ...config }));
  }

  /** Says that it is of a later version than it behaves like. */
  get isToCome(): boolean {
    return this.says !== this.version;
  }

  setting(name: string): string {
    return this.settings.get(name) ?? '';
  }

  /** A client's write: into the data, and into the stream. */
  write(database: number, key: Buffer, value: Buffer, expiresAtMs: number | null = null): void {
    this.keyspace.set(database, key, value, expiresAtMs);
    this.stream(command('SELECT', String(database)), command('SET', key.toString('latin1'), value.toString('latin1')));
  }

  /** A master's sign of life to its replicas, which counts like any command. */
  ping(): void {
    this.stream(command('PING'));
  }

  stream(...commands: readonly Buffer[]): void {
    if (!this.backlog) return;
    const bytes = Buffer.concat(commands);
    this.offset += bytes.length;
    for (const replica of this.replicas) replica.feed(bytes);
  }

  /** The first replica ever makes the backlog. Before 4.0 that moves the offset by one; from 4.0 it renews the id. */
  openBacklog(): void {
    if (this.backlog) return;
    this.backlog = true;
    if (!this.profile.replicationIds) this.offset += 1;
    else this.replid = randomId();
  }

  /** What FULLRESYNC calls this server's history: its run id before 4.0. */
  get historyId(): string {
    return this.profile.replicationIds ? this.replid : this.runId;
  }

  save(): Buffer {
    return this.file ?? this.keyspace.toRdb(this.profile.rdbVersion, {
      'redis-ver': this.version, 'redis-bits': 64, ctime: Math.floor(Date.now() / 1000), 'used-mem': 800_000, 'repl-stream-db': 0,
      'repl-id': this.replid, 'repl-offset': this.offset, 'aof-preamble': 0,
    });
  }

  follow(host: string, port: number): void {
    this.master = { host, port, state: 'CONNECT', offset: -1 };
  }

  /** A full sync has been loaded from the master. */
  adopt(historyId: string, offset: number): void {
    if (!this.master) return;
    this.master.state = 'UP';
    this.master.offset = offset;
    this.backlog = false;
    if (!this.profile.replicationIds) return;
    this.replid = historyId;
    this.replid2 = '0'.repeat(40);
    this.secondOffset = -1;
    this.offset = offset;
    this.backlog = true;
  }

  promote(): void {
    if (!this.master) return;
    if (this.profile.replicationIds) {
      this.replid2 = this.replid;
      this.secondOffset = this.offset + 1;
      this.replid = randomId();
    }
    this.master = undefined;
    this.keyspace.expire();
  }
}
