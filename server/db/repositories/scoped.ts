import { In, type FindOperator, type ObjectLiteral, type SelectQueryBuilder } from 'typeorm';
import { type Scope } from '../../services/ports.js';

/** Conditions of `find` on rows that belong to instances. */
export const owned = ({ projectId, instanceIds }: Scope): { projectId: string; instanceId?: FindOperator<string> } =>
  instanceIds == null ? { projectId } : { projectId, instanceId: In([...instanceIds]) };

/**
 * Narrows a query to the rows of a scope.
 * @param instances which column or columns, all of which must name an instance of the scope
 */
export const within = <E extends ObjectLiteral>(query: SelectQueryBuilder<E>, { projectId, instanceIds }: Scope, ...instances: readonly string[]): SelectQueryBuilder<E> => {
  query.andWhere(`${query.alias}.projectId = :scopeProject`, { scopeProject: projectId });
  if (instanceIds != null) for (const instance of instances) query.andWhere(`${instance} = ANY(:scopeInstances)`, { scopeInstances: instanceIds });
  return query;
};

/** For statements of their own: what `column = ANY(...)` or NULL takes. */
export const instancesOf = ({ instanceIds }: Scope): readonly string[] | null => instanceIds ?? null;
