import {
  type DocumentNode, getOperationAST, GraphQLError, type GraphQLSchema, NoSchemaIntrospectionCustomRule, OperationTypeNode, parse, specifiedRules, validate,
} from 'graphql';
import { DomainError } from '../domain/errors.js';
import { type Principal } from '../domain/principal.js';
import { costOf } from './cost.js';
import { callerOf, type FindCaller } from './credential.js';
import { createDocuments, type Documents, type NamedDocument } from './documents.js';
import { DEFAULT_LIMITS, type DocumentLimits, findExcess, refuse } from './limits.js';
import { type FaultPasses, maskError, type MaskedError } from './mask.js';
import { createRateLimiter, type RateState } from './rate.js';
import { checkVariables } from './variables.js';

export interface GuardOptions {
  schema: GraphQLSchema;
  authenticate: FindCaller;
  limits?: Partial<DocumentLimits> | undefined;
  /** Whether the schema may be asked for; where not, no error tells of it either. Default true. */
  introspection?: boolean | undefined;
  /** Of each key, in points of cost. Default null: no limit. */
  pointsPerMinute?: number | null | undefined;
  faultPasses?: FaultPasses | undefined;
  /** Default: any document, none registered. */
  documents?: Documents | undefined;
}

/** An operation as it came in. */
export interface Asked {
  document: DocumentNode;
  operationName?: string | null | undefined;
  variables?: unknown;
}

export type Parsed = { document: DocumentNode } | { errors: readonly GraphQLError[] };

/** Checks that HTTP and WebSocket share: neither transport decides anything of this itself. */
export interface Guard {
  /** As `callerOf`. */
  authenticate(credential: string | undefined, from?: string): Promise<Principal>;
  /**
   * Parses within the limits and validates; answers the errors of a document that is no GraphQL, too big, does not fit the schema, or is not trusted where
   * only trusted ones are.
   */
  parse(source: string): Parsed;
  /**
   * The same for the document that a request means, whether it brings the text or names it by its hash; undefined when it does neither.
   * @throws DomainError as `Documents.textOf`
   */
  open(caller: Principal, named: NamedDocument): (Parsed & { source: string }) | undefined;
  /**
   * Weighs a document that has passed and takes its cost from the caller's points; null where nobody is limited.
   * @throws DomainError LIMIT_EXCEEDED for an operation or variables above the limits, RATE_LIMITED
   */
  admit(caller: Principal, asked: Asked): RateState | null;
  /** An error as callers get to see it. */
  mask(error: unknown, requestId?: string): MaskedError;
  /** Parser options for a transport that parses by itself after `parse` has passed. */
  readonly maxTokens: number;
}

/** Documents that passed, by text: clients send the same few again and again. */
const REMEMBERED = 500;
/** Longer texts are not remembered, which bounds the memory. */
const REMEMBERED_LENGTH = 8_192;

export const makeGuard = ({ schema, authenticate, limits: given, introspection = true, pointsPerMinute = null, faultPasses, documents = createDocuments({ trusted: [], only: false }) }: GuardOptions): Guard => {
  const limits: DocumentLimits = { ...DEFAULT_LIMITS, ...given };
  const rules = introspection ? specifiedRules : [...specifiedRules, NoSchemaIntrospectionCustomRule];
  const passed = new Map<string, DocumentNode>();
  const rate = createRateLimiter(pointsPerMinute);

  const check = (source: string): Parsed => {
    const known = passed.get(source);
    if (known) return { document: known };
    if (source.length > limits.maxLength) return { errors: [refuse(`${source.length} characters`, limits.maxLength)] };
    const untrusted = documents.refuse(source);
    if (untrusted) return { errors: [untrusted] };
    let document: DocumentNode;
    try {
      document = parse(source, { maxTokens: limits.maxTokens });
    } catch (error) {
      if (error instanceof GraphQLError) return { errors: [error] };
      throw error;
    }
    const tooMuch = findExcess(document, limits);
    if (tooMuch) return { errors: [tooMuch] };
    const errors = validate(schema, document, rules, { maxErrors: 20 });
    if (errors.length > 0) return { errors };
    if (source.length <= REMEMBERED_LENGTH) {
      if (passed.size >= REMEMBERED) passed.clear();
      passed.set(source, document);
    }
    return { document };
  };

  return {
    maxTokens: limits.maxTokens,

    authenticate: (credential, from) => callerOf(authenticate, credential, from),

    parse: check,

    open(caller, named) {
      const source = documents.textOf(caller, named);
      if (source === undefined) return undefined;
      const parsed = check(source);
      // Only what has passed is kept: nobody fills the room with what is no use to anybody.
      if ('document' in parsed) documents.keep(caller, named, source);
      return { ...parsed, source };
    },

    admit(caller, { document, operationName, variables }) {
      checkVariables(variables);
      const operation = getOperationAST(document, operationName);
      // Which one is meant is unclear: nothing is executed.
      if (!operation) return null;
      const cost = costOf(schema, document, operation, (variables ?? {}) as Record<string, unknown>);
      // A subscription is asked once and answers again and again.
      const most = operation.operation === OperationTypeNode.SUBSCRIPTION ? limits.maxEventCost : limits.maxCost;
      if (cost > most) {
        throw new DomainError('LIMIT_EXCEEDED', `The operation costs ${cost} points, which is how many values its answer may hold; at most ${most} are allowed.`, {
          hint: 'Ask for less: fewer fields, shorter pages, fewer levels of lists.',
        });
      }
      return rate.take(caller.keyId, cost);
    },

    mask: (error, requestId) => maskError(error, requestId, { faultPasses, suggestions: introspection }),
  };
};
