import { ApolloServer, type ApolloServerPlugin } from '@apollo/server';
import { expressMiddleware } from '@as-integrations/express5';
import express, { type NextFunction, type Request, type RequestHandler, type Response } from 'express';
import { type GraphQLSchema } from 'graphql';
import { type ErrorCode } from '../domain/errors.js';
import { type Principal } from '../domain/principal.js';
import { type GraphContext, makeContext } from '../graphql/context.js';
import { type Guard } from '../graphql/guard.js';
import { type EdgeLog, HTTP_STATUS, logFaults } from '../graphql/mask.js';
import { type RateState } from '../graphql/rate.js';
import { type Services } from '../services/api.js';
import { requestIdOf, sendErrors } from './errors.js';

export interface GraphqlEndpointDeps {
  schema: GraphQLSchema;
  guard: Guard;
  services: Services;
  log: EdgeLog;
  introspection: boolean;
  /** Largest request body in bytes. */
  maxBodyBytes: number;
  /** Longest answer, in characters of its JSON. */
  maxAnswerLength: number;
}

/** Errors reach Apollo's `formatError` without the request; here they get its id, go to the log, and choose the status. */
const errorPlugin = (log: EdgeLog): ApolloServerPlugin<GraphContext> => ({
  async requestDidStart({ contextValue: { requestId } }) {
    return {
      async didEncounterErrors({ errors, operationName }) {
        logFaults(log, errors, requestId, { operationName });
      },
      async willSendResponse({ response }) {
        if (response.body.kind !== 'single') return;
        const { errors } = response.body.singleResult;
        if (!errors) return;
        response.body.singleResult.errors = errors.map((error) => ({ ...error, extensions: { ...error.extensions, requestId } }));
        for (const error of errors) {
          const status = HTTP_STATUS[error.extensions?.['code'] as ErrorCode];
          if (status !== undefined) response.http.status = status;
        }
      },
    };
  },
});

/** GET carries variables as JSON; what is none of it, Apollo refuses. */
const parsed = (text: unknown): unknown => {
  if (typeof text !== 'string') return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
};

/** The operation that a request asks for; Apollo reads the same anew. */
const askedIn = (req: Request): { query?: unknown; operationName?: unknown; variables?: unknown } =>
  req.method === 'GET' ? { ...req.query, variables: parsed(req.query['variables']) } : ((req.body ?? {}) as Record<string, unknown>);

const TOO_LONG = JSON.stringify({ errors: [{ message: 'The answer is longer than this service gives.', extensions: { code: 'LIMIT_EXCEEDED', hint: 'Ask for less: fewer fields, shorter pages.' } }] });

const setPrincipal = (res: Response, principal: Principal): void => {
  res.locals['principal'] = principal;
};

/**
 * `/graphql` over HTTP. Order: the key, then the body, then the document's limits, then Apollo. Nobody without a key makes this service
 * read a body or parse a document.
 */
export const makeGraphqlEndpoint = async ({ schema, guard, services, log, introspection, maxBodyBytes, maxAnswerLength }: GraphqlEndpointDeps): Promise<{
  handlers: RequestHandler[];
  stop(): Promise<void>;
}> => {
  const apollo = new ApolloServer<GraphContext>({
    schema,
    introspection,
    hideSchemaDetailsFromClientErrors: !introspection,
    csrfPrevention: true,
    stopOnTerminationSignals: false,
    includeStacktraceInErrorResponses: false,
    allowBatchedHttpRequests: false,
    persistedQueries: false,
    cache: 'bounded',
    parseOptions: { maxTokens: guard.maxTokens },
    formatError: (_formatted, error) => guard.mask(error),
    stringifyResult: (answer) => {
      const text = JSON.stringify(answer);
      return text.length > maxAnswerLength ? TOO_LONG : text;
    },
    plugins: [errorPlugin(log)],
    logger: {
      debug: () => undefined,
      info: (message) => log.info(String(message)),
      warn: (message) => log.warn(String(message)),
      error: (message) => log.error(String(message)),
    },
  });
  await apollo.start();

  const authenticate = async (req: Request, res: Response, next: NextFunction): Promise<void> => {
    setPrincipal(res, await guard.authenticate(req.get('authorization'), req.socket.remoteAddress));
    next();
  };

  const limit = (req: Request, res: Response, next: NextFunction): void => {
    const { query, operationName, variables } = askedIn(req);
    if (typeof query !== 'string') return next();
    const checked = guard.parse(query);
    if ('errors' in checked) return sendErrors(res, guard, checked.errors);
    try {
      res.locals['rate'] = guard.admit(res.locals['principal'] as Principal, { document: checked.document, operationName: typeof operationName === 'string' ? operationName : undefined, variables });
    } catch (error) {
      return sendErrors(res, guard, [error]);
    }
    next();
  };

  const answer = expressMiddleware(apollo, {
    context: async ({ res }) => makeContext(services, res.locals['principal'] as Principal, requestIdOf(res), (res.locals['rate'] ?? null) as RateState | null),
  });

  return {
    handlers: [authenticate, express.json({ limit: maxBodyBytes }), limit, answer],
    stop: () => apollo.stop(),
  };
};
