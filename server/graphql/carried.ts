import { type GraphQLFieldResolver } from 'graphql';
import { type createResolversMap } from 'type-graphql';

type ResolversMap = ReturnType<typeof createResolversMap>;

/** Fields whose objects can come with their parents' records, under the fields' names; `undefined` there: they did not. */
const CARRIED: Readonly<Record<string, readonly string[]>> = { Backup: ['instance', 'job'] };

/** Gives what came with the parent at once: type-graphql's resolvers are asynchronous, and twenty rows with two promises each cost more than their SQL. */
export const givingCarried = (resolvers: ResolversMap): ResolversMap => {
  const changed: ResolversMap = { ...resolvers };
  for (const [typeName, fields] of Object.entries(CARRIED)) {
    const type = { ...(resolvers[typeName] as Record<string, GraphQLFieldResolver<Readonly<Record<string, unknown>>, unknown>>) };
    for (const field of fields) {
      const load = type[field];
      if (typeof load !== 'function') throw new Error(`${typeName}.${field} has no resolver.`);
      type[field] = (parent, args, context, info) => (parent[field] !== undefined ? parent[field] : load(parent, args, context, info) as unknown);
    }
    changed[typeName] = type as ResolversMap[string];
  }
  return changed;
};
