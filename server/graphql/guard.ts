import { type DocumentNode, GraphQLError, type GraphQLSchema, parse, specifiedRules, validate } from 'graphql';
import { type Principal } from '../domain/principal.js';
import { callerOf, type FindCaller } from './credential.js';
import { DEFAULT_LIMITS, type DocumentLimits, findExcess } from './limits.js';

export interface GuardOptions {
  schema: GraphQLSchema;
  authenticate: FindCaller;
  limits?: Partial<DocumentLimits> | undefined;
}

/** Checks that HTTP and WebSocket share: neither transport decides anything of this itself. */
export interface Guard {
  /** As `callerOf`. */
  authenticate(credential: string | undefined, from?: string): Promise<Principal>;
  /** Parses within the limits; answers the errors of a document that is no GraphQL or too big. Does not validate. */
  parse(source: string): { document: DocumentNode } | { errors: readonly [GraphQLError] };
  /** Validates a parsed document against the schema; answers what is wrong. */
  validate(document: DocumentNode): readonly GraphQLError[];
  /** Parser options for a transport that parses by itself after `parse` has passed. */
  readonly maxTokens: number;
}

/** Documents that passed, by text: clients send the same few again and again. */
const REMEMBERED = 500;
/** Longer texts are not remembered, which bounds the memory. */
const REMEMBERED_LENGTH = 8_192;

export const makeGuard = ({ schema, authenticate, limits: given }: GuardOptions): Guard => {
  const limits: DocumentLimits = { ...DEFAULT_LIMITS, ...given };
  const passed = new Map<string, DocumentNode>();

  return {
    maxTokens: limits.maxTokens,

    authenticate: (credential, from) => callerOf(authenticate, credential, from),

    parse(source) {
      const known = passed.get(source);
      if (known) return { document: known };
      let document: DocumentNode;
      try {
        document = parse(source, { maxTokens: limits.maxTokens });
      } catch (error) {
        if (error instanceof GraphQLError) return { errors: [error] };
        throw error;
      }
      const excess = findExcess(document, limits);
      if (excess) return { errors: [excess] };
      if (source.length <= REMEMBERED_LENGTH) {
        if (passed.size >= REMEMBERED) passed.clear();
        passed.set(source, document);
      }
      return { document };
    },

    validate: (document) => validate(schema, document, specifiedRules, { maxErrors: 20 }),
  };
};
