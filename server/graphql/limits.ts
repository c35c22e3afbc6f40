import { type DocumentNode, type FieldNode, type FragmentDefinitionNode, GraphQLError, Kind, type OperationDefinitionNode, type SelectionSetNode } from 'graphql';

/** What a document may hold, fragments followed. All but its cost is counted before validation, which never sees a document above these. */
export interface DocumentLimits {
  /** Characters of the text. Long values belong into variables. */
  maxLength: number;
  /** Lexical tokens of the whole text. */
  maxTokens: number;
  /** Levels of fields, those below `__schema` and `__type` apart. */
  maxDepth: number;
  /** Levels of fields below `__schema` and `__type`; a fragment by itself may be meant for either. */
  maxIntrospectionDepth: number;
  /** Fields as executed: a fragment counts each time it is spread, and so does the spread itself. */
  maxFields: number;
  maxAliases: number;
  /** Fields of the operation itself. */
  maxRootFields: number;
  maxDirectives: number;
  /** Operations and fragments in one document. */
  maxDefinitions: number;
  /** `__schema` and `__type` in the operation: what they answer is long. */
  maxIntrospections: number;
  /** Pairs of fields at the same place of the answer, which validation compares with each other. */
  maxPairs: number;
  /** Values that the answer may hold, by `costOf`. */
  maxCost: number;
  /** The same of each event of a subscription. */
  maxEventCost: number;
}

export const DEFAULT_LIMITS: DocumentLimits = {
  maxLength: 100_000, maxTokens: 4_000, maxDepth: 12, maxIntrospectionDepth: 16, maxFields: 2_000, maxAliases: 100, maxRootFields: 20, maxDirectives: 50, maxDefinitions: 50,
  maxIntrospections: 3, maxPairs: 2_000, maxCost: 20_000, maxEventCost: 5_000,
};

interface Size {
  depth: number;
  introspectionDepth: number;
  fields: number;
  aliases: number;
  directives: number;
}

const NOTHING: Size = { depth: 0, introspectionDepth: 0, fields: 0, aliases: 0, directives: 0 };

export const refuse = (what: string, limit: number): GraphQLError =>
  new GraphQLError(`The document has ${what}; at most ${limit} are allowed.`, { extensions: { code: 'LIMIT_EXCEEDED' } });

/**
 * Measures each fragment once, however often it is spread, so the time is linear in the document even where its expansion is not.
 * A fragment that contains itself measures as infinite.
 */
const makeMeasure = (document: DocumentNode): ((set: SelectionSetNode) => Size) => {
  const fragments = new Map<string, FragmentDefinitionNode>();
  for (const definition of document.definitions) {
    if (definition.kind === Kind.FRAGMENT_DEFINITION) fragments.set(definition.name.value, definition);
  }
  const measured = new Map<string, Size>();
  const open = new Set<string>();
  const endless: Size = { depth: Infinity, introspectionDepth: 0, fields: Infinity, aliases: 0, directives: 0 };

  const measureSpread = (name: string): Size => {
    const known = measured.get(name);
    if (known) return known;
    if (open.has(name)) return endless;
    const fragment = fragments.get(name);
    if (!fragment) return NOTHING;
    open.add(name);
    const size = measure(fragment.selectionSet);
    open.delete(name);
    measured.set(name, size);
    return size;
  };

  /** Whoever follows spreads takes a step for each, also for those that lead to nothing. */
  const spread = (name: string): Size => {
    const size = measureSpread(name);
    return { ...size, fields: size.fields + 1 };
  };

  const measure = (set: SelectionSetNode): Size => {
    const total = { ...NOTHING };
    for (const selection of set.selections) {
      let size: Size;
      if (selection.kind === Kind.FIELD) {
        const below = selection.selectionSet ? measure(selection.selectionSet) : NOTHING;
        const introspects = selection.name.value === '__schema' || selection.name.value === '__type';
        size = {
          ...below,
          depth: introspects ? 1 : below.depth + 1,
          introspectionDepth: introspects ? below.depth : below.introspectionDepth,
          fields: below.fields + 1,
          aliases: below.aliases + (selection.alias ? 1 : 0),
        };
      } else {
        size = selection.kind === Kind.INLINE_FRAGMENT ? measure(selection.selectionSet) : spread(selection.name.value);
      }
      total.depth = Math.max(total.depth, size.depth);
      total.introspectionDepth = Math.max(total.introspectionDepth, size.introspectionDepth);
      total.fields += size.fields;
      total.aliases += size.aliases;
      total.directives += size.directives + (selection.directives?.length ?? 0);
    }
    return total;
  };
  return measure;
};

/** Fields of the operation itself, inline fragments opened; a spread counts as what its fragment has at its top. */
const rootFields = (operation: OperationDefinitionNode, document: DocumentNode): number => {
  const seen = new Set<string>();
  const count = (set: SelectionSetNode): number => set.selections.reduce((sum, selection) => {
    if (selection.kind === Kind.FIELD) return sum + 1;
    if (selection.kind === Kind.INLINE_FRAGMENT) return sum + count(selection.selectionSet);
    if (seen.has(selection.name.value)) return sum;
    seen.add(selection.name.value);
    const fragment = document.definitions.find((node) => node.kind === Kind.FRAGMENT_DEFINITION && node.name.value === selection.name.value);
    return sum + (fragment?.kind === Kind.FRAGMENT_DEFINITION ? count(fragment.selectionSet) : 0);
  }, 0);
  return count(operation.selectionSet);
};

/**
 * How many pairs of fields the rule that fields of one name must fit together looks at: all at the same place of the answer, the quadratic part
 * of validation. Stops above `most`. Linear in the fields as executed, so only for documents within that limit.
 */
const pairsAt = (operation: { selectionSet: SelectionSetNode }, document: DocumentNode, most: number): number => {
  let pairs = 0;
  const collect = (set: SelectionSetNode, into: Map<string, FieldNode[]>): void => {
    for (const selection of set.selections) {
      if (selection.kind === Kind.INLINE_FRAGMENT) collect(selection.selectionSet, into);
      else if (selection.kind === Kind.FIELD) {
        const name = (selection.alias ?? selection.name).value;
        const others = into.get(name);
        if (others) others.push(selection);
        else into.set(name, [selection]);
      } else {
        const fragment = document.definitions.find((node) => node.kind === Kind.FRAGMENT_DEFINITION && node.name.value === selection.name.value);
        if (fragment?.kind === Kind.FRAGMENT_DEFINITION) collect(fragment.selectionSet, into);
      }
    }
  };
  const walk = (sets: readonly SelectionSetNode[]): void => {
    const here = new Map<string, FieldNode[]>();
    for (const set of sets) collect(set, here);
    for (const fields of here.values()) {
      pairs += (fields.length * (fields.length - 1)) / 2;
      if (pairs > most) return;
      const below = fields.flatMap(({ selectionSet }) => (selectionSet ? [selectionSet] : []));
      if (below.length > 0) walk(below);
    }
  };
  walk([operation.selectionSet]);
  return pairs;
};

/** How often the schema is asked for, fragments counted wherever they are spread. */
const introspections = (set: SelectionSetNode, document: DocumentNode): number => set.selections.reduce((sum, selection) => {
  if (selection.kind === Kind.FIELD) return sum + (selection.name.value === '__schema' || selection.name.value === '__type' ? 1 : 0);
  if (selection.kind === Kind.INLINE_FRAGMENT) return sum + introspections(selection.selectionSet, document);
  const fragment = document.definitions.find((node) => node.kind === Kind.FRAGMENT_DEFINITION && node.name.value === selection.name.value);
  return sum + (fragment?.kind === Kind.FRAGMENT_DEFINITION ? introspections(fragment.selectionSet, document) : 0);
}, 0);

/** The first limit that a parsed document breaks, or undefined. `maxTokens` is the parser's part. */
export const findExcess = (document: DocumentNode, limits: DocumentLimits): GraphQLError | undefined => {
  if (document.definitions.length > limits.maxDefinitions) return refuse(`${document.definitions.length} definitions`, limits.maxDefinitions);
  const measure = makeMeasure(document);
  for (const definition of document.definitions) {
    if (definition.kind !== Kind.OPERATION_DEFINITION && definition.kind !== Kind.FRAGMENT_DEFINITION) continue;
    const size = measure(definition.selectionSet);
    const maxDepth = definition.kind === Kind.OPERATION_DEFINITION ? limits.maxDepth : Math.max(limits.maxDepth, limits.maxIntrospectionDepth);
    if (size.depth > maxDepth) {
      return refuse(Number.isFinite(size.depth) ? `fields nested ${size.depth} deep` : 'a fragment that contains itself', maxDepth);
    }
    if (size.introspectionDepth > limits.maxIntrospectionDepth) return refuse(`introspection nested ${size.introspectionDepth} deep`, limits.maxIntrospectionDepth);
    if (size.fields > limits.maxFields) return refuse(`${size.fields} fields, fragments expanded`, limits.maxFields);
    if (size.aliases > limits.maxAliases) return refuse(`${size.aliases} aliases`, limits.maxAliases);
    const directives = size.directives + (definition.directives?.length ?? 0);
    if (directives > limits.maxDirectives) return refuse(`${directives} directives`, limits.maxDirectives);
    if (definition.kind === Kind.OPERATION_DEFINITION) {
      const roots = rootFields(definition, document);
      if (roots > limits.maxRootFields) return refuse(`${roots} fields at its root`, limits.maxRootFields);
      const asked = introspections(definition.selectionSet, document);
      if (asked > limits.maxIntrospections) return refuse(`${asked} questions for the schema`, limits.maxIntrospections);
    }
    // Of fragments too: validation looks at those that nobody spreads.
    if (pairsAt(definition, document, limits.maxPairs) > limits.maxPairs) return refuse('too many fields at the same place of its answer', limits.maxPairs);
  }
  return undefined;
};
