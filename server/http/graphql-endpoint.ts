import { ApolloServer, type ApolloServerPlugin } from '@apollo/server';
import { expressMiddleware } from '@as-integrations/express5';
import express, { type NextFunction, type Request, type RequestHandler, type Response } from 'express';
import { type GraphQLSchema } from 'graphql';
import { type ErrorCode } from '../domain/errors.js';
import { type Principal } from '../domain/principal.js';
import { type GraphContext, makeContext } from '../graphql/context.js';
import { type Guard } from '../graphql/guard.js';
import { type EdgeLog, type FaultPasses, HTTP_STATUS, logFaults, maskError } from '../graphql/mask.js';
import { type Services } from '../services/api.js';
import { requestIdOf } from './errors.js';

export interface GraphqlEndpointDeps {
  schema: GraphQLSchema;
  guard: Guard;
  services: Services;
  log: EdgeLog;
  faultPasses?: FaultPasses | undefined;
  introspection: boolean;
  /** Largest request body in bytes. */
  maxBodyBytes: number;
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

const textOf = (req: Request): unknown => (req.method === 'GET' ? req.query['query'] : (req.body as { query?: unknown } | undefined)?.query);

const setPrincipal = (res: Response, principal: Principal): void => {
  res.locals['principal'] = principal;
};

/**
 * `/graphql` over HTTP. Order: the key, then the body, then the document's limits, then Apollo. Nobody without a key makes this service
 * read a body or parse a document.
 */
export const makeGraphqlEndpoint = async ({ schema, guard, services, log, faultPasses, introspection, maxBodyBytes }: GraphqlEndpointDeps): Promise<{
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
    formatError: (_formatted, error) => maskError(error, undefined, faultPasses),
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
    const text = textOf(req);
    const checked = typeof text === 'string' ? guard.parse(text) : undefined;
    if (checked && 'errors' in checked) {
      res.status(400).json({ errors: checked.errors.map((error) => maskError(error, requestIdOf(res))) });
      return;
    }
    next();
  };

  const answer = expressMiddleware(apollo, {
    context: async ({ res }) => makeContext(services, res.locals['principal'] as Principal, requestIdOf(res)),
  });

  return {
    handlers: [authenticate, express.json({ limit: maxBodyBytes }), limit, answer],
    stop: () => apollo.stop(),
  };
};
