// Whether what users install has known weaknesses. A registry that does not answer such questions is no reason to land nothing; it is said.
import { spawnSync } from 'node:child_process';
import { pathToFileURL } from 'node:url';

const TOO_BAD = ['high', 'critical'];

/**
 * What the output of `npm audit --json` means.
 * @returns {{ ok: boolean, says: string }}
 */
export const judge = (output) => {
  let report;
  try {
    report = JSON.parse(output);
  } catch {
    return { ok: true, says: 'NOT AUDITED: npm audit gave no report.' };
  }
  const counts = report?.metadata?.vulnerabilities;
  if (counts === undefined) return { ok: true, says: `NOT AUDITED: the registry does not answer (${report?.message ?? report?.error?.summary ?? 'no reason given'}).` };
  const bad = Object.entries(report.vulnerabilities ?? {}).filter(([, { severity }]) => TOO_BAD.includes(severity));
  if (bad.length === 0) return { ok: true, says: `No known weakness that is high or critical (${Object.entries(counts).map(([name, count]) => `${name} ${count}`).join(', ')}).` };
  return { ok: false, says: `Known weaknesses: ${bad.map(([name, { severity, range }]) => `${name} ${range} (${severity})`).join(', ')}. Run npm audit.` };
};

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const { stdout } = spawnSync('npm', ['audit', '--omit=dev', '--json'], { encoding: 'utf8', timeout: 60_000, maxBuffer: 64 * 1024 * 1024 });
  const { ok, says } = judge(stdout ?? '');
  console.log(says);
  process.exitCode = ok ? 0 : 1;
}
