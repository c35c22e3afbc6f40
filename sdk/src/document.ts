/**
 * A GraphQL document as text, with the types of its result and variables. What GraphQL Code Generator writes in its string mode
 * (`TypedDocumentString`) fits, and so does a plain string, whose result is `unknown` then.
 */
export interface TypedDocument<Result, Variables> {
  toString(): string;
  /** Carries the types; never there at run time. */
  readonly __apiType?: ((variables: Variables) => Result) | undefined;
}

/** The class of the documents in `@snapback/sdk/operations`. */
export class TypedDocumentString<Result, Variables> implements TypedDocument<Result, Variables> {
  declare readonly __apiType?: ((variables: Variables) => Result) | undefined;

  constructor(private readonly text: string) {}

  toString(): string {
    return this.text;
  }
}

const NOT_STRUCTURE = /#[^\n\r]*|"""[\s\S]*?"""|"(?:\\.|[^"\\\n])*"/g;

/** What a document asks for: its first operation's kind and name. */
export interface OperationHead {
  kind: 'query' | 'mutation' | 'subscription';
  /** Undefined for an operation without a name. */
  name: string | undefined;
}

/** Finds the document's first operation, whatever fragments, comments and strings stand around it. */
export const operationHead = (document: string): OperationHead => {
  const text = document.replace(NOT_STRUCTURE, ' ');
  let depth = 0;
  for (const [token, kind, name] of text.matchAll(/[{}]|(?<![@$])\b(query|mutation|subscription|fragment)\b(?:\s+([A-Za-z_]\w*))?/g)) {
    if (token === '{') depth += 1;
    else if (token === '}') depth -= 1;
    else if (depth === 0 && kind !== 'fragment') return { kind: kind as OperationHead['kind'], name };
  }
  return { kind: 'query', name: undefined };
};
