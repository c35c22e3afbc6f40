// Unpacks the Redis and Valkey servers that Debian's packages carry, one folder per version, without installing anything and without root.
// The system's own apt sources name the mirror; only the suite is swapped. Each server runs with its own C library, through its own loader.
// Prints a line per version; ends with 1 when one is missing. REDIS_VERSIONS_DIR names the place (default .cache/redis-versions).
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { VERSIONS } from './versions.mjs';

const run = promisify(execFile);
const repository = fileURLToPath(new URL('../../..', import.meta.url));
const target = resolve(repository, process.env.REDIS_VERSIONS_DIR ?? '.cache/redis-versions');

const NEEDED = /^(lib|lua-|zlib1g|redis|valkey)/;
/** Reached through adduser, init scripts and the like, and needed by no server. */
const NOT_NEEDED = /^(libperl|libdebconf|libpam|libaudit|libsemanage|libsepol|libselinux|libgdbm|libdb5|libnumber|libtext|libfile)/;

const exists = (path) => stat(path).then(() => true, () => false);

/** Debian's own keys, where they are installed apart from the keys apt trusts by default. */
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

/** The system's mirrors: one for the archive, one for security updates. */
const mirrors = async () => {
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

/** apt with state of its own: nothing of the system's lists, packages or pins is read or changed. */
const privateApt = async (work, sources) => {
  for (const folder of ['state/lists/partial', 'cache/archives/partial', 'etc/empty.d', 'debs']) await mkdir(join(work, folder), { recursive: true });
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
  return (program, ...rest) => run(program, [...args, '-q', ...rest], { cwd: join(work, 'debs'), maxBuffer: 64 * 1024 * 1024, timeout: 300_000 });
};

/** The server and every library that something it needs depends on, as far as the suites have them. */
const packagesFor = async (apt, { packages, suites }) => {
  const { stdout } = await apt('apt-cache', 'depends', '--recurse', '--no-recommends', '--no-suggests', '--no-conflicts', '--no-breaks', '--no-replaces', '--no-enhances', ...packages);
  const names = [...new Set(stdout.split('\n').filter((line) => /^\S/.test(line)))].filter((name) => NEEDED.test(name) && !NOT_NEEDED.test(name) && !name.includes(':'));
  const listed = (await apt('apt-cache', 'policy', ...names)).stdout;
  const available = names.filter((name) => new RegExp(`^${name.replace(/[.+]/g, '\\$&')}:\\n  Installed: .*\\n  Candidate: (?!\\(none\\))`, 'm').test(listed));
  for (const name of packages) if (!available.includes(name)) throw new Error(`${suites.join(', ')} has no package ${name}`);
  // A backport is not the default candidate: its suite must be named.
  return available.map((name) => (packages.includes(name) && suites.at(-1).endsWith('-backports') ? `${name}/${suites.at(-1)}` : name));
};

const fetchVersion = async (version, mirror) => {
  await mkdir(target, { recursive: true });
  const work = await mkdtemp(join(tmpdir(), 'snapback-versions-'));
  const partial = join(target, `.${version.name}.${randomBytes(4).toString('hex')}`);
  try {
    const key = (await exists(KEYRING)) ? `[signed-by=${KEYRING}] ` : '';
    const sources = version.suites.map((suite) => `deb ${key}${suite.endsWith('-security') ? mirror.security : mirror.archive} ${suite} main`);
    const apt = await privateApt(work, sources);
    await apt('apt-get', 'update');
    await apt('apt-get', 'download', ...(await packagesFor(apt, version)));
    const root = join(partial, 'root');
    await mkdir(root, { recursive: true });
    for (const deb of await readdir(join(work, 'debs'))) await run('dpkg-deb', ['-x', join(work, 'debs', deb), root]);
    await writeWrappers(partial, root, version);
    const said = await saysOf(partial);
    await rm(join(target, version.name), { recursive: true, force: true });
    await rename(partial, join(target, version.name)).catch(async (error) => {
      // Another run was faster; its folder is as good.
      if (!(await exists(join(target, version.name)))) throw error;
    });
    return said;
  } finally {
    await rm(work, { recursive: true, force: true });
    await rm(partial, { recursive: true, force: true });
  }
};

/** Paths are found from the wrapper's own place, so that the folder can be moved. The loader sets argv[0] to the program's path, by which the multi-call binary chooses. */
const writeWrappers = async (folder, root, { programs }) => {
  const libraries = [];
  let loader;
  for (const base of ['usr/lib', 'lib']) {
    for (const name of await readdir(join(root, base)).catch(() => [])) {
      if (!/-linux-gnu/.test(name)) continue;
      libraries.push(`${base}/${name}`);
      const found = (await readdir(join(root, base, name), { withFileTypes: true })).find((entry) => entry.isFile() && /^ld-.*\.so(\.\d+)?$/.test(entry.name));
      if (found !== undefined) loader ??= `${base}/${name}/${found.name}`;
    }
  }
  if (loader === undefined) throw new Error('its C library brought no loader');
  await mkdir(join(folder, 'bin'));
  for (const tool of ['server', 'cli', 'check-rdb']) {
    const path = join(folder, 'bin', `redis-${tool}`);
    await writeFile(path, [
      '#!/bin/sh', 'root=$(dirname "$(readlink -f "$0")")/../root',
      `exec "$root/${loader}" --library-path "${libraries.map((place) => `$root/${place}`).join(':')}" "$root/usr/bin/${programs}-${tool}" "$@"`, '',
    ].join('\n'));
    await chmod(path, 0o755);
  }
};

/** What the server and the client print for --version; throws when one does not run. */
const saysOf = async (folder) => {
  await run(join(folder, 'bin/redis-cli'), ['--version'], { timeout: 20_000 });
  return (await run(join(folder, 'bin/redis-server'), ['--version'], { timeout: 20_000 })).stdout.trim().split(' sha=')[0];
};

let missing = 0;
let mirror;
for (const version of VERSIONS) {
  try {
    const present = await saysOf(join(target, version.name)).catch(() => undefined);
    const said = present ?? (await fetchVersion(version, (mirror ??= await mirrors())));
    console.log(`${version.name.padEnd(14)} ${said}${present === undefined ? ' (fetched)' : ''}`);
  } catch (error) {
    missing += 1;
    const lines = String(error.message ?? error).split('\n');
    // apt explains itself in lines that begin with E: or W:; without them the whole message says more.
    const said = lines.filter((line) => /^[EW]: /.test(line));
    const detail = (said.length > 0 ? said : lines).slice(0, 6).join('\n    ');
    console.log(`${version.name.padEnd(14)} MISSING: ${detail}`);
  }
}
console.log(`${String(VERSIONS.length - missing)} of ${String(VERSIONS.length)} versions are ready in ${target}`);
process.exitCode = missing === 0 ? 0 : 1;
