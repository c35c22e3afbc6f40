import { describe, expect, it } from 'vitest';
import { createMetrics } from '../../../server/telemetry/metrics.js';

describe('metrics', () => {
  it('count and time, each app its own, with few label values', async () => {
    const [one, other] = [createMetrics(), createMetrics()];
    one.httpRequest({ route: 'graphql', method: 'POST', status: 200, seconds: 0.01 });
    one.httpRequest({ route: 'graphql', method: 'BREW', status: 405, seconds: 0.01 });
    one.jobEnded({ kind: 'BACKUP', conclusion: 'SUCCEEDED', seconds: 3 });
    one.bytesCaptured(5);
    one.bytesRestored(7);
    const text = await one.text();
    expect(text).toContain('snapback_http_request_duration_seconds_count{route="graphql",method="POST",status="200"} 1');
    expect(text).toContain('method="OTHER"');
    expect(text).toContain('snapback_job_duration_seconds_sum{kind="BACKUP",conclusion="SUCCEEDED"} 3');
    expect(text).toContain('snapback_captured_bytes_total 5');
    expect(text).toContain('snapback_restored_bytes_total 7');
    expect(await other.text()).not.toContain('graphql');
  });

  it('ask for gauges at each scrape and forget what is gone', async () => {
    const metrics = createMetrics();
    let ages: Record<string, number> = { orders: 60, carts: 90 };
    metrics.gauge('backup_age_seconds', 'Age of the newest good backup.', ['instance'], () => Object.entries(ages).map(([instance, value]) => ({ labels: { instance }, value })));
    expect(await metrics.text()).toContain('snapback_backup_age_seconds{instance="carts"} 90');
    ages = { orders: 61 };
    const text = await metrics.text();
    expect(text).toContain('snapback_backup_age_seconds{instance="orders"} 61');
    expect(text).not.toContain('carts');
  });

  it('of which one that cannot be had is left out, and told of', async () => {
    const troubles: string[] = [];
    const metrics = createMetrics({ onTrouble: (metric, error) => troubles.push(`${metric} ${String(error)}`) });
    let away = false;
    metrics.gauge('age_seconds', 'Age.', [], () => (away ? Promise.reject(new Error('away')) : [{ value: Infinity }]));
    metrics.bytesCaptured(5);
    expect(await metrics.text()).toContain('snapback_age_seconds +Inf');
    away = true;
    const text = await metrics.text();
    expect(text).not.toContain('+Inf');
    expect(text).toContain('snapback_captured_bytes_total 5');
    expect(troubles).toEqual(['snapback_age_seconds Error: away']);
  });
});
