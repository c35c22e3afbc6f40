import type { ApiKeys, Audit, Projects } from './access.js';
import type { Backups } from './backups.js';
import type { Connection } from './connection.js';
import type { TypedDocument } from './document.js';
import type { Instances } from './instances.js';
import type { Jobs } from './jobs.js';
import { lazyNoun, lazyStream, once } from './nouns.js';
import type { CallOptions, ClientOptions } from './options.js';
import type { Policies } from './policies.js';
import type { Restores } from './restores.js';
import type { Service, Viewer } from './service.js';

export interface Client {
  readonly instances: Instances;
  readonly policies: Policies;
  readonly backups: Backups;
  readonly restores: Restores;
  readonly jobs: Jobs;
  readonly projects: Projects;
  readonly apiKeys: ApiKeys;
  readonly audit: Audit;
  readonly service: Service;
  /** Who is calling, and with what rights. */
  viewer(options?: CallOptions): Promise<Viewer>;
  /**
   * Sends an own query or mutation. A mutation is repeated after a fault only when its variables hold `input.idempotencyKey`, which
   * `options.idempotencyKey` sets.
   */
  execute<Result, Variables = Record<string, unknown>>(document: TypedDocument<Result, Variables>, variables: Variables, options?: CallOptions): Promise<Result>;
  /** Follows an own subscription. It is not resumed after a cut, since only its author knows how: it throws with kind `network` then. */
  subscribe<Event, Variables = Record<string, unknown>>(document: TypedDocument<Event, Variables>, variables: Variables, options?: { signal?: AbortSignal; timeoutMs?: number }): AsyncIterableIterator<Event>;
  /** Ends every `watch`, `wait` and `events` with kind `aborted`, and closes the socket. Calls under way are not touched. */
  close(): void;
}

const baseUrl = (url: string): URL => {
  const base = new URL(url.endsWith('/') ? url : `${url}/`);
  if (base.protocol !== 'http:' && base.protocol !== 'https:') throw new TypeError('url: must begin with http:// or https://.');
  if (base.username !== '' || base.password !== '') throw new TypeError('url: must not hold a user name or password; give the API key as token.');
  return base;
};

/**
 * Makes a client. Connects to nothing, and loads the code behind no noun, before the first call. Throws a TypeError for options that cannot
 * work.
 */
export const createClient = (options: ClientOptions): Client => {
  const base = baseUrl(options.url);
  let opened: Connection | undefined;
  let closed = 0;
  const closings = (): number => closed;
  const connection = once(async () => (opened = (await import('./connection.js')).createConnection(base, options)));
  /** A noun from its module and the connection, both loaded at once. */
  const make = async <Module, Noun>(loading: Promise<Module>, create: (module: Module, connection: Connection) => Noun): Promise<Noun> => {
    const [module, open] = await Promise.all([loading, connection()]);
    return create(module, open);
  };
  const jobs = lazyNoun<Jobs>(closings, () => make(import('./jobs.js'), ({ createJobs }, open) => createJobs(open)), {
    get: 'call', list: 'list', cancel: 'mutation', watch: 'stream', wait: 'wait', events: 'stream',
  });
  const service = lazyNoun<Service>(closings, () => make(import('./service.js'), ({ createService }, open) => createService(open)), { info: 'call', viewer: 'call' });
  return {
    instances: lazyNoun<Instances>(closings, () => make(import('./instances.js'), ({ createInstances }, open) => createInstances(open)), {
      register: 'mutation', list: 'list', get: 'call', update: 'mutation', remove: 'mutation', probe: 'mutation', slots: 'list', recovery: 'call',
    }),
    policies: lazyNoun<Policies>(closings, () => make(import('./policies.js'), ({ createPolicies }, open) => createPolicies(open)), { get: 'call', set: 'mutation' }),
    backups: lazyNoun<Backups>(closings, () => make(import('./backups.js'), ({ createBackups }, open) => createBackups(open, jobs)), {
      create: 'mutation', list: 'list', retentionPreview: 'list', get: 'call', verify: 'mutation', inspect: 'mutation', inspection: 'call', keys: 'list',
      delete: 'mutation', watch: 'stream', wait: 'wait', link: 'mutation', revokeLinks: 'mutation', download: 'call',
    }),
    restores: lazyNoun<Restores>(closings, () => make(import('./restores.js'), ({ createRestores }, open) => createRestores(open, jobs)), {
      plan: 'mutation', getPlan: 'call', run: 'mutation', list: 'list', get: 'call', watch: 'stream', wait: 'wait',
    }),
    jobs,
    projects: lazyNoun<Projects>(closings, () => make(import('./access.js'), ({ createProjects }, open) => createProjects(open)), { list: 'list', create: 'mutation' }),
    apiKeys: lazyNoun<ApiKeys>(closings, () => make(import('./access.js'), ({ createApiKeys }, open) => createApiKeys(open)), { list: 'list', create: 'mutation', revoke: 'mutation' }),
    audit: lazyNoun<Audit>(closings, () => make(import('./access.js'), ({ createAudit }, open) => createAudit(open)), { list: 'list' }),
    service,
    viewer: service.viewer,
    execute: async (document, variables, call) => (await connection()).execute(document, variables, call),
    subscribe: (document, variables, follow) =>
      lazyStream('subscribe', closings, () => make(import('./subscription.js'), ({ subscribe }, open) => subscribe(open, document, variables, follow))),
    close: () => {
      closed += 1;
      opened?.close();
    },
  };
};
