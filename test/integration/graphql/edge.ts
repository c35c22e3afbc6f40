import { type GraphQLSchema } from 'graphql';
import { DomainError } from '../../../server/domain/errors.js';
import { authorise, type Principal } from '../../../server/domain/principal.js';
import { buildServedSchema } from '../../../server/graphql/schema.js';
import { createHttpApp, type HttpApp, type HttpAppDeps } from '../../../server/http/app.js';
import { type Services } from '../../../server/services/api.js';
import { type BackupRecord, type InstanceRecord, type JobRecord, type Page } from '../../../server/services/records.js';
import { policy, PROJECT } from './records.js';

export const ADMIN_KEY = 'sb_admin';
export const VIEWER_KEY = 'sb_viewer';
const OF_PROJECT = { credential: 'API_KEY', projectId: PROJECT, instanceIds: null, expiresAt: null } as const;
const PRINCIPALS: Record<string, Principal> = {
  [ADMIN_KEY]: { ...OF_PROJECT, keyId: 'key_admin', name: 'admin', role: 'ADMIN', serviceWide: true },
  [VIEWER_KEY]: { ...OF_PROJECT, keyId: 'key_viewer', name: 'viewer', role: 'VIEWER', serviceWide: false },
};

type Deep<T> = { [K in keyof T]?: Partial<T[K]> };

/** Services that hold nothing: any method that a test does not give is a fault. */
export const fakeServices = (given: Deep<Services>): Services =>
  new Proxy({} as Services, {
    get: (_target, noun: keyof Services) => new Proxy({}, {
      get: (_inner, method: string) => {
        const own = given[noun] as Record<string, unknown> | undefined;
        return own?.[method] ?? (() => Promise.reject(new Error(`The test gave no ${noun}.${method}`)));
      },
    }),
  });

export const pageOf = <T extends { id: string }>(items: readonly T[], counted?: () => void): Page<T> => ({
  items: items.map((item) => ({ cursor: `at-${item.id}`, item })), hasNextPage: false, hasPreviousPage: false,
  totalCount: async () => {
    counted?.();
    return items.length;
  },
});

/** Reading services over a few records; they count their calls, so that a test can see N+1. */
export const readServices = (data: { instances: InstanceRecord[]; backups: BackupRecord[]; jobs: JobRecord[] }) => {
  const calls: string[] = [];
  const many = <T extends { id: string }>(name: string, rows: readonly T[]) => async (_caller: unknown, ids: readonly string[]): Promise<(T | null)[]> => {
    calls.push(`${name}(${ids.length})`);
    return ids.map((id) => rows.find((row) => row.id === id) ?? null);
  };
  const one = <T extends { id: string }>(name: string, rows: readonly T[]) => async (_caller: unknown, id: string): Promise<T | null> => {
    calls.push(`${name} ${id.slice(0, 3)}`);
    return rows.find((row) => row.id === id) ?? null;
  };
  const services: Deep<Services> = {
    instances: {
      get: one('instances.get', data.instances), getMany: many('instances.getMany', data.instances),
      list: async () => pageOf(data.instances, () => calls.push('instances.totalCount')),
    },
    policies: {
      getManyByInstance: async (_caller, ids) => {
        calls.push(`policies.getManyByInstance(${ids.length})`);
        return ids.map(policy);
      },
    },
    backups: {
      get: one('backups.get', data.backups), getMany: many('backups.getMany', data.backups),
      list: async (_caller, filter) => pageOf(data.backups.filter((row) => filter.instanceId === undefined || row.instanceId === filter.instanceId), () => calls.push('backups.totalCount')),
      listByInstance: async (_caller, ids) => {
        calls.push(`backups.listByInstance(${ids.length})`);
        return ids.map((id) => pageOf(data.backups.filter((row) => row.instanceId === id), () => calls.push('backups.totalCount')));
      },
      latestByInstance: async (_caller, ids) => {
        calls.push(`backups.latestByInstance(${ids.length})`);
        return ids.map((id) => data.backups.find((row) => row.instanceId === id) ?? null);
      },
    },
    jobs: {
      get: one('jobs.get', data.jobs), getMany: many('jobs.getMany', data.jobs),
      runningByInstance: async (_caller, ids) => {
        calls.push(`jobs.runningByInstance(${ids.length})`);
        return ids.map(() => null);
      },
    },
    service: {
      viewer: async (caller) => {
        authorise(caller, 'read');
        return { ...caller, keyName: 'test', project: { id: PROJECT, name: 'default', createdAt: new Date(0) } };
      },
    },
  };
  return { services, calls };
};

export interface LogLine {
  level: string;
  message: string;
  fields: Record<string, unknown>;
}

export interface Edge {
  app: HttpApp;
  url: string;
  wsUrl: string;
  log: LogLine[];
  /** Sends an operation with the ADMIN key unless other headers are given. */
  ask(query: string, variables?: Record<string, unknown>, headers?: Record<string, string>): Promise<{ status: number; headers: Headers; body: Answer }>;
  stop(): Promise<void>;
}

export interface Answer {
  data?: Record<string, unknown> | null;
  errors?: { message: string; path?: (string | number)[]; extensions: Record<string, unknown> }[];
}

let schema: Promise<GraphQLSchema> | undefined;

export const startEdge = async (services: Services, over: Partial<HttpAppDeps> = {}): Promise<Edge> => {
  const log: LogLine[] = [];
  const line = (level: string) => (message: string, fields: Record<string, unknown> = {}): void => void log.push({ level, message, fields });
  schema ??= buildServedSchema();
  const app = await createHttpApp({
    schema: await schema, services,
    authenticate: async (token) => PRINCIPALS[token],
    watchAccess: () => ({ holds: async () => true, end: () => undefined }),
    downloads: { open: () => Promise.reject(new DomainError('NOT_FOUND', 'No such link.')) },
    readiness: async () => [],
    metrics: async () => '# nothing\n',
    log: { info: line('info'), warn: line('warn'), error: line('error') },
    ...over,
  });
  const { port } = await app.listen(0, '127.0.0.1');
  const url = `http://127.0.0.1:${port}`;
  return {
    app, url, wsUrl: `ws://127.0.0.1:${port}/graphql`, log,
    async ask(query, variables, headers = { authorization: `Bearer ${ADMIN_KEY}` }) {
      const response = await fetch(`${url}/graphql`, {
        method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify({ query, variables }),
      });
      return { status: response.status, headers: response.headers, body: await response.json() as Answer };
    },
    stop: () => app.stop(500),
  };
};
