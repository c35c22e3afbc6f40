import { createSourceEventStream, type DocumentNode, execute, getOperationAST, type GraphQLSchema, OperationTypeNode } from 'graphql';
import { DomainError } from '../domain/errors.js';
import { type Principal } from '../domain/principal.js';
import { type Services } from '../services/api.js';
import { makeContext } from './context.js';
import { type NamedDocument } from './documents.js';
import { type Guard } from './guard.js';
import { type EdgeLog, logFaults } from './mask.js';
import { type RateState } from './rate.js';
import { sharingKey } from './sharing.js';

/** A subscription as a client asks for it. */
export interface Subscribing extends NamedDocument {
  operationName?: string | null | undefined;
  variables?: Readonly<Record<string, unknown>> | null | undefined;
}

/** JSON texts of GraphQL responses. Rejects when the source fails. `return()` lets go of everything at once. */
export type Answers = AsyncIterableIterator<string, undefined, undefined>;

/** Subscriptions of all transports. */
export interface Live {
  /**
   * Passes the guard, begins, and answers: texts that are the same object for all who may see the same. What is wrong with the operation, or refused
   * by the service, comes back as `errors`; `begun` says whether the operation was carried out at all.
   */
  begin(caller: Principal, asked: Subscribing, requestId: string): Promise<{ answers: Answers } | { errors: readonly unknown[]; begun: boolean }>;
}

export interface LiveDeps {
  schema: GraphQLSchema;
  guard: Guard;
  services: Services;
  log: EdgeLog;
}

interface Operation {
  document: DocumentNode;
  operationName: string | undefined;
  variableValues: Readonly<Record<string, unknown>>;
  caller: Principal;
  requestId: string;
  rate: RateState | null;
}

interface Outcome {
  text: string;
  /** Errors are told to whom they happened: each may have another cause, and refusals are noted of each caller. */
  mayBeShared: boolean;
}

/** The answers that subscribers of one sharing key have in common, as long as there are any. */
interface Shared {
  subscribers: number;
  answers: WeakMap<object, string | Promise<Outcome>>;
}

export const makeLive = ({ schema, guard, services, log }: LiveDeps): Live => {
  const shared = new Map<string, Shared>();

  /** What hangs on an event is read anew for each: its context has loaders of its own. */
  const answer = async ({ document, operationName, variableValues, caller, requestId, rate }: Operation, event: object): Promise<Outcome> => {
    const { data, errors } = await execute({ schema, document, operationName, variableValues, rootValue: event, contextValue: makeContext(services, caller, requestId, rate) });
    if (errors === undefined) return { text: JSON.stringify({ data }), mayBeShared: true };
    logFaults(log, errors, requestId, { transport: 'subscription' });
    return { text: JSON.stringify({ errors: errors.map((error) => guard.mask(error, requestId)), data }), mayBeShared: false };
  };

  const answerTo = async (operation: Operation, { answers }: Shared, event: object): Promise<string> => {
    const known = answers.get(event);
    if (typeof known === 'string') return known;
    if (known === undefined) {
      const making = answer(operation, event);
      answers.set(event, making);
      const { text, mayBeShared } = await making;
      if (mayBeShared) answers.set(event, text);
      return text;
    }
    const { text, mayBeShared } = await known;
    return mayBeShared ? text : (await answer(operation, event)).text;
  };

  const join = (key: string): Shared => {
    const present = shared.get(key) ?? { subscribers: 0, answers: new WeakMap() };
    shared.set(key, present);
    present.subscribers += 1;
    return present;
  };

  const answersOf = (operation: Operation, events: AsyncIterator<object>): Answers => {
    const key = sharingKey(operation.caller, operation.document, operation.operationName, operation.variableValues);
    const common = join(key);
    let left = false;
    const leave = (): void => {
      if (left) return;
      left = true;
      common.subscribers -= 1;
      if (common.subscribers === 0) shared.delete(key);
    };
    return {
      [Symbol.asyncIterator]() {
        return this;
      },
      async next() {
        try {
          const { value, done } = await events.next();
          if (done !== true) return { done: false, value: await answerTo(operation, common, value) };
        } catch (error) {
          leave();
          throw error;
        }
        leave();
        return { done: true, value: undefined };
      },
      async return() {
        leave();
        await events.return?.();
        return { done: true, value: undefined };
      },
    };
  };

  return {
    async begin(caller, asked, requestId) {
      const { variables } = asked;
      const operationName = asked.operationName ?? undefined;
      try {
        const parsed = guard.open(caller, asked);
        if (!parsed) throw new DomainError('BAD_INPUT', 'There is no "query" in this request.');
        if ('errors' in parsed) return { errors: parsed.errors, begun: false };
        const { document } = parsed;
        if (getOperationAST(document, operationName)?.operation !== OperationTypeNode.SUBSCRIPTION) {
          throw new DomainError('BAD_INPUT', 'This transport carries subscriptions only.', { hint: 'Send queries and mutations by HTTP POST to /graphql.' });
        }
        const operation: Operation = { document, operationName, variableValues: variables ?? {}, caller, requestId, rate: guard.admit(caller, { document, operationName, variables }) };
        const events = await createSourceEventStream({ schema, document, operationName, variableValues: operation.variableValues, contextValue: makeContext(services, caller, requestId, operation.rate) });
        if (!(Symbol.asyncIterator in events)) return { errors: events.errors ?? [], begun: true };
        return { answers: answersOf(operation, (events as AsyncIterable<object>)[Symbol.asyncIterator]()) };
      } catch (error) {
        return { errors: [error], begun: false };
      }
    },
  };
};
