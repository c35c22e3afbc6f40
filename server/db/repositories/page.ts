import { Brackets, type ObjectLiteral, type SelectQueryBuilder } from 'typeorm';
import { type PageQuery, type PageResult } from '../../services/ports.js';

const COLUMNS = { createdAt: 'created_at', plannedAt: 'planned_at' } as const;
type OrderedBy = keyof typeof COLUMNS;

/**
 * One page of a list by keyset: a row comparison on `(created_at, id)` that the index of the same columns answers, so that the last page
 * costs what the first does and rows that come or go do not shift it. Fetches one row more than asked for, to know whether there is one.
 * @param orderedBy what stands in place of `createdAt`, also in the cursors
 */
export const fetchPage = async <E extends ObjectLiteral & { id: string } & ({ createdAt: Date } | { plannedAt: Date }), T>(
  query: SelectQueryBuilder<E>,
  page: PageQuery,
  toRecord: (entity: E) => T,
  orderedBy: OrderedBy = 'createdAt',
): Promise<PageResult<T>> => {
  const ascending = (page.order === 'OLDEST_FIRST') === page.forward;
  const alias = query.alias;
  if (page.from) {
    query.andWhere(`(${alias}.${COLUMNS[orderedBy]}, ${alias}.id) ${ascending ? '>' : '<'} (:fromCreatedAt, :fromId)`, {
      fromCreatedAt: page.from.createdAt,
      fromId: page.from.id,
    });
  }
  const direction = ascending ? 'ASC' : 'DESC';
  const rows = await query.orderBy(`${alias}.${orderedBy}`, direction).addOrderBy(`${alias}.id`, direction).limit(page.limit + 1).getMany();
  const items = rows.slice(0, page.limit).map(toRecord);
  return { items: page.forward ? items : items.reverse(), more: rows.length > page.limit };
};

/** Part of a text, any case, with the pattern characters of LIKE taken literally. */
export const containsText = (column: string, parameter: string, text: string): Brackets =>
  new Brackets((where) => {
    where.where(`${column} ILIKE :${parameter}`, { [parameter]: `%${text.replace(/[\\%_]/g, (c) => `\\${c}`)}%` });
  });
