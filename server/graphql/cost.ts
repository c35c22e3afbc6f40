import {
  type FragmentDefinitionNode, type DocumentNode, type FieldNode, getNamedType, type GraphQLCompositeType, type GraphQLField, type GraphQLSchema, isCompositeType, isListType, isNonNullType, Kind,
  type OperationDefinitionNode, SchemaMetaFieldDef, type SelectionSetNode, TypeMetaFieldDef,
} from 'graphql';

/** A page as long as nobody says how many, and the longest there is: as the services have it. */
const PAGE = 20;
const LONGEST_PAGE = 100;
/** What a list without pages is taken to hold. */
const LIST = 5;

/** How many there may be of a field's values, for each of its parents; a page's size goes down to its `nodes` and `edges`. */
const pageOf = (field: GraphQLField<unknown, unknown>, node: FieldNode, variables: Readonly<Record<string, unknown>>): number | undefined => {
  const sizes = field.args.filter(({ name }) => name === 'first' || name === 'last');
  if (sizes.length === 0) return undefined;
  const given = sizes.map(({ name, defaultValue }): unknown => {
    const value = node.arguments?.find((argument) => argument.name.value === name)?.value;
    if (value?.kind === Kind.INT) return Number(value.value);
    return value?.kind === Kind.VARIABLE ? (variables[value.name.value] ?? defaultValue) : defaultValue;
  }).filter((size) => typeof size === 'number');
  // More than the longest is refused by the service.
  return Math.min(LONGEST_PAGE, Math.max(0, ...given.map(Number), ...(given.length === 0 ? [PAGE] : [])));
};

const isList = (type: GraphQLField<unknown, unknown>['type']): boolean => isListType(type) || (isNonNullType(type) && isListType(type.ofType));

/**
 * How many values the answer to an operation may hold: each field counts for each place where it may stand. What has no field in the schema counts
 * nothing; validation refuses it. Only for documents within the limits of their expansion.
 */
export const costOf = (schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode, variables: Readonly<Record<string, unknown>>): number => {
  const fragments = new Map<string, FragmentDefinitionNode>();
  for (const definition of document.definitions) if (definition.kind === Kind.FRAGMENT_DEFINITION) fragments.set(definition.name.value, definition);

  const fieldOf = (parent: GraphQLCompositeType, name: string): GraphQLField<unknown, unknown> | undefined => {
    if (name === SchemaMetaFieldDef.name) return SchemaMetaFieldDef;
    if (name === TypeMetaFieldDef.name) return TypeMetaFieldDef;
    return 'getFields' in parent ? parent.getFields()[name] : undefined;
  };
  const within = (condition: string | undefined, parent: GraphQLCompositeType): GraphQLCompositeType => {
    const type = condition === undefined ? parent : schema.getType(condition);
    return isCompositeType(type) ? type : parent;
  };
  const cost = (set: SelectionSetNode, parent: GraphQLCompositeType, page: number | undefined): number => {
    let sum = 0;
    for (const selection of set.selections) {
      if (selection.kind === Kind.INLINE_FRAGMENT) sum += cost(selection.selectionSet, within(selection.typeCondition?.name.value, parent), page);
      else if (selection.kind === Kind.FRAGMENT_SPREAD) {
        const fragment = fragments.get(selection.name.value);
        if (fragment) sum += cost(fragment.selectionSet, within(fragment.typeCondition.name.value, parent), page);
      } else {
        const field = fieldOf(parent, selection.name.value);
        const type = field && getNamedType(field.type);
        if (!field || !type) continue;
        const below = selection.selectionSet && isCompositeType(type) ? cost(selection.selectionSet, type, pageOf(field, selection, variables)) : 0;
        sum += (isList(field.type) ? (page ?? LIST) : 1) * (1 + below);
      }
    }
    return sum;
  };
  const root = schema.getRootType(operation.operation);
  return root ? Math.max(1, cost(operation.selectionSet, root, undefined)) : 1;
};
