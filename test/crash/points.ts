import { expect } from 'vitest';
import { digest } from '../kit/digest.js';
import { startRedis, type RedisServer } from '../kit/redis.js';
import { waitFor } from '../kit/wait.js';
import { type Moment, type Tap } from './tap.js';

/** What the listener is told to be; the tap of the link sits there, and our own listener behind it on 127.0.0.1. */
export const LINK_HOST = '127.0.0.2';

/** A moment of a restore, on the way of the control connection (`control`, where the safety copy is taken, too) or of the replication link. */
export interface Point {
  name: string;
  moment: { on: 'control' | 'link'; what: Moment } | { seen: (info: Record<string, string>) => boolean };
  /** Which data the target holds after it; null: either, as long as the service says which. */
  data: 'OLD' | 'NEW' | null;
  /** Settings of the target without which the moment would be too short. */
  set?: Record<string, string>;
  /** Only with an append-only file. */
  logged?: true;
  /** Clients are answered again by then. */
  promoted?: true;
}

const control = (text: string, passed: boolean, after?: string): Point['moment'] =>
  ({ on: 'control', what: { at: 'said', way: 'up', text, passed, ...(after === undefined ? {} : { after }) } });
const link = (what: Moment): Point['moment'] => ({ on: 'link', what });

const FOLLOW = `REPLICAOF\r\n$${String(LINK_HOST.length)}\r\n${LINK_HOST}`;
const PROMOTE = 'REPLICAOF\r\n$2\r\nNO\r\n$3\r\nONE';
const SET = 'repl-diskless-load\r\n$6\r\nswapdb';
const SET_BACK = 'repl-diskless-load\r\n$8\r\ndisabled';
const SLOW_LOAD = { 'key-load-delay': '400', 'loading-process-events-interval-bytes': '1024' };

const isFollower = ({ role }: Record<string, string>): boolean => role === 'slave';
const loads = (info: Record<string, string>): boolean => info['loading'] === '1';
const rewrites = (info: Record<string, string>): boolean => isFollower(info) && !loads(info) && info['aof_rewrite_in_progress'] === '1' && info['master_link_status'] === 'up';

export const SAFETY: readonly Point[] = [
  { name: 'the safety copy is asked for', moment: control('PSYNC', false), data: 'OLD' },
  { name: 'the safety copy begins to arrive', moment: { on: 'control', what: { at: 'said', way: 'down', text: '$EOF:', passed: true } }, data: 'OLD' },
];

/** Where the target is set to load while it receives, and set back. */
export const SETTING: readonly Point[] = [
  { name: 'its setting is to be changed', moment: control(SET, false), data: 'OLD' },
  { name: 'its setting has been changed', moment: control(SET, true), data: 'OLD' },
  { name: 'its setting is to be put back', moment: control(SET_BACK, false), data: 'NEW', promoted: true },
  { name: 'its setting has been put back', moment: control(SET_BACK, true), data: 'NEW', promoted: true },
];

export const LINK: readonly Point[] = [
  { name: 'the target is to be told to follow', moment: control(FOLLOW, false), data: 'OLD' },
  { name: 'the target has been told to follow', moment: control(FOLLOW, true), data: 'OLD' },
  { name: 'the target dials', moment: link({ at: 'dialled' }), data: 'OLD' },
  { name: 'the target proves itself', moment: link({ at: 'said', way: 'up', text: 'PSYNC', passed: false }), data: 'OLD' },
  { name: 'the synchronisation is granted', moment: link({ at: 'said', way: 'down', text: '+FULLRESYNC', passed: false }), data: 'OLD' },
  { name: 'the payload is announced', moment: link({ at: 'payload', bytes: 0 }), data: 'OLD' },
  { name: 'one byte has passed', moment: link({ at: 'payload', bytes: 1 }), data: 'OLD' },
  { name: 'a quarter has passed', moment: link({ at: 'share', of: 0.25 }), data: 'OLD' },
  { name: 'half has passed', moment: link({ at: 'share', of: 0.5 }), data: 'OLD' },
  { name: 'three quarters have passed', moment: link({ at: 'share', of: 0.75 }), data: 'OLD' },
  { name: 'all has passed but what is held back', moment: link({ at: 'payload', bytes: -16 }), data: 'OLD' },
  { name: 'the point of no return is behind, and nothing more has passed', moment: link({ at: 'payload', bytes: -15 }), data: 'OLD' },
  { name: 'all has passed but the last byte', moment: link({ at: 'payload', bytes: -1 }), data: 'OLD' },
];

export const LOADED: readonly Point[] = [
  { name: 'all has passed', moment: link({ at: 'share', of: 1 }), data: null },
  { name: 'the target loads', moment: { seen: loads }, data: 'NEW', set: SLOW_LOAD },
  { name: 'the target acknowledges the load', moment: link({ at: 'said', way: 'up', text: 'ACK\r\n', passed: false }), data: 'NEW' },
  { name: 'the target writes its append-only file', moment: { seen: rewrites }, data: 'NEW', logged: true, set: { 'rdb-key-save-delay': '400' } },
  { name: 'the target is to be made a master', moment: control(PROMOTE, false), data: 'NEW' },
  { name: 'the target has been made a master', moment: control(PROMOTE, true), data: 'NEW' },
  { name: 'the target has answered that it is a master', moment: control('INFO', false, PROMOTE), data: 'NEW', promoted: true },
];

/** Has the point in its way: `strike` is called at it, once. What it rejects with, or that the point has not come, is told by `struck`. */
export const aim = (point: Point, taps: { control: Tap; link: Tap }, info: () => Promise<Record<string, string>>, strike: () => Promise<void>): Promise<void> => {
  const { moment } = point;
  if ('seen' in moment) return waitFor(async () => moment.seen(await info()), { timeoutMs: 15_000, intervalMs: 5, message: point.name }).then(strike);
  return new Promise((done, fail) => {
    const timer = setTimeout(() => fail(new Error(`The moment did not come: ${point.name}`)), 15_000);
    taps[moment.on].on(moment.what, async () => {
      clearTimeout(timer);
      await strike().then(done, fail);
    });
  });
};

/** A target with 30 keys that its own persistence keeps. */
export const startTarget = async (point: Point, logged: boolean): Promise<RedisServer> => {
  const target = await startRedis({ config: logged ? { appendonly: 'yes', appendfsync: 'always' } : {} });
  const client = target.client();
  await client.mset(Object.fromEntries(Array.from({ length: 30 }, (_, at) => [`old:${String(at)}`, 'x'.repeat(50)])));
  if (!logged) await client.save();
  if (point.set) await client.call('CONFIG', 'SET', ...Object.entries(point.set).flat());
  client.disconnect();
  return target;
};

/** That it is a master that takes writes; and with an append-only file, that what it acknowledges survives its kill, beside what it held. */
export const expectWritable = async (target: RedisServer, logged: boolean): Promise<void> => {
  const held = await digest(target);
  expect(await target.cli('ROLE')).toMatch(/^master/);
  expect(await target.cli('SET', 'acknowledged', '1')).toBe('OK');
  if (!logged) return;
  await target.restart({ signal: 'SIGKILL' });
  expect(await target.cli('GET', 'acknowledged')).toBe('1');
  await target.cli('DEL', 'acknowledged');
  expect(await digest(target)).toBe(held);
};
