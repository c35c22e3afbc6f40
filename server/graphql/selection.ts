import { type FieldNode, type GraphQLResolveInfo, Kind, type SelectionSetNode } from 'graphql';
import { type WantedOfBackups } from '../services/wanted.js';

/** Fields selected at one place, by name, each with everything that is selected below it. */
type Selected = ReadonlyMap<string, readonly SelectionSetNode[]>;

/**
 * Fragments are opened whatever type they are on, and directives are not looked at: more may be named than is asked for, never less. Only for documents
 * within the limits of their expansion.
 */
const fieldsOf = (sets: readonly SelectionSetNode[], info: GraphQLResolveInfo): Selected => {
  const found = new Map<string, SelectionSetNode[]>();
  const collect = (set: SelectionSetNode): void => {
    for (const selection of set.selections) {
      if (selection.kind === Kind.FIELD) {
        const name = selection.name.value;
        const below = found.get(name) ?? [];
        if (selection.selectionSet) below.push(selection.selectionSet);
        found.set(name, below);
      } else if (selection.kind === Kind.INLINE_FRAGMENT) collect(selection.selectionSet);
      else {
        const fragment = info.fragments[selection.name.value];
        if (fragment) collect(fragment.selectionSet);
      }
    }
  };
  for (const set of sets) collect(set);
  return found;
};

/** What the fields that have resolvers read of their record; every other field is a property of it. */
const READ_BY: Readonly<Record<'backup' | 'instance' | 'job', Readonly<Record<string, readonly string[]>>>> = {
  backup: {
    __typename: [], instance: ['instanceId'], job: ['jobId'], consistency: ['captureMethod'], verification: ['verifications'],
    inspection: ['state', 'types', 'keys', 'expiringKeys', 'databases'],
  },
  instance: { __typename: [], policy: [], latestBackup: [], backups: [], runningJob: [], slots: [], recovery: [] },
  job: { __typename: [], instance: ['instanceId'], backup: ['backupId'], restore: ['restoreId'] },
};

const readFor = (of: keyof typeof READ_BY, selected: Selected): ReadonlySet<string> => new Set([...selected.keys()].flatMap((name) => READ_BY[of][name] ?? [name]));

const look = (info: GraphQLResolveInfo): WantedOfBackups => {
  const connection = fieldsOf(info.fieldNodes.flatMap(({ selectionSet }) => selectionSet ?? []), info);
  const edges = fieldsOf(connection.get('edges') ?? [], info);
  const backup = fieldsOf([...(connection.get('nodes') ?? []), ...(edges.get('node') ?? [])], info);
  const instance = backup.has('instance') ? fieldsOf(backup.get('instance') ?? [], info) : null;
  return {
    backup: readFor('backup', backup),
    // What it can do is judged by the service of instances, which the loader asks.
    instance: instance === null || instance.has('capabilities') ? null : readFor('instance', instance),
    job: backup.has('job') ? readFor('job', fieldsOf(backup.get('job') ?? [], info)) : null,
  };
};

/** Whether a field of what a field answers is asked for, however often and deep in fragments. */
export const isSelected = (info: GraphQLResolveInfo, name: string): boolean => fieldsOf(info.fieldNodes.flatMap(({ selectionSet }) => selectionSet ?? []), info).has(name);

/** Documents that passed are kept, and so are what their fields want. */
const looked = new WeakMap<FieldNode, WantedOfBackups>();

/** What a field that answers a `BackupConnection` wants of its backups. */
export const wantedOfBackups = (info: GraphQLResolveInfo): WantedOfBackups => {
  const [field, ...more] = info.fieldNodes;
  if (!field || more.length > 0) return look(info);
  const known = looked.get(field);
  if (known) return known;
  const wanted = look(info);
  looked.set(field, wanted);
  return wanted;
};
