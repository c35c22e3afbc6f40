import { type DocumentNode, type FieldNode, getOperationAST, Kind, visit } from 'graphql';
import { type Rights } from '../domain/principal.js';

/**
 * The variables that an event's answer may depend on: all that are used but those in the arguments of the operation's own fields, which say what is
 * subscribed to and are read when the subscription begins.
 */
const used = (document: DocumentNode, operationName: string | undefined): readonly string[] => {
  const operation = getOperationAST(document, operationName);
  const subscribed = new Set(operation?.selectionSet.selections.filter((node): node is FieldNode => node.kind === Kind.FIELD).flatMap((field) => field.arguments ?? []));
  const names = new Set<string>();
  visit(document, {
    Argument: (node) => (subscribed.has(node) ? false : undefined),
    VariableDefinition: () => false,
    Variable: ({ name }) => void names.add(name.value),
  });
  return [...names].sort();
};

const known = new WeakMap<DocumentNode, { id: number; used: Map<string | undefined, readonly string[]> }>();
let documents = 0;

/**
 * What an event's answer depends on, as a text: subscribers with the same text get the same answer, so it is made once for all of them. Of a caller
 * that is everything that says what it may see, and nothing of who it is.
 */
export const sharingKey = ({ projectId, role, serviceWide, instanceIds }: Rights, document: DocumentNode, operationName: string | undefined, variables: Readonly<Record<string, unknown>>): string => {
  let facts = known.get(document);
  if (!facts) known.set(document, (facts = { id: (documents += 1), used: new Map() }));
  let names = facts.used.get(operationName);
  if (!names) facts.used.set(operationName, (names = used(document, operationName)));
  const given = names.filter((name) => Object.hasOwn(variables, name)).map((name) => [name, variables[name]]);
  return JSON.stringify([facts.id, operationName ?? null, projectId, role, serviceWide, instanceIds === null ? null : [...instanceIds].sort(), given]);
};
