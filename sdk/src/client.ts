import { createApiKeys, createAudit, createProjects, type ApiKeys, type Audit, type Projects } from './access.js';
import { createBackups, type Backups } from './backups.js';
import { createConnection } from './connection.js';
import { type TypedDocument } from './document.js';
import { ServiceInfoDocument, ViewerDocument, type ServiceInfoQuery, type ViewerQuery } from './generated/operations.js';
import { createInstances, type Instances } from './instances.js';
import { createJobs, type Jobs } from './jobs.js';
import { type CallOptions, type ClientOptions, type KeyedCallOptions } from './options.js';
import { createPolicies, type Policies } from './policies.js';
import { createRestores, type Restores } from './restores.js';
import { follow } from './stream.js';
import { openSubscription } from './subscription.js';

export interface Client {
  readonly instances: Instances;
  readonly policies: Policies;
  readonly backups: Backups;
  readonly restores: Restores;
  readonly jobs: Jobs;
  readonly projects: Projects;
  readonly apiKeys: ApiKeys;
  readonly audit: Audit;
  readonly service: {
    /** What the service is and allows. */
    info(options?: CallOptions): Promise<ServiceInfoQuery['service']>;
  };
  /** Who is calling, and with what rights. */
  viewer(options?: CallOptions): Promise<ViewerQuery['viewer']>;
  /**
   * Sends an own query or mutation. A mutation is repeated after a fault only when its variables hold `input.idempotencyKey`, which
   * `options.idempotencyKey` sets.
   */
  execute<Result, Variables = Record<string, unknown>>(document: TypedDocument<Result, Variables>, variables: Variables, options?: KeyedCallOptions): Promise<Result>;
  /** Follows an own subscription. It is not resumed after a cut, since only its author knows how: it throws with kind `network` then. */
  subscribe<Event, Variables = Record<string, unknown>>(document: TypedDocument<Event, Variables>, variables: Variables, options?: { signal?: AbortSignal }): AsyncIterableIterator<Event>;
  /** Ends every `watch`, `wait` and `events` with kind `aborted`, and closes the socket. Calls under way are not touched. */
  close(): void;
}

/** Makes a client. Connects to nothing before the first call. Throws a TypeError for options that cannot work. */
export const createClient = (options: ClientOptions): Client => {
  const connection = createConnection(options);
  const jobs = createJobs(connection);
  return {
    instances: createInstances(connection),
    policies: createPolicies(connection),
    backups: createBackups(connection, jobs),
    restores: createRestores(connection, jobs),
    jobs,
    projects: createProjects(connection),
    apiKeys: createApiKeys(connection),
    audit: createAudit(connection),
    service: { info: async (call) => (await connection.execute(ServiceInfoDocument, {}, call)).service },
    viewer: async (call) => (await connection.execute(ViewerDocument, {}, call)).viewer,
    execute: connection.execute,
    subscribe: (document, variables, { signal: outer } = {}) => {
      const what = 'The subscription';
      return follow(what, outer, (signal) => openSubscription(connection, document, variables, { what, signal }));
    },
    close: connection.close,
  };
};
