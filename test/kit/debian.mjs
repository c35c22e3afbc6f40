// Fetches and unpacks Debian's packages without installing anything and without root. The system's own apt sources name the mirror.
import { execFile } from 'node:child_process';
import { mkdir, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

export const run = promisify(execFile);

export const exists = (path) => stat(path).then(() => true, () => false);

/** Debian's own keys, where they are installed apart from the keys apt trusts by default. */
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

/** The system's mirrors: one for the archive, one for security updates. */
export const mirrors = async () => {
  const { stdout } = await run('apt-get', ['indextargets', '--format', '$(REPO_URI) $(RELEASE)', 'Created-By: Packages']);
  const found = {};
  for (const line of stdout.split('\n').filter((text) => text !== '')) {
    const [uri, release] = line.split(' ');
    found[release.endsWith('-security') ? 'security' : 'archive'] ??= uri;
  }
  if (found.archive === undefined) throw new Error('apt names no Debian mirror: run apt-get indextargets to see what it knows');
  found.security ??= found.archive.replace(/debian\/?$/, 'debian-security/');
  return found;
};

/** apt with state of its own in `work`, its lists read: nothing of the system's lists, packages or pins is read or changed. */
export const openApt = async (work, suites, mirror) => {
  for (const folder of ['state/lists/partial', 'cache/archives/partial', 'etc/empty.d', 'debs']) await mkdir(join(work, folder), { recursive: true });
  const key = (await exists(KEYRING)) ? `[signed-by=${KEYRING}] ` : '';
  const sources = suites.map((suite) => `deb ${key}${suite.endsWith('-security') ? mirror.security : mirror.archive} ${suite} main`);
  await writeFile(join(work, 'etc/sources.list'), sources.join('\n') + '\n');
  await writeFile(join(work, 'state/status'), '');
  const options = {
    'Dir::Etc::SourceList': join(work, 'etc/sources.list'), 'Dir::Etc::SourceParts': join(work, 'etc/empty.d'),
    'Dir::Etc::Preferences': '/dev/null', 'Dir::Etc::PreferencesParts': join(work, 'etc/empty.d'),
    'Dir::State': join(work, 'state'), 'Dir::State::Lists': join(work, 'state/lists'), 'Dir::State::status': join(work, 'state/status'), 'Dir::Cache': join(work, 'cache'),
    'Acquire::Languages': 'none', 'Acquire::Check-Valid-Until': 'false', 'Acquire::Retries': '2',
    'Acquire::IndexTargets::deb::DEP-11::DefaultEnabled': 'false', 'Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled': 'false',
  };
  const args = Object.entries(options).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
  const apt = (program, ...rest) => run(program, [...args, '-q', ...rest], { cwd: join(work, 'debs'), maxBuffer: 64 * 1024 * 1024, timeout: 300_000 });
  await apt('apt-get', 'update');
  return apt;
};

/** The packages and everything they depend on that is `wanted`, as far as the suites have it. */
export const available = async (apt, packages, wanted) => {
  const { stdout } = await apt('apt-cache', 'depends', '--recurse', '--no-recommends', '--no-suggests', '--no-conflicts', '--no-breaks', '--no-replaces', '--no-enhances', ...packages);
  const names = [...new Set(stdout.split('\n').filter((line) => /^\S/.test(line)))].filter((name) => wanted(name) && !name.includes(':'));
  const listed = (await apt('apt-cache', 'policy', ...names)).stdout;
  return names.filter((name) => new RegExp(`^${name.replace(/[.+]/g, '\\$&')}:\\n  Installed: .*\\n  Candidate: (?!\\(none\\))`, 'm').test(listed));
};

/** Downloads the packages and lays their files out below `root`. */
export const unpack = async (apt, work, packages, root) => {
  await apt('apt-get', 'download', ...packages);
  await mkdir(root, { recursive: true });
  for (const deb of await readdir(join(work, 'debs'))) await run('dpkg-deb', ['-x', join(work, 'debs', deb), root]);
};

/** What went wrong, in few lines. apt explains itself in lines that begin with E: or W:; without them the whole message says more. */
export const explained = (error) => {
  const lines = String(error.message ?? error).split('\n');
  const said = lines.filter((line) => /^[EW]: /.test(line));
  return (said.length > 0 ? said : lines).slice(0, 6).join('\n    ');
};
