import { buildASTSchema, type DocumentNode, type GraphQLSchema, lexicographicSortSchema, parse, print, printSchema, visit } from 'graphql';

/** A schema's definitions without descriptions, in one fixed order; by the definition's first line. */
const definitionsOf = (schema: GraphQLSchema): Map<string, string[]> => {
  const bare: DocumentNode = visit(parse(printSchema(lexicographicSortSchema(schema))), {
    enter: (node) => ('description' in node && node.description ? { ...node, description: undefined } : undefined),
  });
  return new Map(bare.definitions.map((definition) => {
    const lines = print(definition).split('\n');
    return [(lines[0] ?? '').replace(/[ {(=].*$/, (rest) => ` ${rest.split(/[ {(=]/)[1] ?? ''}`), lines];
  }));
};

/**
 * Compares what the SDL says with what the classes say, descriptions apart. Returns readable lines, `-` for what only the SDL has and
 * `+` for what only the classes have; none when both are the same.
 */
export const schemaDifferences = (sdl: GraphQLSchema, classes: GraphQLSchema): string[] => {
  const [expected, actual] = [definitionsOf(sdl), definitionsOf(classes)];
  const differences: string[] = [];
  for (const name of [...new Set([...expected.keys(), ...actual.keys()])].sort()) {
    const [theirs, ours] = [expected.get(name) ?? [], actual.get(name) ?? []];
    const missing = theirs.filter((line) => !ours.includes(line)).map((line) => `  - ${line.trim()}`);
    const extra = ours.filter((line) => !theirs.includes(line)).map((line) => `  + ${line.trim()}`);
    if (missing.length + extra.length > 0 || theirs.length !== ours.length) differences.push(name, ...missing, ...extra);
  }
  return differences;
};

/** Throws when the two differ, naming every difference: a server must not start with another contract than the one that was authored. */
export const assertSameSchema = (sdl: DocumentNode, classes: GraphQLSchema): void => {
  const differences = schemaDifferences(buildASTSchema(sdl), classes);
  if (differences.length > 0) {
    throw new Error(`schema/*.graphql (-) and the classes in server/graphql (+) differ:\n${differences.join('\n')}`);
  }
};
