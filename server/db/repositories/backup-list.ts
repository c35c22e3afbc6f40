import { type EntityManager } from 'typeorm';
import { type PageQuery, type PageResult, type Scope } from '../../services/ports.js';
import { type BackupFilter, type BackupRecord, type InstanceRecord, type JobRecord } from '../../services/records.js';
import { type JoinedInstance, type ListedBackup, type WantedOfBackups } from '../../services/wanted.js';
import { BackupEntity } from '../entities/backup.entity.js';
import { InstanceEntity } from '../entities/instance.entity.js';
import { JobEntity } from '../entities/job.entity.js';
import { columnsOf, partReader, type PartReader, type ReadColumn } from '../parts.js';
import { fractionOf } from './job.repository.js';
import { RETAINED_BECAUSE } from './kept.js';
import { COUNTED, isAscending, likeText } from './page.js';
import { instancesOf } from './scoped.js';

/** What no list can do without: its order, and what else hangs on a backup. */
const ALWAYS = ['id', 'projectId', 'instanceId', 'jobId', 'createdAt'];

/** What records do not have of their rows; `satisfies` finds what is missing here. */
const UNSHOWN = {
  backup: { replicationId: true, replicationOffset: true } satisfies Record<Exclude<keyof BackupEntity, keyof BackupRecord>, true>,
  instance: { runId: true, secrets: true } satisfies Record<Exclude<keyof InstanceEntity, keyof InstanceRecord>, true>,
  job: { maxAttempts: true, serverRunId: true, fence: true, leaseUntil: true, worker: true, notBefore: true } satisfies Record<Exclude<keyof JobEntity, keyof JobRecord>, true>,
};

/** What records of backups have besides their rows. */
const DERIVED: readonly ReadColumn[] = [
  { property: 'durationMs', sql: (b) => `(extract(epoch FROM ${b}.completed_at - ${b}.started_at) * 1000)::int` },
  { property: 'retainedBecause', sql: () => RETAINED_BECAUSE },
];

type Joined = 'instance' | 'job';

interface Statement {
  /** The SELECT's list. */
  columns: string;
  joins: readonly Joined[];
  read(row: Readonly<Record<string, unknown>>): ListedBackup;
}

/** Made once for each set of what is wanted; documents are few. */
const statements = new Map<string, Statement>();
const MOST_STATEMENTS = 500;

const shownOf = (manager: EntityManager, entity: Parameters<typeof columnsOf>[1], unshown: object): ReadColumn[] =>
  [...columnsOf(manager, entity).values()].filter(({ property }) => !Object.hasOwn(unshown, property));

const withFraction = (progress: Parameters<typeof fractionOf>[0]): JobRecord['progress'] => ({ ...progress, fraction: fractionOf(progress) });

const statementFor = (manager: EntityManager, wanted: WantedOfBackups | undefined): Statement => {
  const key = wanted === undefined ? '' : [wanted.backup, wanted.instance, wanted.job].map((set) => (set === null ? '-' : [...set].sort().join(' '))).join(',');
  const known = statements.get(key);
  if (known) return known;

  const ofBackup = [...DERIVED, ...shownOf(manager, BackupEntity, UNSHOWN.backup)].map((column) =>
    column.property === 'verifications' ? { ...column, sql: (b: string) => `coalesce(${column.sql(b)}, '[]')` } : column);
  const ofJob = shownOf(manager, JobEntity, UNSHOWN.job).map((column) =>
    column.property === 'progress' ? { ...column, decode: (json: never) => withFraction(column.decode?.(json) as Parameters<typeof fractionOf>[0]) } : column);
  const backup = partReader<BackupRecord>({
    alias: 'b', prefix: 'b_', all: ofBackup, wanted: wanted ? new Set([...ALWAYS, ...wanted.backup]) : new Set(ofBackup.map(({ property }) => property)),
  });
  const instance = wanted?.instance && partReader<JoinedInstance>({
    alias: 'i', prefix: 'i_', all: shownOf(manager, InstanceEntity, UNSHOWN.instance), wanted: new Set(['id', 'projectId', ...[...wanted.instance].filter((name) => name !== 'capabilities')]),
  });
  const job = wanted?.job && partReader<JobRecord>({ alias: 'j', prefix: 'j_', all: ofJob, wanted: new Set(['id', 'projectId', ...wanted.job]) });

  const joined = <T>(reader: PartReader<T> | null | undefined, row: Readonly<Record<string, unknown>>, id: string): T | null => (reader && row[id] !== null ? reader.read(row) : null);
  const made: Statement = {
    columns: [...backup.columns, ...(instance?.columns ?? []), ...(job?.columns ?? [])].join(', '),
    joins: [...(instance ? ['instance' as const] : []), ...(job ? ['job' as const] : [])],
    read(row) {
      const record = backup.read(row) as { -readonly [K in keyof ListedBackup]: ListedBackup[K] };
      // One that is not there stays for the loader to say so.
      if (instance) record.instance = joined(instance, row, 'i_id') ?? undefined;
      if (job) record.job = joined(job, row, 'j_id');
      return record;
    },
  };
  if (statements.size >= MOST_STATEMENTS) statements.clear();
  statements.set(key, made);
  return made;
};

/** As the repositories of instances and jobs find them for the same scope. */
const JOINS: Readonly<Record<Joined, (scope: string) => string>> = {
  instance: () => 'LEFT JOIN instances i ON i.id = b.instance_id AND i.project_id = b.project_id',
  job: (scope) => `LEFT JOIN jobs j ON j.id = b.job_id AND j.project_id = b.project_id AND (${scope}::text[] IS NULL OR j.instance_id = ANY(${scope}))`,
};

type Bind = (value: unknown) => string;

const conditions = ({ projectId }: Scope, scoped: string, filter: BackupFilter, bind: Bind): string[] => {
  const where = [`b.project_id = ${bind(projectId)}`, `(${scoped}::text[] IS NULL OR b.instance_id = ANY(${scoped}))`];
  if (filter.instanceId != null) where.push(`b.instance_id = ${bind(filter.instanceId)}`);
  // The constant is what lets the partial indexes answer.
  where.push(filter.states ? `b.state = ANY(${bind(filter.states)})` : `b.state <> 'DELETED'`);
  if (filter.triggers) where.push(`b.trigger = ANY(${bind(filter.triggers)})`);
  if (filter.nameContains) where.push(`b.name ILIKE ${bind(likeText(filter.nameContains))}`);
  if (filter.createdFrom) where.push(`b.created_at >= ${bind(filter.createdFrom)}`);
  if (filter.createdBefore) where.push(`b.created_at < ${bind(filter.createdBefore)}`);
  return where;
};

const parameterList = (): { parameters: unknown[]; bind: Bind } => {
  const parameters: unknown[] = [];
  return { parameters, bind: (value) => `$${parameters.push(value)}` };
};

/**
 * One page of backups with what hangs on them, in one statement: the page is found first, by the index of its order, then each row is looked up. Of
 * several instances: one page of each, in one statement too.
 */
export const createBackupList = (manager: EntityManager) => {
  const pageOf = (where: readonly string[], page: PageQuery, bind: Bind): string => {
    const { limit, from } = page;
    const direction = isAscending(page) ? 'ASC' : 'DESC';
    const behind = from ? [`(b.created_at, b.id) ${direction === 'ASC' ? '>' : '<'} (${bind(from.createdAt)}, ${bind(from.id)})`] : [];
    // One row more than asked for, to know whether there is one.
    return `SELECT b.* FROM backups b WHERE ${[...where, ...behind].join(' AND ')} ORDER BY b.created_at ${direction}, b.id ${direction} LIMIT ${bind(limit + 1)}`;
  };
  const toPage = (rows: ListedBackup[], { forward, limit }: PageQuery): PageResult<ListedBackup> => {
    const items = rows.slice(0, limit);
    return { items: forward ? items : items.reverse(), more: rows.length > limit };
  };
  const orderOf = (page: PageQuery): string => {
    const direction = isAscending(page) ? 'ASC' : 'DESC';
    return `b.created_at ${direction}, b.id ${direction}`;
  };

  return {
    async list(scope: Scope, filter: BackupFilter, page: PageQuery, wanted?: WantedOfBackups): Promise<PageResult<ListedBackup>> {
      const { columns, joins, read } = statementFor(manager, wanted);
      const { parameters, bind } = parameterList();
      const scoped = bind(instancesOf(scope));
      const rows: Record<string, unknown>[] = await manager.query(
        `SELECT ${columns} FROM (${pageOf(conditions(scope, scoped, filter, bind), page, bind)}) b ${joins.map((join) => JOINS[join](scoped)).join(' ')} ORDER BY ${orderOf(page)}`, parameters,
      );
      return toPage(rows.map(read), page);
    },

    async listByInstance(scope: Scope, instanceIds: readonly string[], filter: BackupFilter, page: PageQuery, wanted?: WantedOfBackups): Promise<PageResult<ListedBackup>[]> {
      const { columns, joins, read } = statementFor(manager, wanted);
      const { parameters, bind } = parameterList();
      const scoped = bind(instancesOf(scope));
      const inner = pageOf([...conditions(scope, scoped, { ...filter, instanceId: null }, bind), 'b.instance_id = w.id'], page, bind);
      const rows: Record<string, unknown>[] = await manager.query(
        `SELECT ${columns} FROM unnest(${bind(instanceIds)}::text[]) w (id) CROSS JOIN LATERAL (${inner}) b ${joins.map((join) => JOINS[join](scoped)).join(' ')} ORDER BY ${orderOf(page)}`, parameters,
      );
      const found = new Map<string, ListedBackup[]>(instanceIds.map((id) => [id, []]));
      for (const row of rows) {
        const backup = read(row);
        found.get(backup.instanceId)?.push(backup);
      }
      return instanceIds.map((id) => toPage(found.get(id) ?? [], page));
    },

    async count(scope: Scope, filter: BackupFilter): Promise<number> {
      const { parameters, bind } = parameterList();
      const where = conditions(scope, bind(instancesOf(scope)), filter, bind);
      const [row]: { count: number }[] = await manager.query(`SELECT count(*)::int AS count FROM (SELECT 1 FROM backups b WHERE ${where.join(' AND ')} LIMIT ${COUNTED}) counted`, parameters);
      return row?.count ?? 0;
    },

    async countByInstance(scope: Scope, instanceIds: readonly string[], filter: BackupFilter): Promise<number[]> {
      const { parameters, bind } = parameterList();
      const where = conditions(scope, bind(instancesOf(scope)), { ...filter, instanceId: null }, bind);
      const rows: { id: string; count: number }[] = await manager.query(
        `SELECT w.id, (SELECT count(*)::int FROM (SELECT 1 FROM backups b WHERE ${where.join(' AND ')} AND b.instance_id = w.id LIMIT ${COUNTED}) counted) AS count FROM unnest(${bind(instanceIds)}::text[]) w (id)`,
        parameters,
      );
      const counts = new Map(rows.map(({ id, count }) => [id, count]));
      return instanceIds.map((id) => counts.get(id) ?? 0);
    },
  };
};
