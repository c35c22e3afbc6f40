import { beforeEach, describe, expect, it } from 'vitest';
import { DomainError } from '../../../server/domain/errors.js';
import { type SchedulePolicy, WEEKDAYS } from '../../../server/domain/schedule.js';
import { type SlotRecord } from '../../../server/services/records.js';
import { DispatchWorld, PROJECT } from '../../kit/dispatch-world.js';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const INSTANCE = 'ins_01jd0000000000000000000000';
const DAILY: SchedulePolicy = { weekdays: WEEKDAYS, startTime: '02:00', windowMinutes: 60, timeZone: 'UTC', enabled: true };
/** Where in the window of an hour this instance's runs lie. */
const OFFSET = 29 * MINUTE + 30_000;
const START = Date.UTC(2025, 0, 6);
const at = (day: number): number => START + day * DAY + 2 * HOUR + OFFSET;

describe('what becomes of planned runs', () => {
  let world: DispatchWorld;
  let refusal: DomainError | undefined;
  let policyId: string;
  beforeEach(() => {
    refusal = undefined;
    world = new DispatchWorld({ catchUpMs: 6 * HOUR, refuse: () => refusal });
    world.now = START;
    policyId = world.add(INSTANCE, DAILY).id;
  });

  const slots = (): Pick<SlotRecord, 'state' | 'startedBy' | 'reason'>[] => world.slotsOf(INSTANCE).map(({ state, startedBy, reason }) => ({ state, startedBy, reason }));
  const caller = { credential: 'API_KEY', keyId: 'key', name: 'key', projectId: PROJECT, role: 'ADMIN', serviceWide: false, instanceIds: null, expiresAt: null } as const;
  const makeBusy = (): Set<string> => world.busy.add(`server of ${INSTANCE}`);
  const started = { state: 'STARTED', reason: null };
  const missed = (reason: string) => ({ state: 'MISSED', startedBy: null, reason });
  const LATER = 'The service was not running in time; a later slot has come since.';

  it('a run is started at its instant by its own job of Agenda, and says so', async () => {
    await world.live(at(0) + 1);
    expect(world.started.map((start) => start.at.getTime())).toEqual([at(0)]);
    expect(slots()).toEqual([{ ...started, startedBy: 'AGENDA_JOB' }]);
    expect(world.policy(INSTANCE).nextRunAt?.getTime()).toBe(at(1));
    expect(world.pending.get(policyId)).toBe(at(1));
    expect(world.notices).toEqual([]);
  });

  it('without any job of Agenda the net starts it, and tells Agenda of the next', async () => {
    world.pending.clear();
    world.now = at(0) - 1;
    await world.dispatcher.dispatchDue();
    expect(slots()).toEqual([]);
    world.now = at(0);
    await world.dispatcher.dispatchDue();
    await world.dispatcher.dispatchDue();
    expect(slots()).toEqual([{ ...started, startedBy: 'NET' }]);
    expect(world.started).toHaveLength(1);
    expect(world.pending.get(policyId)).toBe(at(1));
  });

  it('Agenda is told again of a run that comes soon, so that the net need not start it late', async () => {
    world.pending.clear();
    world.now = at(0) - 10 * MINUTE;
    await world.dispatcher.remind();
    expect(world.pending.size).toBe(0);
    world.now = at(0) - MINUTE;
    await world.dispatcher.remind();
    expect(world.pending.get(policyId)).toBe(at(0));
    // Not of one that is about to be delivered: it would be delivered twice.
    world.pending.clear();
    world.now = at(0) - 1_000;
    await world.dispatcher.remind();
    expect(world.pending.size).toBe(0);
  });

  it('a wake-up that comes too early starts nothing, and is asked for again', async () => {
    world.now = at(0) - 300;
    await world.dispatcher.policyDue(policyId);
    expect(world.slots.size).toBe(0);
    expect(world.pending.get(policyId)).toBe(at(0) + 700);
  });

  it.each([[6 * HOUR, 1], [6 * HOUR + 1, 0]])('after a downtime of %i ms past its instant it is run %i times', async (late, runs) => {
    world.now = at(0) + late;
    await world.dispatcher.dispatchDue();
    expect(world.started).toHaveLength(runs);
    expect(slots()).toEqual([runs === 1 ? { ...started, startedBy: 'NET' } : missed('The service was not running in time.')]);
    expect(world.notices.map(({ kind }) => kind)).toEqual(runs === 1 ? [] : ['SLOT_MISSED']);
    expect(world.policy(INSTANCE).nextRunAt?.getTime()).toBe(at(1));
  });

  it('several missed slots give one run, for the newest; the others are recorded and told of at once', async () => {
    world.now = at(3) + HOUR;
    await Promise.all([world.dispatcher.dispatchDue(), world.dispatcher.policyDue(policyId)]);
    expect(slots()).toEqual([missed(LATER), missed(LATER), missed(LATER), { ...started, startedBy: expect.any(String) as string }]);
    expect(world.slotsOf(INSTANCE).map(({ plannedAt, weekday }) => `${weekday} ${plannedAt.getTime()}`))
      .toEqual([`MONDAY ${at(0)}`, `TUESDAY ${at(1)}`, `WEDNESDAY ${at(2)}`, `THURSDAY ${at(3)}`]);
    expect(world.started).toHaveLength(1);
    expect(world.notices).toEqual([expect.objectContaining({
      kind: 'SLOT_MISSED', instanceId: INSTANCE, message: `3 planned backups were missed: ${LATER}`,
      details: expect.objectContaining({ missedSlots: 3, firstPlannedAt: new Date(at(0)).toISOString(), plannedAt: new Date(at(2)).toISOString() }) as unknown,
    })]);
  });

  it('several missed slots of which even the newest is too old give none, and each has a reason', async () => {
    world.now = at(3) + 7 * HOUR;
    await world.dispatcher.dispatchDue();
    expect(slots()).toEqual([missed(LATER), missed(LATER), missed(LATER), missed('The service was not running in time.')]);
    expect(world.started).toEqual([]);
  });

  it('on a busy server it waits, and starts when the server is free', async () => {
    makeBusy();
    await world.live(at(0) + 5 * HOUR);
    await world.dispatcher.dispatchDue();
    expect(slots()).toEqual([{ state: 'DUE', startedBy: null, reason: 'Another backup or restore works on the server.' }]);
    world.busy.clear();
    await world.dispatcher.dispatchDue();
    expect(slots()).toEqual([{ ...started, startedBy: 'NET' }]);
    expect(world.started.map((start) => start.at.getTime())).toEqual([at(0) + 5 * HOUR]);
  });

  it('on a server that stays busy it is MISSED when its catch-up time ends', async () => {
    makeBusy();
    await world.live(at(0) + 6 * HOUR);
    await world.dispatcher.dispatchDue();
    expect(slots()).toMatchObject([{ state: 'DUE' }]);
    world.now += 1;
    await world.dispatcher.dispatchDue();
    expect(slots()).toEqual([missed('The server was busy until the catch-up time ended.')]);
    expect(world.notices).toHaveLength(1);
  });

  it('one that lost a race for the server waits, too', async () => {
    refusal = new DomainError('INSTANCE_BUSY', 'Busy.');
    await world.live(at(0) + 1);
    expect(slots()).toMatchObject([{ state: 'DUE' }]);
    refusal = undefined;
    await world.dispatcher.dispatchDue();
    expect(slots()).toMatchObject([{ state: 'STARTED' }]);
  });

  it('one that cannot be started at all is MISSED with the reason', async () => {
    refusal = new DomainError('ENGINE_UNSUPPORTED', 'Redis 4.0 is switched off.');
    await world.live(at(0) + 1);
    expect(slots()).toEqual([missed('Redis 4.0 is switched off.')]);
  });

  it('one that still waits when the next has come is MISSED: several waiting slots give one run', async () => {
    world = new DispatchWorld({ catchUpMs: 7 * DAY });
    world.now = START;
    world.add(INSTANCE, DAILY);
    makeBusy();
    await world.live(at(2) + HOUR);
    world.busy.clear();
    await world.dispatcher.dispatchDue();
    const later = 'The server was busy until a later slot came.';
    expect(slots()).toEqual([missed(later), missed(later), { ...started, startedBy: 'NET' }]);
    expect(world.started).toHaveLength(1);
  });

  it('a fault of one policy keeps no other from running', async () => {
    world.policies.set('policy of broken', { ...world.policy(INSTANCE), id: 'policy of broken', instanceId: 'broken', timeZone: 'Mars/Olympus', nextRunAt: new Date(at(0) - 1) });
    world.pending.clear();
    world.now = at(0);
    await expect(world.dispatcher.dispatchDue()).rejects.toThrow('1 planned runs could not be decided');
    expect(slots()).toMatchObject([{ state: 'STARTED' }]);
  });

  describe('a change of the policy', () => {
    const set = (change: Partial<SchedulePolicy>) => world.policyApi.set(caller, { instanceId: INSTANCE, ...change });

    it('applies from the next slot: a run that has not come yet is planned anew', async () => {
      world.now = at(0) - 1;
      await set({ startTime: '05:00' });
      expect(world.policy(INSTANCE).nextRunAt?.getTime()).toBe(at(0) + 3 * HOUR);
      await world.live(at(0) + 3 * HOUR + 1);
      expect(world.started.map((start) => start.at.getTime())).toEqual([at(0) + 3 * HOUR]);
    });

    it('loses no run whose instant has come and that nobody has taken yet', async () => {
      world.now = at(0) + 5;
      await set({ startTime: '05:00' });
      expect(world.policy(INSTANCE).nextRunAt?.getTime()).toBe(at(0) + 3 * HOUR);
      await world.live(at(0) + 10);
      expect(slots()).toEqual([{ ...started, startedBy: 'AGENDA_JOB' }]);
      expect(world.slotsOf(INSTANCE)[0]?.plannedAt.getTime()).toBe(at(0));
      // And Agenda holds the next one.
      expect(world.pending.get(policyId)).toBe(at(0) + 3 * HOUR);
    });

    it('records what was missed by the policy as it was', async () => {
      world.now = at(2) + HOUR;
      await set({ weekdays: ['SUNDAY'] });
      await world.dispatcher.dispatchDue();
      expect(slots()).toEqual([missed(LATER), missed(LATER), { ...started, startedBy: 'NET' }]);
      expect(world.policy(INSTANCE).nextRunAt?.getTime()).toBe(at(6));
    });

    it('that switches it off ends what waits', async () => {
      makeBusy();
      await world.live(at(0) + HOUR);
      await set({ enabled: false });
      world.busy.clear();
      await world.dispatcher.dispatchDue();
      expect(slots()).toEqual([missed('Automatic backups were switched off before it could start.')]);
      expect(world.pending.size).toBe(0);
      await world.live(at(5));
      expect(world.started).toEqual([]);
    });
  });

  it('the removal of the instance ends what waits', async () => {
    makeBusy();
    await world.live(at(0) + HOUR);
    const instance = world.instances.get(INSTANCE);
    if (instance) world.instances.set(INSTANCE, { ...instance, removedAt: new Date(world.now) });
    await world.dispatcher.dispatchDue();
    expect(slots()).toEqual([missed('The instance was removed.')]);
  });

  it('a run belongs to the weekday on which its window starts, also when it lies after midnight', async () => {
    world.add('late', { ...DAILY, weekdays: ['SUNDAY'], startTime: '23:45', windowMinutes: 60 });
    await world.live(START + 8 * DAY);
    // The first window opened on the Sunday before the world began.
    expect(world.slotsOf('late').map(({ weekday, plannedAt }) => `${weekday} ${plannedAt.toISOString()}`))
      .toEqual(['SUNDAY 2025-01-06T00:08:30.000Z', 'SUNDAY 2025-01-13T00:08:30.000Z']);
  });
});
