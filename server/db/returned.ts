import { type EntityManager, type EntityTarget, type ObjectLiteral } from 'typeorm';

/** What `RETURNING *` of a statement gave, as `find` would have read it: another statement less for whoever changes a row and has to know it. */
export const returned = <T extends ObjectLiteral>({ connection }: EntityManager, target: EntityTarget<T>, row: Readonly<Record<string, unknown>>): T => {
  const metadata = connection.getMetadata(target);
  const entity = metadata.create() as T;
  for (const column of metadata.columns) column.setEntityValue(entity, connection.driver.prepareHydratedValue(row[column.databaseName], column));
  return entity;
};
