import 'reflect-metadata';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { makeExecutableSchema } from '@graphql-tools/schema';
import { type DocumentNode, GraphQLScalarType, type GraphQLSchema, isScalarType, Kind, parse } from 'graphql';
import { buildSchema, createResolversMap, type NonEmptyArray, type PubSub } from 'type-graphql';
import { givingCarried } from './carried.js';
import { AccessResolver, ApiKeyResolver } from './resolvers/access.resolver.js';
import { AuditResolver } from './resolvers/audit.resolver.js';
import { BackupResolver, BackupVerificationResolver } from './resolvers/backup.resolver.js';
import { BackupInspectionResolver, InspectionResolver } from './resolvers/inspection.resolver.js';
import { InstanceResolver } from './resolvers/instance.resolver.js';
import { JobConnectionResolver, JobResolver } from './resolvers/job.resolver.js';
import { PolicyResolver } from './resolvers/policy.resolver.js';
import { RateLimitResolver } from './resolvers/rate-limit.resolver.js';
import { InstanceRecoveryResolver, RecoveryResolver } from './resolvers/recovery.resolver.js';
import { RestorePlanResolver, RestoreResolver } from './resolvers/restore.resolver.js';
import { RetentionResolver } from './resolvers/retention.resolver.js';
import { ServiceResolver } from './resolvers/service.resolver.js';
import { InstanceSlotsResolver, SlotResolver } from './resolvers/slot.resolver.js';
import { assertSameSchema } from './schema-gate.js';

const RESOLVERS: NonEmptyArray<new () => object> = [
  ServiceResolver, InstanceResolver, PolicyResolver, BackupResolver, BackupVerificationResolver, InspectionResolver, BackupInspectionResolver, JobResolver, JobConnectionResolver, RestorePlanResolver, RestoreResolver,
  AccessResolver, ApiKeyResolver, AuditResolver, RetentionResolver, SlotResolver, InstanceSlotsResolver, RecoveryResolver, InstanceRecoveryResolver, RateLimitResolver,
];

/** type-graphql asks for one as soon as there is a subscription; ours bring their own iterators, so it is never used. */
const NO_PUB_SUB: PubSub = {
  publish: () => undefined,
  subscribe: () => {
    throw new Error('Subscriptions are served by the services, not by type-graphql.');
  },
};

/** Finds `schema/` beside `server/` as well as above `dist/server/`. */
const schemaFolder = (): string => {
  const start = dirname(fileURLToPath(import.meta.url));
  for (let folder = start; ; folder = dirname(folder)) {
    if (existsSync(join(folder, 'schema', 'common.graphql'))) return join(folder, 'schema');
    if (folder === dirname(folder)) throw new Error(`There is no schema/common.graphql in any folder above ${start}.`);
  }
};

/** The contract as authored: all of `schema/*.graphql`, in the order of the file names. */
export const readSdl = (folder = schemaFolder()): string =>
  readdirSync(folder).filter((name) => name.endsWith('.graphql')).sort().map((name) => readFileSync(join(folder, name), 'utf8')).join('\n');

/** The schema as the classes define it, without descriptions. */
export const buildClassSchema = (): Promise<GraphQLSchema> =>
  buildSchema({ resolvers: RESOLVERS, pubSub: NO_PUB_SUB, validate: false, disableInferringDefaultValues: true });

let served: Promise<GraphQLSchema> | undefined;

/**
 * The executable schema: the SDL with its descriptions, resolved by the classes. Throws when the two differ in anything but
 * descriptions. Holds no services: these come with each request's context, so that one schema serves any number of apps; that of
 * the contract as authored is built once.
 */
export const buildServedSchema = (sdl?: string): Promise<GraphQLSchema> => (sdl === undefined ? (served ??= build()) : build(sdl));

const build = async (sdl = readSdl()): Promise<GraphQLSchema> => {
  const document: DocumentNode = parse(sdl);
  const classes = await buildClassSchema();
  assertSameSchema(document, classes);
  return makeExecutableSchema({ typeDefs: document, resolvers: [givingCarried(createResolversMap(classes)), describedScalars(document, classes)] });
};

/** A scalar's implementation replaces the SDL's scalar, description and all: so it gets the SDL's description first. */
const describedScalars = (document: DocumentNode, classes: GraphQLSchema): Record<string, GraphQLScalarType> => {
  const scalars: Record<string, GraphQLScalarType> = {};
  for (const definition of document.definitions) {
    if (definition.kind !== Kind.SCALAR_TYPE_DEFINITION) continue;
    const type = classes.getType(definition.name.value);
    if (isScalarType(type)) scalars[type.name] = new GraphQLScalarType({ ...type.toConfig(), description: definition.description?.value });
  }
  return scalars;
};
