import { type JobEventRepository } from '../services/ports.js';
import { type EventHub } from './hub.js';
import { type MayPass, patiently } from './patience.js';
import { place, type Placed } from './placed.js';

const BATCH = 500;
/** It looks this often even when nothing is announced: an announcement may be lost, an event never is. */
const POLL_MS = 2_000;

/** Who is given events. Neither call may throw. */
export interface Taker {
  take(event: Placed): void;
  /** Nothing more comes: the log could not be read. */
  fail(error: unknown): void;
}

export interface Followed {
  /** From then on, whoever reads the log sees all that the taker is not given. */
  readonly ready: Promise<void>;
  leave(): void;
}

/** A node's one reader of new events, whatever the number of those who want them. */
export interface Tail {
  /** @param topic the project's own id, or that of one of its jobs */
  follow(projectId: string, topic: string, taker: Taker): Followed;
}

interface Project {
  takers: number;
  ready: Promise<void>;
  forget(): void;
}

export const createTail = (rows: Pick<JobEventRepository, 'since' | 'newestPosition'>, hub: Pick<EventHub, 'onEvent'>, mayPass: MayPass, pollMs = POLL_MS): Tail => {
  const takers = new Map<string, Set<Taker>>();
  const projects = new Map<string, Project>();
  /** Everything up to here has been given out; undefined while nobody follows anything. */
  let position: string | undefined;
  let announced = false;
  let reading: Promise<void> | undefined;
  let poll: NodeJS.Timeout | undefined;

  const isWanted = (): boolean => projects.size > 0;

  const give = (event: Placed): void => {
    const { id, projectId } = event.record.job;
    for (const topic of [id, projectId]) for (const taker of takers.get(topic) ?? []) taker.take(event);
  };

  const failAll = (error: unknown): void => {
    for (const all of [...takers.values()]) for (const taker of [...all]) taker.fail(error);
  };

  /** One step: finds out where the feed ends, or gives out what has come since. */
  const readOnce = async (): Promise<void> => {
    try {
      if (position === undefined) {
        const newest = await patiently(() => rows.newestPosition(), mayPass, isWanted);
        position = newest;
      } else {
        const after = position;
        const batch = await patiently(() => rows.since([...projects.keys()], after, BATCH), mayPass, isWanted);
        position = batch.at(-1)?.position ?? after;
        if (batch.length === BATCH) announced = true;
        for (const row of batch) give(place(row));
      }
    } catch (error) {
      failAll(error);
    }
    if (!isWanted()) position = undefined;
  };

  const step = (): Promise<void> => (reading ??= readOnce().finally(() => {
    reading = undefined;
    if (announced) look();
  }));

  const look = (): void => {
    announced = true;
    if (reading || !isWanted()) return;
    announced = false;
    void step();
  };

  /** The step that is under way does not read a project that has come meanwhile: what it passes over, that project's readers must find in the log. */
  const settled = async (): Promise<void> => {
    await reading;
    if (position === undefined && isWanted()) await step();
  };

  const enter = (projectId: string): Project => {
    const known = projects.get(projectId);
    if (known) return known;
    const project: Project = { takers: 0, ready: Promise.resolve(), forget: hub.onEvent(projectId, look) };
    projects.set(projectId, project);
    project.ready = settled();
    poll ??= setInterval(look, pollMs);
    return project;
  };

  return {
    follow(projectId, topic, taker) {
      const project = enter(projectId);
      project.takers += 1;
      const others = takers.get(topic) ?? new Set();
      takers.set(topic, others.add(taker));
      return {
        ready: project.ready,
        leave() {
          if (!others.delete(taker)) return;
          if (others.size === 0 && takers.get(topic) === others) takers.delete(topic);
          project.takers -= 1;
          if (project.takers > 0) return;
          project.forget();
          projects.delete(projectId);
          if (isWanted()) return;
          clearInterval(poll);
          poll = undefined;
          if (!reading) position = undefined;
        },
      };
    },
  };
};
