import { describe, expect, it } from 'vitest';
import { backoffMs, parseRetryAfter, pause, retryPolicy, startDeadline } from '../../../sdk/src/timing.js';

describe('Retry-After', () => {
  it('takes seconds and HTTP dates, and nothing else', () => {
    expect(parseRetryAfter('3')).toBe(3_000);
    expect(parseRetryAfter(' 0 ')).toBe(0);
    expect(parseRetryAfter(new Date(Date.now() - 60_000).toUTCString())).toBe(0);
    const soon = parseRetryAfter(new Date(Date.now() + 3_600_000).toUTCString());
    expect(soon).toBeGreaterThan(3_000_000);
    expect(soon).toBeLessThanOrEqual(3_600_000);
    expect(parseRetryAfter(null)).toBeUndefined();
    expect(parseRetryAfter('soon')).toBeUndefined();
    expect(parseRetryAfter('-1 potato')).toBeUndefined();
  });
});

describe('the pause between attempts', () => {
  it('doubles, is never below half nor above the whole, and has a ceiling', () => {
    const policy = retryPolicy({ baseMs: 100, maxMs: 1_000 });
    for (const [failures, ceiling] of [[1, 100], [2, 200], [3, 400], [4, 800], [5, 1_000], [30, 1_000]] as const) {
      for (let i = 0; i < 50; i += 1) {
        const ms = backoffMs(policy, failures);
        expect(ms).toBeGreaterThanOrEqual(ceiling / 2);
        expect(ms).toBeLessThanOrEqual(ceiling);
      }
    }
  });

  it('ends at once when the signal is aborted, with the reason as cause', async () => {
    const controller = new AbortController();
    const pending = pause(60_000, 'The call', controller.signal);
    controller.abort('enough');
    await expect(pending).rejects.toMatchObject({ kind: 'aborted', code: 'ABORTED', cause: 'enough' });
    await expect(pause(60_000, 'The call', controller.signal)).rejects.toMatchObject({ kind: 'aborted' });
  });
});

describe('retryPolicy', () => {
  it('never repeats when switched off', () => {
    expect(retryPolicy(false)).toMatchObject({ attempts: 1, resumeForMs: 0 });
    expect(retryPolicy({ attempts: 0 }).attempts).toBe(1);
    expect(retryPolicy(undefined).attempts).toBe(4);
  });
});

describe('a deadline', () => {
  it('tells a timeout from an abort', async () => {
    const timedOut = startDeadline('The call', 1);
    await new Promise((resolve) => {
      timedOut.signal.addEventListener('abort', resolve);
    });
    const fallback = (): never => {
      throw new Error('not asked');
    };
    expect(timedOut.explain('x', fallback)).toMatchObject({ kind: 'timeout', retryable: true });

    const outer = new AbortController();
    const aborted = startDeadline('The call', 60_000, outer.signal);
    outer.abort();
    expect(aborted.signal.aborted).toBe(true);
    expect(aborted.explain('x', fallback)).toMatchObject({ kind: 'aborted' });
    aborted.dispose();
    timedOut.dispose();
  });
});
