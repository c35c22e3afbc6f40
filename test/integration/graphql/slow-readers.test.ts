import { request } from 'node:http';
import { afterEach, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { type JobFailure } from '../../../server/domain/job.js';
import { type Principal } from '../../../server/domain/principal.js';
import { scriptFeed } from '../jobs/scripted-feed.js';
import { ADMIN_KEY, type Edge, fakeServices, startEdge } from './edge.js';
import { job } from './records.js';

/** Fewer events than the queue holds fill what lies between a service and a client that reads nothing. */
const FILLER = 'x'.repeat(50_000);
const MANY = 1_200;
const QUERY = 'subscription ($job: ID!, $after: Int) { jobProgress(jobId: $job, afterSequence: $after) { sequence job { failure { message } } } }';

let edge: Edge | undefined;
const opened: { close(): void }[] = [];
afterEach(async () => {
  for (const one of opened.splice(0)) one.close();
  await edge?.stop();
  edge = undefined;
});

interface Reader {
  sequences: number[];
  pause(): void;
  resume(): void;
  /** How it ended: a socket's close code; of a stream, whether it was complete, or just ended. */
  ended: Promise<unknown>;
}

const sequencesIn = (text: string): number[] => [...text.matchAll(/"sequence":(\d+)/g)].map(([, number]) => Number(number));

const overSocket = async (at: Edge, variables: object): Promise<Reader> => {
  const socket = new WebSocket(at.wsUrl, 'graphql-transport-ws');
  opened.push({ close: () => socket.terminate() });
  const reader: Reader = { sequences: [], pause: () => socket.pause(), resume: () => socket.resume(), ended: new Promise((resolve) => socket.once('close', resolve)) };
  socket.once('open', () => socket.send(JSON.stringify({ type: 'connection_init', payload: { authorization: ADMIN_KEY } })));
  socket.on('message', (data: Buffer) => {
    const text = String(data);
    if (text.includes('connection_ack')) socket.send(JSON.stringify({ id: '1', type: 'subscribe', payload: { query: QUERY, variables } }));
    else reader.sequences.push(...sequencesIn(text));
  });
  await expect.poll(() => reader.sequences.length).toBeGreaterThan(0);
  return reader;
};

const overStream = async (at: Edge, variables: object): Promise<Reader> => {
  const asked = request(`${at.url}/graphql/stream`, { method: 'POST', agent: false, headers: { authorization: `Bearer ${ADMIN_KEY}`, accept: 'text/event-stream', 'content-type': 'application/json' } });
  opened.push({ close: () => asked.destroy() });
  asked.on('error', () => undefined).end(JSON.stringify({ query: QUERY, variables }));
  let response: { pause(): unknown; resume(): unknown } | undefined;
  const reader: Reader = {
    sequences: [], pause: () => response?.pause(), resume: () => response?.resume(),
    ended: new Promise((resolve) => asked.once('response', (given) => {
      response = given;
      let rest = '';
      let complete = false;
      given.setEncoding('utf8').on('data', (chunk: string) => {
        rest += chunk;
        complete ||= rest.includes('event: complete');
        const end = rest.lastIndexOf('\n\n');
        reader.sequences.push(...sequencesIn(rest.slice(0, Math.max(0, end))));
        rest = rest.slice(end + 2);
      }).once('close', () => resolve(complete ? 'complete' : given.complete ? 'ended' : 'cut'));
    })),
  };
  await expect.poll(() => reader.sequences.length).toBeGreaterThan(0);
  return reader;
};

describe('a reader that is slower than the events', () => {
  it.each<[string, (at: Edge, variables: object) => Promise<Reader>, unknown]>([['socket', overSocket, 1013], ['stream', overStream, 'ended']])(
    'over a %s is told to come again when its queue is full, misses nothing then, and holds up nobody', async (_what, open, end) => {
      const running = job({ failure: { code: 'INTERNAL', message: FILLER, hint: null, retryable: false, retryAt: null, phase: null, at: new Date() } satisfies JobFailure });
      const { feed, append, wake, givenOut } = scriptFeed();
      edge = await startEdge(fakeServices({ jobs: { progress: async (caller, { jobId, afterSequence }) => feed.job(caller as Principal, jobId, afterSequence ?? 0) } }));
      append('STATE', running);
      const variables = { job: running.id };
      const [slow, quick] = [await open(edge, variables), await open(edge, variables)];
      slow.pause();
      for (let at = 0; at < MANY; at += 100) {
        for (let more = 0; more < 100; more += 1) append('STATE', running);
        wake();
        await givenOut();
        await expect.poll(() => quick.sequences.length).toBe(at + 101);
      }
      expect(slow.sequences).toHaveLength(1);
      slow.resume();
      expect(await slow.ended).toBe(end);
      expect(slow.sequences.length).toBeLessThan(MANY);

      const again = await open(edge, { ...variables, after: slow.sequences.at(-1) });
      await expect.poll(() => slow.sequences.length + again.sequences.length).toBe(MANY + 1);
      const all = Array.from({ length: MANY + 1 }, (_, at) => 10 + at);
      expect([...slow.sequences, ...again.sequences]).toEqual(all);
      expect(quick.sequences).toEqual(all);
    });
});
