import { createHmac } from 'node:crypto';
import { request as requestHttp, type Agent, type IncomingMessage } from 'node:http';
import { request as requestHttps, type Agent as TlsAgent } from 'node:https';
import { abortReason, DomainError } from '../domain/errors.js';
import { type Clock } from '../engine/ports.js';
import { type Webhook } from '../services/ports.js';

export interface WebhookOptions {
  url: string;
  secret: string;
  /** Open every connection: the connect policy applies to receivers too. Closed with the webhook. */
  agents: { httpAgent: Agent; httpsAgent: TlsAgent };
  clock: Clock;
  /** Of the service. */
  version: string;
  /** For all of an attempt: connecting, sending, the answer. Default 10,000 ms. */
  timeoutMs?: number | undefined;
}

/** What is read of an answer; who sends more is not listened to. */
const MAX_ANSWER = 16 * 1024;

/** `v1=` and HMAC-SHA256 over `<timestamp>.<body>`, in hexadecimal digits. @param timestamp seconds since 1970, as in the header */
export const signNotice = (secret: string, timestamp: string, body: string): string => `v1=${createHmac('sha256', secret).update(`${timestamp}.${body}`).digest('hex')}`;

/** Reads on to the end of an answer that says enough already, so that no polite receiver sees its connection break. */
const readOff = (answer: IncomingMessage): Promise<void> =>
  new Promise((done) => {
    let read = 0;
    answer.on('data', (chunk: Buffer) => {
      read += chunk.length;
      if (read > MAX_ANSWER) answer.destroy();
    });
    answer.on('error', () => done()).once('close', () => done());
  });

const refused = (host: string, status: number): DomainError => {
  const redirect = status >= 300 && status < 400;
  return new DomainError('PROTOCOL_ERROR', `${host} answered ${status}${redirect ? ', a redirect, and redirects are not followed' : ''}.`, {
    hint: redirect ? 'Set WEBHOOK_URL to the address it leads to.' : 'Look at the log of the receiver.', retryable: true, details: { status },
  });
};

/** The operator's receiver, reached by one POST an attempt. Any status from 200 to 299 says that it has taken the notice. */
export const createWebhook = ({ url, secret, agents, clock, version, timeoutMs = 10_000 }: WebhookOptions): Webhook => {
  const target = new URL(url);
  const { host } = target;
  const secure = target.protocol === 'https:';

  const post = (headers: Record<string, string>, body: string, signal: AbortSignal): Promise<IncomingMessage> =>
    new Promise((done, fail) => {
      const options = { method: 'POST', headers, signal };
      const sent = secure ? requestHttps(target, { ...options, agent: agents.httpsAgent }, done) : requestHttp(target, { ...options, agent: agents.httpAgent }, done);
      // A second error after the answer has been had is of no interest, and must not end the process.
      sent.on('error', fail);
      // A request that has no socket yet says nothing when it is broken off.
      signal.addEventListener('abort', () => fail(signal.reason as Error), { once: true });
      sent.end(body);
    });

  return {
    host,
    async send({ id, kind, body, attempt }, signal) {
      const timestamp = String(Math.floor(clock.now().getTime() / 1000));
      const limit = AbortSignal.timeout(timeoutMs);
      const headers = {
        'content-type': 'application/json; charset=utf-8', 'content-length': String(Buffer.byteLength(body)), 'user-agent': `snapback/${version}`,
        'x-snapback-delivery': id, 'x-snapback-kind': kind, 'x-snapback-attempt': String(attempt),
        'x-snapback-timestamp': timestamp, 'x-snapback-signature': signNotice(secret, timestamp, body),
      };
      let status: number;
      try {
        const answer = await post(headers, body, AbortSignal.any([signal, limit]));
        status = answer.statusCode ?? 0;
        await readOff(answer);
      } catch (error) {
        if (signal.aborted) throw abortReason(signal);
        if (limit.aborted) throw new DomainError('TOO_SLOW', `${host} did not answer within ${timeoutMs} ms.`, { hint: 'Let the receiver answer before it does its work.', retryable: true, cause: error });
        if (error instanceof DomainError) throw error;
        throw new DomainError('CONNECT_FAILED', `The connection to ${host} broke before an answer came.`, { hint: 'Check WEBHOOK_URL and the receiver.', retryable: true, cause: error });
      }
      if (status < 200 || status > 299) throw refused(host, status);
    },
    close() {
      agents.httpAgent.destroy();
      agents.httpsAgent.destroy();
    },
  };
};
