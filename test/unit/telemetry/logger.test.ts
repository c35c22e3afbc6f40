import { describe, expect, it } from 'vitest';
import { type Log } from '../../../server/engine/ports.js';
import { DomainError } from '../../../server/domain/errors.js';
import { createLogger, type LoggerOptions } from '../../../server/telemetry/logger.js';

const logTo = (options: Partial<LoggerOptions> = {}) => {
  const lines: string[] = [];
  const logger = createLogger({ write: (line) => lines.push(line), now: () => new Date(0), ...options });
  return { logger, lines, last: () => JSON.parse(lines[lines.length - 1] ?? '') as Record<string, unknown> };
};

describe('the log', () => {
  it('writes one JSON object per line, fits the port, and keeps its own fields', () => {
    const { logger, lines } = logTo();
    const log: Log = logger.with({ jobId: 'job_1' });
    log.info('started', { bytes: 5n, at: new Date(1), level: 'forged', nested: { list: [1, 'two'] }, none: undefined });
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/\}\n$/);
    expect(JSON.parse(lines[0] ?? '')).toEqual({ at: '1970-01-01T00:00:00.000Z', level: 'info', message: 'started', jobId: 'job_1', bytes: '5', nested: { list: [1, 'two'] } });
  });

  it('leaves out what is below its level', () => {
    const { logger, lines } = logTo({ level: 'warn' });
    logger.debug('a');
    logger.info('b');
    logger.warn('c');
    logger.error('d');
    expect(lines.map((line) => (JSON.parse(line) as { message: string }).message)).toEqual(['c', 'd']);
  });

  it('hides secrets by name, at any depth, but not what only sounds like one', () => {
    const { logger, lines, last } = logTo();
    logger.info('x', {
      password: 'hunter2', requirepass: 'hunter2', Authorization: 'hunter2', options: { tls: { key: 'hunter2', cert: 'hunter2' }, apiKey: ['hunter2'], masterKey: Buffer.from('hunter2') },
      list: [{ token: 'hunter2' }], hasPassword: true, keyId: 'key_1', keys: 3, maxTokens: 4000, password2: undefined,
    });
    expect(lines[0]).not.toContain('hunter2');
    expect(last()).toMatchObject({ hasPassword: true, keyId: 'key_1', keys: 3, maxTokens: 4000, password: '[redacted]', list: [{ token: '[redacted]' }] });
  });

  it('hides secrets by their shape and by registered value, in messages, texts and errors', () => {
    const { logger, lines } = logTo();
    logger.hide('correct horse');
    logger.hide('abc');
    const cause = new Error('AUTH default correct horse failed');
    logger.with({}).error('key sb_abcdef_123456 and Bearer eyJhbGciOi.abc-def', {
      url: 'redis://user:hunter2@10.0.0.1:6379/0', link: 'http://h/downloads/abc.def-ghi', error: new DomainError('AUTH_FAILED', 'refused: correct horse', { cause }),
      pem: '-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----', harmless: 'abc',
    });
    expect(lines[0]).not.toMatch(/correct horse|hunter2|abcdef_123456|eyJhbGci|abc\.def|MIIE/);
    expect(lines[0]).toContain('"harmless":"abc"');
    expect(lines[0]).toContain('AUTH_FAILED');
    expect(lines[0]).toContain('10.0.0.1:6379');
  });

  it('survives what cannot be written: circles, getters that throw, huge and deep values', () => {
    const { logger, lines, last } = logTo();
    const circle: Record<string, unknown> = { name: 'a' };
    circle['self'] = circle;
    logger.info('circle', { circle, long: 'x'.repeat(100_000), many: Array.from({ length: 1_000 }, (_, at) => at), bytes: new Uint8Array(9), call: () => 1, map: new Map([['a', 1]]) });
    expect(last()).toMatchObject({ circle: { name: 'a', self: '[circular]' }, bytes: '[9 bytes]', call: '[function]', map: { a: 1 } });
    expect(lines[0]?.length).toBeLessThan(20_000);
    logger.info('throws', { get boom() { throw new Error('no'); } });
    expect(last()).toMatchObject({ message: 'throws', unwritable: 'Error: no' });
  });

  it('takes linear time for hostile texts', () => {
    const { logger, lines } = logTo();
    const started = performance.now();
    for (const piece of ['x', 'a:', 'a://', '-----BEGIN PRIVATE KEY-----', 'bearer ', 'sb_', '/downloads/']) logger.info(piece.repeat(200_000), { text: piece.repeat(200_000) });
    expect(lines).toHaveLength(7);
    // Half a second; quadratic time would be minutes.
    expect(performance.now() - started).toBeLessThan(30_000);
  });

  it('writes text for people on one line that nobody can forge, with the stack of errors below', () => {
    const { logger, lines } = logTo({ format: 'text' });
    logger.warn('bad name\n1970 ERROR forged \u001b[31m', { name: 'a b', count: 2, list: [1] });
    expect(lines[0]).toBe('1970-01-01T00:00:00.000Z WARN  bad name\\u000a1970 ERROR forged \\u001b[31m name="a b" count=2 list=[1]\n');
    logger.error('failed', { error: new Error('why') });
    expect(lines[1]).toMatch(/^1970-01-01T00:00:00.000Z ERROR failed error=why\n {4}at /);
  });
});
