import { ApolloServer, type ApolloServerPlugin } from '@apollo/server';
import { ApolloServerPluginCacheControlDisabled, ApolloServerPluginLandingPageDisabled } from '@apollo/server/plugin/disabled';
import { expressMiddleware } from '@as-integrations/express5';
import express, { type NextFunction, type Request, type RequestHandler, type Response } from 'express';
import { type GraphQLSchema } from 'graphql';
import { DomainError, type ErrorCode } from '../domain/errors.js';
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

/** What HTTP adds: the text that the guard has seen. */
type HttpContext = GraphContext & { readonly source: string | undefined };

/** Apollo reads requests by itself: should it ever read another document than the guard has seen, nothing is executed. */
const seenPlugin: ApolloServerPlugin<HttpContext> = {
  async requestDidStart({ contextValue }) {
    return {
      async didResolveSource({ source }) {
        if (source !== contextValue.source) throw new DomainError('INTERNAL', 'Apollo was about to execute a document that the guard has not seen.');
      },
    };
  },
};

/** Errors reach Apollo's `formatError` without the request; here they get its id, go to the log, and choose the status. */
const errorPlugin = (log: EdgeLog): ApolloServerPlugin<HttpContext> => ({
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

interface AskedOverHttp {
  query?: unknown;
  operationName?: unknown;
  variables?: unknown;
  extensions?: unknown;
}

/** The parameters of a GET, read as Apollo reads them. Express's own parser stops after a thousand, and what comes behind would pass unseen. */
const searchOf = (req: Request): URLSearchParams => new URLSearchParams(req.url.slice((req.url.indexOf('?') + 1) || req.url.length));

/** The operation that a request asks for; Apollo reads the same anew. */
const askedIn = (req: Request): AskedOverHttp => {
  if (req.method !== 'GET') return (req.body ?? {}) as AskedOverHttp;
  const search = searchOf(req);
  return {
    query: search.get('query') ?? undefined, operationName: search.get('operationName') ?? undefined,
    variables: parsed(search.get('variables')), extensions: parsed(search.get('extensions')),
  };
};

/** Puts the text of a document in the place of the hash that named it, for Apollo. */
const replaceHash = (req: Request, source: string): void => {
  if (req.method === 'GET') {
    const search = searchOf(req);
    search.set('query', source);
    search.delete('extensions');
    req.url = `/?${String(search)}`;
    return;
  }
  const body = req.body as { query?: unknown; extensions?: unknown };
  body.query = source;
  const { persistedQuery: _hash, ...others } = (body.extensions ?? {}) as { persistedQuery?: unknown };
  body.extensions = others;
};

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
  const apollo = new ApolloServer<HttpContext>({
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
    // Nothing of ours is to be cached, and Apollo's page for browsers loads scripts from elsewhere.
    plugins: [seenPlugin, errorPlugin(log), ApolloServerPluginCacheControlDisabled(), ApolloServerPluginLandingPageDisabled()],
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
    const asked = askedIn(req);
    const principal = res.locals['principal'] as Principal;
    try {
      const opened = guard.open(principal, asked);
      // Apollo says what is wrong with such a request.
      if (!opened) return next();
      if ('errors' in opened) return sendErrors(res, guard, opened.errors);
      const { operationName, variables, extensions } = asked;
      res.locals['rate'] = guard.admit(principal, { document: opened.document, operationName: typeof operationName === 'string' ? operationName : undefined, variables });
      res.locals['source'] = opened.source;
      if (typeof extensions === 'object' && extensions !== null && 'persistedQuery' in extensions) replaceHash(req, opened.source);
    } catch (error) {
      return sendErrors(res, guard, [error]);
    }
    next();
  };

  const answer = expressMiddleware(apollo, {
    context: async ({ res }) => ({
      ...makeContext(services, res.locals['principal'] as Principal, requestIdOf(res), (res.locals['rate'] ?? null) as RateState | null),
      source: res.locals['source'] as string | undefined,
    }),
  });

  return {
    handlers: [authenticate, express.json({ limit: maxBodyBytes }), limit, answer],
    stop: () => apollo.stop(),
  };
};
