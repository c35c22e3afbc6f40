import { resolve } from 'node:path';
import { archiveSettings, type ArchiveSettings } from './archives.js';
import { connectSettings, type ConnectSettings } from './connect.js';
import { eventSettings, type EventSettings } from './events.js';
import { hostName } from './host.js';
import { oidcSettings, type OidcConfig } from './oidc.js';
import { SettingsReader } from './reader.js';
import { replicationSettings, type ReplicationSettings } from './replication.js';

/** What a process does: everything; only what callers ask (no jobs, no schedules); or only jobs and schedules (no API). */
export type Role = 'all' | 'api' | 'worker';

export interface Config extends ArchiveSettings {
  readonly role: Role;
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  /** What clients reach us by, for links; null means http://host:port. */
  readonly publicUrl: string | null;
  readonly dataDir: string;
  /** null: an embedded PostgreSQL under `dataDir`. */
  readonly databaseUrl: string | null;
  /** Agenda's store; null: the same PostgreSQL. */
  readonly mongodbUrl: string | null;
  readonly defaultTimeZone: string;
  /** Jobs that run at once in this process. */
  readonly concurrentJobs: number;
  /** Jobs that run at once on all nodes together; null: as many as the nodes take. */
  readonly concurrentJobsTotal: number | null;
  /** Rules such as `redis 4.0`: engines and versions that the operator has switched off. */
  readonly disabledEngines: readonly string[];
  readonly connect: ConnectSettings;
  readonly replication: ReplicationSettings;
  readonly allowedOrigins: readonly string[];
  readonly events: EventSettings;
  readonly introspection: boolean;
  /** `trusted`: those of the SDK and of `trustedDocuments` only. */
  readonly documents: 'any' | 'trusted';
  /** A file with documents of the operator's; null: none. */
  readonly trustedDocuments: string | null;
  /** What each API key may ask of this process, in points of cost; null: whatever it likes. */
  readonly pointsPerMinute: number | null;
  /** null: API keys only. */
  readonly oidc: OidcConfig | null;
  readonly sampleRedis: boolean;
  readonly redisServerBin: string | null;
  readonly log: { readonly level: 'debug' | 'info' | 'warn' | 'error'; readonly format: 'text' | 'json' };
  /** `collectMs`: how often leases that are over are looked for. */
  readonly lease: { readonly lifeMs: number; readonly renewMs: number; readonly collectMs: number };
  /** How long a due slot may wait, after downtime or for a busy server, before it is MISSED. */
  readonly catchUpMs: number;
  /** How often each process looks for planned runs and jobs that nobody was woken for. */
  readonly netMs: number;
  /** How long running jobs may go on after SIGTERM. */
  readonly drainMs: number;
  readonly upkeep: {
    /** From one pass of retention and reconciling to the next, of all nodes together. */
    readonly everyMs: number;
    /** How long unsealed files that nobody works on are kept. */
    readonly unsealedMs: number;
    /** Most expired backups that one pass removes. */
    readonly maxDeletions: number;
  };
  /** Who is told of failures; null: nobody. Both are set or neither is. */
  readonly webhook: { readonly url: string | null; readonly secret: string | null };
  readonly limits: {
    readonly maxBackupBytes: bigint;
    readonly maxBackupMs: number;
    readonly sourceIdleMs: number;
    /** Of servers that are read key by key. */
    readonly scanKeysPerSecond: number;
    /** How often one server may be asked for a full synchronisation. */
    readonly syncs: { readonly windowMs: number; readonly most: number; readonly mostFailed: number };
  };
}

export class ConfigError extends Error {
  constructor(readonly mistakes: readonly string[]) {
    super(`The configuration has ${mistakes.length === 1 ? 'a mistake' : `${mistakes.length} mistakes`}:\n${mistakes.map((m) => `  - ${m}`).join('\n')}`);
    this.name = 'ConfigError';
  }
}

/** The zones that a policy takes (`domain/schedule-zone.ts`): newer runtimes would take further offset spellings. */
const isTimeZone = (zone: string): boolean => {
  if (/^[+-](0\d|1[0-3]):[0-5]\d$|^[+-]14:00$/.test(zone)) return true;
  if (!/^[A-Za-z]/.test(zone)) return false;
  try {
    new Intl.DateTimeFormat('en', { timeZone: zone });
    return true;
  } catch {
    return false;
  }
};

const url = (settings: SettingsReader, name: string, protocols: readonly string[]): string | null => {
  const value = settings.text(name);
  if (value === undefined) return null;
  const parsed = URL.canParse(value) ? new URL(value) : undefined;
  if (parsed && protocols.includes(parsed.protocol)) return value;
  // The value itself is left out: it may hold a password.
  return settings.wrong(name, `must be a URL that starts with ${protocols.map((p) => `${p}//`).join(' or ')}`, null);
};

const publicUrl = (settings: SettingsReader): string | null => {
  const value = url(settings, 'PUBLIC_URL', ['http:', 'https:']);
  if (value === null) return null;
  const { username, password, search, hash } = new URL(value);
  if (username === '' && password === '' && search === '' && hash === '') return value.replace(/\/+$/, '');
  return settings.wrong('PUBLIC_URL', 'must end with the host or a path: links are made by appending to it', null);
};

/** What browsers send in Origin (RFC 6454): scheme, host and port, nothing behind. Their extensions have schemes of their own. */
const origins = (settings: SettingsReader): string[] =>
  settings.list('ALLOWED_ORIGINS').flatMap((item) => {
    const web = /^https?:/i.test(item);
    if (web ? URL.canParse(item) && new URL(item).origin === item : /^[a-z][a-z0-9+.-]*:\/\/[^/?#@\s]+$/.test(item)) return [item];
    return settings.wrong('ALLOWED_ORIGINS', 'takes origins such as "https://dashboard.example.com", without a path or a slash at the end', []);
  });

const disabledEngines = (settings: SettingsReader): string[] =>
  settings.list('DISABLED_ENGINES').flatMap((item) => {
    const match = /^(redis|valkey)(?:[: ]+(\d+(?:\.\d+){0,2}))?$/i.exec(item);
    if (match?.[1]) return [match[2] ? `${match[1].toLowerCase()} ${match[2]}` : match[1].toLowerCase()];
    return settings.wrong('DISABLED_ENGINES', `takes items such as "redis 4.0" or "valkey 8", not "${item}"`, []);
  });

/** By default renewed 3.75 times in its life, and looked for 6 times, as 30, 8 and 5 seconds are. */
const lease = (settings: SettingsReader): Config['lease'] => {
  const lifeMs = settings.seconds('LEASE_SECONDS', 30_000, 1, 600);
  const renewMs = settings.seconds('LEASE_RENEW_SECONDS', Math.round((lifeMs * 8) / 30), 0.1, 300);
  const collectMs = settings.seconds('LEASE_COLLECT_SECONDS', Math.round((lifeMs * 5) / 30), 0.1, 600);
  // One lost renewal must do no harm.
  if (renewMs * 2 >= lifeMs) settings.wrong('LEASE_RENEW_SECONDS', `must be less than half of LEASE_SECONDS (${lifeMs / 1000})`, renewMs);
  return { lifeMs, renewMs, collectMs };
};

/** A database in this process's own folder is no other's. */
const role = (settings: SettingsReader, databaseUrl: string | null): Role => {
  const value = settings.choice<Role>('ROLE', ['all', 'api', 'worker'], 'all');
  if (value === 'all') return value;
  if (databaseUrl === null && settings.text('DATABASE_URL') === undefined) settings.wrong('ROLE', `"${value}" needs DATABASE_URL: the embedded PostgreSQL serves one process only`, value);
  return value;
};

const webhook = (settings: SettingsReader): Config['webhook'] => {
  const target = url(settings, 'WEBHOOK_URL', ['http:', 'https:']);
  const secret = settings.text('WEBHOOK_SECRET') ?? null;
  if (target !== null) {
    const { username, password, hash } = new URL(target);
    if (username !== '' || password !== '' || hash !== '') settings.wrong('WEBHOOK_URL', 'must hold neither a user nor a password nor a fragment: what is sent is signed with WEBHOOK_SECRET', null);
    if (secret === null) settings.wrong('WEBHOOK_SECRET', 'must be set where WEBHOOK_URL is: what is sent is signed with it', null);
  }
  if (secret !== null && secret.length < 16) settings.wrong('WEBHOOK_SECRET', 'must have 16 characters or more', null);
  else if (secret !== null && settings.text('WEBHOOK_URL') === undefined) settings.wrong('WEBHOOK_SECRET', 'is of no use without WEBHOOK_URL', null);
  return { url: target, secret };
};

/** Parses the environment completely and freezes the result. Throws one ConfigError that names every mistake. */
export const readConfig = (env: Readonly<Record<string, string | undefined>> = process.env): Config => {
  const settings = new SettingsReader(env);
  const dataDir = resolve(settings.text('DATA_DIR') ?? 'data');
  const defaultTimeZone = settings.text('DEFAULT_TIME_ZONE') ?? 'UTC';
  if (!isTimeZone(defaultTimeZone)) {
    settings.wrong('DEFAULT_TIME_ZONE', `must be an IANA zone or a fixed offset such as +08:00, not "${defaultTimeZone}"`, null);
  }
  const databaseUrl = url(settings, 'DATABASE_URL', ['postgres:', 'postgresql:']);
  const chosen = role(settings, databaseUrl);
  const sampleRedis = settings.flag('SAMPLE_REDIS', databaseUrl === null && chosen === 'all');
  if (sampleRedis && chosen !== 'all') settings.wrong('SAMPLE_REDIS', 'can be true with the role "all" only', false);
  const config: Config = {
    role: chosen,
    host: hostName(settings, 'HOST') ?? '127.0.0.1',
    port: settings.integer('PORT', 4000, 0, 65_535),
    publicUrl: publicUrl(settings),
    dataDir,
    databaseUrl,
    mongodbUrl: url(settings, 'MONGODB_URL', ['mongodb:', 'mongodb+srv:']),
    ...archiveSettings(settings, dataDir),
    defaultTimeZone,
    concurrentJobs: settings.integer('CONCURRENT_JOBS', 4, 1, 64),
    concurrentJobsTotal: settings.text('CONCURRENT_JOBS_TOTAL') === undefined ? null : settings.integer('CONCURRENT_JOBS_TOTAL', 1, 1, 10_000),
    disabledEngines: disabledEngines(settings),
    connect: connectSettings(settings, databaseUrl === null || sampleRedis),
    replication: replicationSettings(settings),
    allowedOrigins: origins(settings),
    events: eventSettings(settings),
    introspection: settings.flag('INTROSPECTION', true),
    documents: settings.choice('DOCUMENTS', ['any', 'trusted'], 'any'),
    trustedDocuments: settings.text('TRUSTED_DOCUMENTS') ?? null,
    pointsPerMinute: settings.integer('RATE_LIMIT_POINTS', 1_000_000, 0, 1_000_000_000) || null,
    oidc: oidcSettings(settings),
    sampleRedis,
    redisServerBin: settings.text('REDIS_SERVER_BIN') ?? null,
    log: {
      level: settings.choice('LOG_LEVEL', ['debug', 'info', 'warn', 'error'], 'info'),
      format: settings.choice('LOG_FORMAT', ['text', 'json'], 'text'),
    },
    lease: lease(settings),
    catchUpMs: settings.integer('CATCH_UP_MINUTES', 360, 1, 7 * 24 * 60) * 60_000,
    netMs: settings.integer('NET_SECONDS', 30, 1, 60) * 1000,
    drainMs: settings.integer('DRAIN_SECONDS', 30, 0, 3600) * 1000,
    upkeep: {
      everyMs: settings.integer('UPKEEP_SECONDS', 600, 1, 86_400) * 1000,
      unsealedMs: settings.integer('UNSEALED_SECONDS', 24 * 3600, 1, 30 * 24 * 3600) * 1000,
      maxDeletions: settings.integer('MAX_DELETIONS', 1000, 1, 1_000_000),
    },
    webhook: webhook(settings),
    limits: {
      maxBackupBytes: BigInt(settings.integer('MAX_BACKUP_GIB', 1024, 1, 1_000_000)) * 1024n ** 3n,
      maxBackupMs: settings.integer('MAX_BACKUP_MINUTES', 720, 1, 100_000) * 60_000,
      sourceIdleMs: settings.integer('SOURCE_IDLE_SECONDS', 120, 5, 3600) * 1000,
      scanKeysPerSecond: settings.integer('SCAN_KEYS_PER_SECOND', 20_000, 10, 10_000_000),
      syncs: {
        windowMs: settings.integer('SOURCE_SYNC_MINUTES', 10, 1, 24 * 60) * 60_000,
        most: settings.integer('SOURCE_SYNCS', 60, 1, 100_000),
        mostFailed: settings.integer('SOURCE_FAILED_SYNCS', 6, 1, 100_000),
      },
    },
  };
  if (settings.mistakes.length > 0) throw new ConfigError(settings.mistakes);
  return deepFreeze(config);
};

/** Only what it takes to read archives: no other setting, right or wrong, stands in the way of who has lost everything else. */
export const readArchiveConfig = (env: Readonly<Record<string, string | undefined>> = process.env): ArchiveSettings & Pick<Config, 'connect'> => {
  const settings = new SettingsReader(env);
  // Nobody but whoever runs the command says what it dials.
  const config = { ...archiveSettings(settings, resolve(settings.text('DATA_DIR') ?? 'data')), connect: connectSettings(settings, true) };
  if (settings.mistakes.length > 0) throw new ConfigError(settings.mistakes);
  return deepFreeze(config);
};

const deepFreeze = <T>(value: T): T => {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) deepFreeze(inner);
  }
  return value;
};
