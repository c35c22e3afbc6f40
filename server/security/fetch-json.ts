import { type Agent, type IncomingMessage, request as requestHttp } from 'node:http';
import { type Agent as TlsAgent, request as requestHttps } from 'node:https';
import { DomainError } from '../domain/errors.js';

/** Fetches a JSON document. Fails with a DomainError, within seconds. */
export type FetchJson = (url: URL) => Promise<unknown>;

export interface FetchJsonOptions {
  /** Open every connection: the connect policy applies. */
  agents: { httpAgent: Agent; httpsAgent: TlsAgent };
  /** For all of it: connecting, asking, the answer. Default 5,000 ms. */
  timeoutMs?: number | undefined;
}

/** Who sends more is not listened to. */
const MAX_BYTES = 256 * 1024;

const bodyOf = async (answer: IncomingMessage, host: string): Promise<string> => {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_BYTES) throw new DomainError('LIMIT_EXCEEDED', `${host} answers with more than ${MAX_BYTES} bytes.`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
};

/** Redirects are not followed: they would lead past what the operator has named. */
export const createFetchJson = ({ agents, timeoutMs = 5_000 }: FetchJsonOptions): FetchJson => async (url) => {
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    const answer = await new Promise<IncomingMessage>((done, fail) => {
      const options = { method: 'GET', headers: { accept: 'application/json' }, signal };
      const sent = url.protocol === 'https:' ? requestHttps(url, { ...options, agent: agents.httpsAgent }, done) : requestHttp(url, { ...options, agent: agents.httpAgent }, done);
      sent.on('error', fail);
      // A request that has no socket yet says nothing when it is broken off.
      signal.addEventListener('abort', () => fail(signal.reason as Error), { once: true });
      sent.end();
    });
    if (answer.statusCode !== 200) {
      answer.destroy();
      throw new DomainError('PROTOCOL_ERROR', `${url.host} answered ${String(answer.statusCode)} for ${url.pathname}.`);
    }
    const text = await bodyOf(answer, url.host);
    try {
      return JSON.parse(text) as unknown;
    } catch (cause) {
      throw new DomainError('PROTOCOL_ERROR', `${url.host} answered with something else than JSON for ${url.pathname}.`, { cause });
    }
  } catch (error) {
    if (error instanceof DomainError) throw error;
    if (signal.aborted) throw new DomainError('TOO_SLOW', `${url.host} did not answer within ${timeoutMs} ms.`, { retryable: true, cause: error });
    throw new DomainError('CONNECT_FAILED', `The connection to ${url.host} broke before an answer came.`, { retryable: true, cause: error });
  }
};
