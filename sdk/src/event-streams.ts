import { readAnswer, type Connection } from './connection.js';
import { SnapbackError } from './errors.js';
import { graphqlError, type GraphqlErrorBody } from './graphql-errors.js';
import type { SubscribePayload } from './socket.js';
import type { Carrier } from './subscription.js';
import { startDeadline, unlessAborted } from './timing.js';

/*
 * A client of the distinct connections mode of graphql-sse (https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md): one request
 * for each subscription, its answer a stream of server-sent events. Made with fetch and not with EventSource, which cannot send the token.
 */

interface SentEvent {
  type: string;
  data: string;
}

/** The events of a server-sent stream (HTML Living Standard, 9.2.6). Comments come as events of the type `comment`: signs of life. */
export const parseEvents = (): ((text: string) => SentEvent[]) => {
  let rest = '';
  let type = '';
  let data: string[] = [];
  return (text) => {
    const events: SentEvent[] = [];
    rest += text;
    // A CR at the end may be the first half of a CRLF.
    const lines = rest.split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() ?? '';
    for (const line of lines) {
      if (line === '') {
        if (type !== '' || data.length > 0) events.push({ type: type || 'message', data: data.join('\n') });
        type = '';
        data = [];
      } else if (line.startsWith(':')) {
        events.push({ type: 'comment', data: '' });
      } else {
        const [, name = '', value = ''] = /^([^:]*)(?:: ?(.*))?$/.exec(line) ?? [];
        if (name === 'event') type = value;
        else if (name === 'data') data.push(value);
      }
    }
    return events;
  };
};

const isNoStream = (response: Response): boolean =>
  [404, 405, 406, 415, 501].includes(response.status) || (response.ok && response.headers.get('content-type')?.startsWith('text/event-stream') !== true);

export const createEventStreams = (connection: Connection, headers?: Readonly<Record<string, string>>): Carrier => {
  const url = new URL(`${connection.endpoint.pathname}/stream`, connection.endpoint);

  const run = async (what: string, payload: SubscribePayload, deadline: ReturnType<typeof startDeadline>, next: (data: unknown) => void): Promise<void> => {
    const lost = (cause: unknown): SnapbackError =>
      deadline.explain(cause, () => new SnapbackError('network', 'NETWORK', 'The event stream of the service was lost.', { cause, retryable: true }));
    const open = async (mayRenew: boolean): Promise<Response> => {
      const token = await unlessAborted(connection.tokens.get(), deadline.signal, lost);
      const request = connection.request(JSON.stringify(payload), token, { accept: 'text/event-stream', headers });
      const response = await connection.fetch(url, { ...request, signal: deadline.signal }).catch((cause: unknown) => {
        throw lost(cause);
      });
      if (isNoStream(response)) {
        await response.body?.cancel();
        throw new SnapbackError('http', `HTTP_${String(response.status)}`, `${what} got no event stream, but status ${String(response.status)}.`, { status: response.status });
      }
      if (response.ok) return response;
      if (response.status === 401 && mayRenew && (await connection.tokens.renew(token))) {
        await response.body?.cancel();
        return open(false);
      }
      await readAnswer(what, response); // Throws: the status is no success.
      throw lost(undefined);
    };

    const { body } = await open(true);
    if (body === null) throw lost(undefined);
    const reader = body.getReader();
    const decoder = new TextDecoder();
    const parse = parseEvents();
    try {
      for (;;) {
        deadline.restart();
        const { done, value } = await reader.read();
        if (done) throw lost(undefined);
        for (const { type, data } of parse(decoder.decode(value, { stream: true }))) {
          if (type === 'complete') return;
          if (type !== 'next') continue;
          const result = JSON.parse(data) as { data?: unknown; errors?: GraphqlErrorBody[] };
          if (result.errors !== undefined && result.errors.length > 0) throw graphqlError(what, result.errors);
          next(result.data);
        }
      }
    } catch (error) {
      throw error instanceof SnapbackError ? error : lost(error);
    } finally {
      void reader.cancel().catch(() => undefined); // It has failed or ended already, or is of no more use.
    }
  };

  return {
    subscribe: (what, payload, sink) => {
      let ended = false;
      // Silence is what it measures: the service says something, if only a comment, more often than that.
      const deadline = startDeadline(what, connection.timeoutMs);
      const end = (then: () => void): void => {
        deadline.dispose();
        if (ended) return;
        ended = true;
        then();
      };
      run(what, payload, deadline, (data) => {
        if (!ended) sink.next(data);
      }).then(
        () => {
          end(() => {
            sink.complete();
          });
        },
        (error: unknown) => {
          end(() => {
            sink.error(error instanceof SnapbackError ? error : new SnapbackError('network', 'NETWORK', `${what} could not be opened.`, { cause: error }));
          });
        },
      );
      return () => {
        ended = true;
        deadline.abort();
      };
    },
  };
};
