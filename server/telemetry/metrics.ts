import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';

/** What this service measures. One per app: nothing is registered globally. Durations are in seconds, sizes in bytes. */
export interface Metrics {
  httpRequest(request: { route: string; method: string; status: number; seconds: number }): void;
  jobEnded(job: { kind: string; conclusion: string; seconds: number }): void;
  bytesCaptured(bytes: number): void;
  bytesRestored(bytes: number): void;
  /** A value that is asked for at each scrape, such as the age of an instance's newest backup. */
  gauge(name: string, help: string, labels: readonly string[], collect: () => Iterable<GaugeSample> | Promise<Iterable<GaugeSample>>): void;
  /** Everything in the Prometheus text format, version 0.0.4. */
  text(): Promise<string>;
}

export interface GaugeSample {
  labels?: Readonly<Record<string, string>> | undefined;
  value: number;
}

const PREFIX = 'snapback_';

/** How late a timer is that is due so often is measured. The library's 10 ms wake a service that has nothing to do a hundred times a second, for half of all it then uses. */
export const EVENT_LOOP_TICK_MS = 100;

export interface MetricsOptions {
  /** Also memory, CPU, event loop and garbage collection of this process; they cannot be taken back, so once per process. */
  processMetrics?: boolean;
  /** Told of a gauge whose values could not be had. */
  onTrouble?: (metric: string, error: unknown) => void;
}

export const createMetrics = ({ processMetrics = false, onTrouble }: MetricsOptions = {}): Metrics => {
  const registry = new Registry();
  const registers = [registry];
  if (processMetrics) collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: EVENT_LOOP_TICK_MS });

  const requests = new Histogram({
    name: `${PREFIX}http_request_duration_seconds`, help: 'Time from the first byte of a request to the end of its answer.',
    labelNames: ['route', 'method', 'status'], buckets: [0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60], registers,
  });
  const jobs = new Histogram({
    name: `${PREFIX}job_duration_seconds`, help: 'Time from the start of a job to its end.',
    labelNames: ['kind', 'conclusion'], buckets: [0.5, 1, 5, 15, 60, 300, 900, 3_600, 14_400], registers,
  });
  const captured = new Counter({ name: `${PREFIX}captured_bytes_total`, help: 'RDB bytes received from protected servers.', registers });
  const restored = new Counter({ name: `${PREFIX}restored_bytes_total`, help: 'RDB bytes sent to restore targets.', registers });

  /** Methods are free text from outside; as labels they must be few. */
  const METHODS = new Set(['GET', 'HEAD', 'POST', 'OPTIONS', 'PUT', 'PATCH', 'DELETE']);

  return {
    httpRequest: ({ route, method, status, seconds }) =>
      requests.observe({ route, method: METHODS.has(method) ? method : 'OTHER', status: String(status) }, seconds),
    jobEnded: ({ kind, conclusion, seconds }) => jobs.observe({ kind, conclusion }, seconds),
    bytesCaptured: (bytes) => captured.inc(bytes),
    bytesRestored: (bytes) => restored.inc(bytes),
    gauge(name, help, labels, collect) {
      new Gauge({
        name: `${PREFIX}${name}`, help, labelNames: [...labels], registers,
        async collect() {
          // One that cannot be asked for, since the database is away, say, is left out: the others are what one looks at then.
          const samples = await Promise.resolve().then(collect).catch((error: unknown) => {
            onTrouble?.(`${PREFIX}${name}`, error);
            return [];
          });
          this.reset();
          for (const { labels: of = {}, value } of samples) this.set(of, value);
        },
      });
    },
    text: () => registry.metrics(),
  };
};
