import { describe, expect, it } from 'vitest';
import { type Principal } from '../../../server/domain/principal.js';
import { createAccessWatch } from '../../../server/security/access-watch.js';
import { type ApiKeyRepository } from '../../../server/services/ports.js';

const CALLER: Principal = { credential: 'API_KEY', keyId: 'key_1', name: 'k', projectId: 'prj_1', role: 'OPERATOR', serviceWide: false, instanceIds: ['ins_1'], expiresAt: null };

/** Keys that are changed by hand; nothing is looked at by the clock, and what was looked at counts for no event after it. */
const startScene = () => {
  const keys = new Map([[CALLER.keyId, { ...CALLER, id: CALLER.keyId }]]);
  const wakes = new Map<string, () => void>();
  const state = { now: new Date(0), away: false, looks: 0 };
  const standing: ApiKeyRepository['standing'] = async (ids) => {
    state.looks += 1;
    if (state.away) throw new Error('The database is away');
    return ids.flatMap((id) => keys.get(id) ?? []);
  };
  const watch = createAccessWatch({
    keys: { standing }, now: () => state.now, everyMs: 1e6, freshMs: -1, onTrouble: () => undefined,
    onKeyEvent: (keyId, wake) => {
      wakes.set(keyId, wake);
      return () => wakes.delete(keyId);
    },
  });
  return { keys, wakes, state, watch };
};

describe('an eye on callers that stay', () => {
  it.each<[string, (scene: ReturnType<typeof startScene>) => void]>([
    ['it was revoked', ({ keys }) => keys.clear()],
    ['its role is another', ({ keys }) => keys.set('key_1', { ...CALLER, id: 'key_1', role: 'VIEWER' })],
    ['its instances are others', ({ keys }) => keys.set('key_1', { ...CALLER, id: 'key_1', instanceIds: ['ins_2'] })],
    ['it is limited to fewer', ({ keys }) => keys.set('key_1', { ...CALLER, id: 'key_1', instanceIds: [] })],
    ['it was given an end', ({ keys }) => keys.set('key_1', { ...CALLER, id: 'key_1', expiresAt: new Date(1e12) })],
  ])('no event passes once %s, and that is told once', async (_what, change) => {
    const at = startScene();
    let lost = 0;
    const watched = at.watch.watch(CALLER, () => {
      lost += 1;
    });
    expect([await watched.holds(), await watched.holds(), lost]).toEqual([true, true, 0]);
    change(at);
    expect([await watched.holds(), await watched.holds(), lost]).toEqual([false, false, 1]);
    watched.end();
    expect(at.wakes.size).toBe(0);
  });

  it('a token ends by itself, and is looked for in no table', async () => {
    const { watch, state } = startScene();
    const watched = watch.watch({ ...CALLER, credential: 'TOKEN', keyId: 'tok_1', expiresAt: new Date(1_000) }, () => undefined);
    expect(await watched.holds()).toBe(true);
    state.now = new Date(1_000);
    expect([await watched.holds(), state.looks]).toEqual([false, 0]);
    watched.end();
  });

  it('a database that is away ends nobody, and what was announced meanwhile is seen when it is back', async () => {
    const { watch, state, keys, wakes } = startScene();
    let lost = 0;
    const watched = watch.watch(CALLER, () => {
      lost += 1;
    });
    state.away = true;
    keys.clear();
    wakes.get('key_1')?.();
    expect([await watched.holds(), lost]).toEqual([true, 0]);
    state.away = false;
    expect([await watched.holds(), lost]).toEqual([false, 1]);
    watched.end();
  });
});
