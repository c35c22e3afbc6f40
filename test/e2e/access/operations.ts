import { randomUUID } from 'node:crypto';
import { getNamedType, isInterfaceType, isListType, isNonNullType, isObjectType, type GraphQLField, type GraphQLOutputType, type GraphQLSchema } from 'graphql';
import { feedCursor } from '../../../server/domain/cursor.js';
import { type Verb } from '../../../server/domain/principal.js';
import { type World } from './world.js';

/**
 * `object`: about something of the world that others must not find. `list`: of such things. `own`: about the caller, or what all may see.
 * What is asked for is carried out as far as it can be without a server, on one world for all; `alone`: on one of that cell.
 */
export interface Row {
  verb: Verb;
  about: 'object' | 'list' | 'own';
  args?: (world: World) => Record<string, unknown>;
  alone?: true;
}

/** What each operation of the schema asks for. An operation without a row fails the test, and so does a row without an operation. */
export const ROWS: Readonly<Record<'query' | 'mutation' | 'subscription', Readonly<Record<string, Row>>>> = {
  query: {
    viewer: { verb: 'read', about: 'own' },
    service: { verb: 'read', about: 'own' },
    node: { verb: 'read', about: 'object', args: ({ slotId }) => ({ id: slotId }) },
    instance: { verb: 'read', about: 'object', args: ({ instanceId }) => ({ id: instanceId }) },
    instances: { verb: 'read', about: 'list' },
    backup: { verb: 'read', about: 'object', args: ({ backupId }) => ({ id: backupId }) },
    backups: { verb: 'read', about: 'list' },
    job: { verb: 'read', about: 'object', args: ({ jobId }) => ({ id: jobId }) },
    jobs: { verb: 'read', about: 'list' },
    restorePlan: { verb: 'read', about: 'object', args: ({ planId }) => ({ id: planId }) },
    restore: { verb: 'read', about: 'object', args: ({ restoreId }) => ({ id: restoreId }) },
    restores: { verb: 'read', about: 'list' },
    retentionPreview: { verb: 'read', about: 'list' },
    projects: { verb: 'observe', about: 'own' },
    apiKeys: { verb: 'administer', about: 'own' },
    auditEvents: { verb: 'administer', about: 'own' },
    rateLimit: { verb: 'read', about: 'own' },
  },
  mutation: {
    registerInstance: { verb: 'extend', about: 'own', args: () => ({ input: { name: 'x', host: '127.0.0.1', port: 1 } }) },
    updateInstance: { verb: 'operate', about: 'object', args: ({ instanceId }) => ({ input: { instanceId, name: randomUUID() } }) },
    removeInstance: { verb: 'operate', about: 'object', alone: true, args: ({ instanceId }) => ({ input: { instanceId, deleteBackups: true } }) },
    probeInstance: { verb: 'operate', about: 'object', args: ({ instanceId }) => ({ input: { instanceId } }) },
    setBackupPolicy: { verb: 'operate', about: 'object', args: ({ instanceId }) => ({ input: { instanceId, enabled: false } }) },
    backupNow: { verb: 'operate', about: 'object', args: ({ instanceId }) => ({ input: { instanceId, name: 'x' } }) },
    cancelJob: { verb: 'operate', about: 'object', args: ({ jobId }) => ({ input: { jobId } }) },
    verifyBackup: { verb: 'operate', about: 'object', args: ({ backupId }) => ({ input: { backupId, level: 'CONTENT' } }) },
    inspectBackup: { verb: 'operate', about: 'object', args: ({ backupId }) => ({ input: { backupId } }) },
    deleteBackup: { verb: 'operate', about: 'object', args: ({ backupId }) => ({ input: { backupId, force: true } }) },
    createDownloadLink: { verb: 'operate', about: 'object', args: ({ backupId }) => ({ input: { backupId } }) },
    revokeDownloadLinks: { verb: 'operate', about: 'object', args: ({ backupId }) => ({ input: { backupId } }) },
    createRestorePlan: { verb: 'operate', about: 'object', args: ({ backupId, instanceId }) => ({ input: { backupId, instanceId } }) },
    restoreBackup: { verb: 'operate', about: 'object', args: ({ planId }) => ({ input: { planId, confirmation: 'x' } }) },
    createProject: { verb: 'govern', about: 'own', args: () => ({ input: { name: randomUUID() } }) },
    createApiKey: { verb: 'administer', about: 'own', args: () => ({ input: { name: 'x', role: 'VIEWER' } }) },
    revokeApiKey: { verb: 'administer', about: 'object', args: ({ keyId }) => ({ input: { apiKeyId: keyId } }) },
  },
  subscription: {
    jobProgress: { verb: 'read', about: 'object', args: ({ jobId }) => ({ jobId }) },
    jobEvents: { verb: 'read', about: 'own', args: () => ({ after: feedCursor('0') }) },
  },
};

const isList = (type: GraphQLOutputType): boolean => isListType(isNonNullType(type) ? type.ofType : type);

const selectionOf = (field: GraphQLField<unknown, unknown>): string => {
  const type = getNamedType(field.type);
  if (!isObjectType(type) && !isInterfaceType(type)) return '';
  const fields = type.getFields();
  if (fields['userErrors']) return '{ userErrors { code field } }';
  return fields['nodes'] ? '{ nodes { __typename } }' : '{ __typename }';
};

/** One operation on one root field, with its arguments as variables. */
export const documentOf = (kind: keyof typeof ROWS, field: GraphQLField<unknown, unknown>): string => {
  const declared = field.args.map(({ name, type }) => `$${name}: ${type.toString()}`).join(', ');
  const given = field.args.map(({ name }) => `${name}: $${name}`).join(', ');
  return `${kind} ${declared && `(${declared})`} { ${field.name}${given && `(${given})`} ${selectionOf(field)} }`;
};

export const fieldsOf = (schema: GraphQLSchema, kind: keyof typeof ROWS): GraphQLField<unknown, unknown>[] => {
  const type = { query: schema.getQueryType(), mutation: schema.getMutationType(), subscription: schema.getSubscriptionType() }[kind];
  const fields = Object.values(type?.getFields() ?? {});
  for (const { name, type: of } of fields) if (isList(of)) throw new Error(`${name} is a bare list, of which nobody could tell whether it is empty`);
  return fields;
};

interface Answer {
  data?: Record<string, { userErrors?: { code: string; field: string[] | null }[]; nodes?: unknown[] } | null> | null | undefined;
  errors?: readonly { extensions?: { code?: unknown } }[] | undefined;
}

/**
 * What a caller learns from an answer: `IN` when it was let to the object, whatever came of it; `NOTHING` when there is none for it, which is all that
 * others may see of it; otherwise the code of the refusal.
 */
export const outcomeOf = (name: string, { data, errors }: Answer): string => {
  const code = errors?.[0]?.extensions?.code;
  if (code !== undefined) return code === 'NOT_FOUND' ? 'NOTHING' : String(code);
  const value = data?.[name];
  if (value == null) return 'NOTHING';
  // A backup without an archive is NOT_FOUND, too: but no field of the input is to blame for it.
  if (value.userErrors?.some(({ code: why, field }) => why === 'NOT_FOUND' && field !== null)) return 'NOTHING';
  return value.nodes?.length === 0 ? 'NOTHING' : 'IN';
};
