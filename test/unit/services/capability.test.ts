import { describe, expect, it } from 'vitest';
import { capabilities, engineGate, NOTHING_OFF, underGate } from '../../../server/domain/capability.js';
import { PROBED_RIGHTS, type ProbeReport } from '../../../server/domain/server-report.js';

const report: ProbeReport = {
  engine: 'REDIS', version: '7.0.15', runId: 'a'.repeat(40), role: 'MASTER', mode: 'STANDALONE', usedMemoryBytes: 1n, maxMemoryBytes: 0n, maxMemoryPolicy: 'noeviction', databases: [], keys: 0n,
  persistence: { appendOnly: false, saveRules: '', rdbChecksum: true, lastSaveAt: null, lastSaveOk: null }, rdbMagic: 'REDIS', rdbVersion: 10, replicationId: null, replicationOffset: null,
  connectedReplicas: 0, master: null, loading: false, sentinelWatched: false, slots: [], rights: PROBED_RIGHTS.map((command) => ({ command, allowed: true })),
};

describe('an operator\'s rules over what a probe found', () => {
  const known = capabilities(report, NOTHING_OFF, { acceptPartial: false });

  it('leave what they do not mean as it is', () => {
    expect(known.backup.possible).toBe(true);
    for (const rules of [[], ['redis 7.2'], ['redis 7.0.1'], ['valkey'], ['valkey 7.0']]) expect(underGate(known, report, engineGate(rules))).toEqual(known);
  });

  it('switch off what they mean, as a probe under them would', () => {
    for (const rules of [['redis'], ['redis 7'], ['Redis  7.0'], ['valkey 9', 'redis 7.0.15']]) {
      const off = underGate(known, report, engineGate(rules));
      expect(off).toEqual(capabilities(report, engineGate(rules), { acceptPartial: false }));
      expect(off).toMatchObject({ backup: { possible: false, reason: expect.stringContaining('Redis 7.0.15') as string }, restore: { possible: false, methods: [] } });
    }
  });

  it('are not understood when they are none', () => {
    for (const rule of ['', 'keydb 6', 'redis x', 'redis 7.*']) expect(() => engineGate([rule])).toThrow(expect.objectContaining({ code: 'BAD_INPUT' }) as Error);
  });
});

describe('a node of a cluster', () => {
  it('says when nobody can tell which slots its backups cover', () => {
    const node: ProbeReport = { ...report, mode: 'CLUSTER' };
    const reason = (slots: ProbeReport['slots']) => capabilities({ ...node, slots }, NOTHING_OFF, { acceptPartial: true }).backup.reason;
    expect(reason([{ start: 0, end: 1 }])).toBe('A backup covers only the slots of this node.');
    expect(reason([])).toContain('+cluster|nodes');
  });
});
