// Unpacks the Redis and Valkey servers that Debian's packages carry, one folder per version, without installing anything and without root.
// The system's own apt sources name the mirror; only the suite is swapped. Each server runs with its own C library, through its own loader.
// Prints a line per version; ends with 1 when one is missing. REDIS_VERSIONS_DIR names the place (default .cache/redis-versions).
import { randomBytes } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { available, exists, explained, mirrors, openApt, run, unpack } from '../debian.mjs';
import { VERSIONS } from './versions.mjs';

const repository = fileURLToPath(new URL('../../..', import.meta.url));
const target = resolve(repository, process.env.REDIS_VERSIONS_DIR ?? '.cache/redis-versions');

const NEEDED = /^(lib|lua-|zlib1g|redis|valkey)/;
/** Reached through adduser, init scripts and the like, and needed by no server. */
const NOT_NEEDED = /^(libperl|libdebconf|libpam|libaudit|libsemanage|libsepol|libselinux|libgdbm|libdb5|libnumber|libtext|libfile)/;

/** The server and every library that something it needs depends on, as far as the suites have them. */
const packagesFor = async (apt, { packages, suites }) => {
  const found = await available(apt, packages, (name) => NEEDED.test(name) && !NOT_NEEDED.test(name));
  for (const name of packages) if (!found.includes(name)) throw new Error(`${suites.join(', ')} has no package ${name}`);
  // A backport is not the default candidate: its suite must be named.
  return found.map((name) => (packages.includes(name) && suites.at(-1).endsWith('-backports') ? `${name}/${suites.at(-1)}` : name));
};

const fetchVersion = async (version, mirror) => {
  await mkdir(target, { recursive: true });
  const work = await mkdtemp(join(tmpdir(), 'snapback-versions-'));
  const partial = join(target, `.${version.name}.${randomBytes(4).toString('hex')}`);
  try {
    const apt = await openApt(work, version.suites, mirror);
    const root = join(partial, 'root');
    await unpack(apt, work, await packagesFor(apt, version), root);
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
    console.log(`${version.name.padEnd(14)} MISSING: ${explained(error)}`);
  }
}
console.log(`${String(VERSIONS.length - missing)} of ${String(VERSIONS.length)} versions are ready in ${target}`);
process.exitCode = missing === 0 ? 0 : 1;
