import { ArgsType, type ClassType, Field, Int, ObjectType } from 'type-graphql';
import { type Page, type PageArgs } from '../services/records.js';
import { ListOrderEnum } from './enums.js';
import { Plain } from './types/node.type.js';

@Plain()
export class PageInfo {
  @Field(() => Boolean) hasNextPage!: boolean;
  @Field(() => Boolean) hasPreviousPage!: boolean;
  @Field(() => String, { nullable: true }) startCursor!: string | null;
  @Field(() => String, { nullable: true }) endCursor!: string | null;
}

export interface ConnectionRecord<T> {
  nodes: readonly T[];
  edges: readonly { cursor: string; node: T }[];
  pageInfo: PageInfo;
  /** Called by graphql-js only when the field is selected. */
  totalCount: () => Promise<number>;
}

/** Makes `<name>Connection` and `<name>Edge` for a type. Call it once per type. */
export const connectionOf = (name: string, node: () => ClassType): ClassType<ConnectionRecord<unknown>> => {
  @ObjectType(`${name}Edge`, { simpleResolvers: true })
  class Edge {
    @Field(() => String) cursor!: string;
    @Field(node) node!: unknown;
  }
  @ObjectType(`${name}Connection`, { simpleResolvers: true })
  class Connection {
    @Field(() => [node()]) nodes!: readonly unknown[];
    @Field(() => [Edge]) edges!: readonly { cursor: string; node: unknown }[];
    @Field(() => PageInfo) pageInfo!: PageInfo;
    @Field(() => Int) totalCount!: () => Promise<number>;
  }
  return Connection;
};

export const toConnection = <T>(page: Page<T>): ConnectionRecord<T> => ({
  nodes: page.items.map(({ item }) => item),
  edges: page.items.map(({ cursor, item }) => ({ cursor, node: item })),
  pageInfo: {
    hasNextPage: page.hasNextPage,
    hasPreviousPage: page.hasPreviousPage,
    startCursor: page.items[0]?.cursor ?? null,
    endCursor: page.items[page.items.length - 1]?.cursor ?? null,
  },
  totalCount: () => page.totalCount(),
});

/** The arguments of every list. The services check them. */
@ArgsType()
export class ListArgs implements PageArgs {
  @Field(() => ListOrderEnum, { nullable: true, defaultValue: 'NEWEST_FIRST' }) order?: 'NEWEST_FIRST' | 'OLDEST_FIRST' | null;
  @Field(() => Int, { nullable: true }) first?: number | null;
  @Field(() => String, { nullable: true }) after?: string | null;
  @Field(() => Int, { nullable: true }) last?: number | null;
  @Field(() => String, { nullable: true }) before?: string | null;
}

export const pageOf = ({ first, after, last, before, order }: ListArgs): PageArgs => ({ first, after, last, before, order });
