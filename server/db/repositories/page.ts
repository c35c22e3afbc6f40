import { Brackets, type ObjectLiteral, type SelectQueryBuilder } from 'typeorm';
import { type PageQuery, type PageResult } from '../../services/ports.js';

/** Which way a page walks along the index of its order. */
export const isAscending = ({ order, forward }: PageQuery): boolean => (order === 'OLDEST_FIRST') === forward;

/**
 * One page of a list by keyset: a row comparison on `(created_at, id)` that the index of the same columns answers, so that the last page
 * costs what the first does and rows that come or go do not shift it. Fetches one row more than asked for, to know whether there is one.
 */
export const fetchPage = async <E extends ObjectLiteral & { id: string; createdAt: Date }, T>(
  query: SelectQueryBuilder<E>,
  page: PageQuery,
  toRecord: (entity: E) => T,
): Promise<PageResult<T>> => {
  const ascending = isAscending(page);
  const alias = query.alias;
  if (page.from) {
    query.andWhere(`(${alias}.created_at, ${alias}.id) ${ascending ? '>' : '<'} (:fromCreatedAt, :fromId)`, {
      fromCreatedAt: page.from.createdAt,
      fromId: page.from.id,
    });
  }
  const direction = ascending ? 'ASC' : 'DESC';
  const rows = await query.orderBy(`${alias}.createdAt`, direction).addOrderBy(`${alias}.id`, direction).limit(page.limit + 1).getMany();
  const items = rows.slice(0, page.limit).map(toRecord);
  return { items: page.forward ? items : items.reverse(), more: rows.length > page.limit };
};

/** How many rows of a list are counted: whoever asks for more learns that there are at least so many. The schema says so. */
export const COUNTED = 10_000;

/** How many rows there are, up to `COUNTED`: no count goes through a list from end to end. */
export const countUpTo = async <E extends ObjectLiteral>(query: SelectQueryBuilder<E>): Promise<number> => {
  const some = query.select('1', 'one').limit(COUNTED);
  const row = await some.createQueryBuilder().select('count(*)::int', 'count').from(`(${some.getQuery()})`, 'counted').setParameters(some.getParameters()).getRawOne<{ count: number }>();
  return row?.count ?? 0;
};

/** A pattern of LIKE for part of a text, its pattern characters taken literally. */
export const likeText = (text: string): string => `%${text.replace(/[\\%_]/g, (c) => `\\${c}`)}%`;

/** Part of a text, any case. */
export const containsText = (column: string, parameter: string, text: string): Brackets =>
  new Brackets((where) => {
    where.where(`${column} ILIKE :${parameter}`, { [parameter]: likeText(text) });
  });
