// A Chromium for tests: $CHROMIUM_BIN, one of this system, or else Debian's, unpacked for this repository without installing anything and without root.
// Run by itself, it prints where it is; ends with 1 when there is none. CHROMIUM_DIR names the place to unpack to (default .cache/chromium).
import { randomBytes } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { available, exists, explained, mirrors, openApt, run, unpack } from '../kit/debian.mjs';

const repository = fileURLToPath(new URL('../..', import.meta.url));
const target = resolve(repository, process.env.CHROMIUM_DIR ?? '.cache/chromium');

const NEEDED = /^(lib|chromium|zlib1g|fonts-liberation)/;
/** The system's own C library is used, since Chromium starts itself anew by paths of its own; and nothing here draws by hardware or logs anybody in. */
const NOT_NEEDED = /^(libc6|libc-|libllvm|libgl1-mesa-dri|libz3|libqt5|libkf5|libgtk-4|libgtk2|libslang|libperl|libdebconf|libpam|libaudit|libsemanage|libsepol|libselinux|libgdbm|libdb5|libfile|libnet-|libx11-protocol|libipc|libtext|libhtml|libhttp|libwww|liburi|libxml-)/;

/** Paths are taken from the file's own place, so that the folder can be moved. */
const FONTS = `<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig>
  <dir prefix="relative">../root/usr/share/fonts</dir>
  <cachedir prefix="relative">../fonts-cache</cachedir>
  ${[['system-ui', 'Sans'], ['sans-serif', 'Sans'], ['monospace', 'Mono'], ['ui-monospace', 'Mono']].map(([family, face]) => `<alias binding="strong"><family>${family}</family><prefer><family>Liberation ${face}</family></prefer></alias>`).join('\n  ')}
  <match target="pattern"><edit name="family" mode="append_last"><string>Liberation Sans</string></edit></match>
</fontconfig>
`;

/** What it prints for --version; throws when it does not run. */
const saysOf = async (program) => (await run(program, ['--version', '--no-sandbox'], { timeout: 30_000 })).stdout.trim().split('\n').at(-1);

const codename = async () => {
  const text = await readFile('/etc/os-release', 'utf8').catch(() => '');
  const name = /^VERSION_CODENAME=(\w+)$/m.exec(text)?.[1];
  if (name === undefined || !/^ID=debian$/m.test(text)) throw new Error('This is no Debian release. Install Chromium, or name one in CHROMIUM_BIN.');
  return name;
};

const fetchInto = async (place, suite) => {
  await mkdir(target, { recursive: true });
  const work = await mkdtemp(join(tmpdir(), 'snapback-chromium-'));
  const partial = join(target, `.${suite}.${randomBytes(4).toString('hex')}`);
  try {
    const apt = await openApt(work, [suite, `${suite}-security`], await mirrors());
    const packages = ['chromium', 'fonts-liberation'];
    const root = join(partial, 'root');
    await unpack(apt, work, await available(apt, packages, (name) => NEEDED.test(name) && !NOT_NEEDED.test(name)), root);
    const libraries = [];
    for (const base of ['usr/lib', 'lib']) {
      for (const name of await readdir(join(root, base)).catch(() => [])) if (/-linux-gnu/.test(name)) libraries.push(`$root/${base}/${name}`, `$root/${base}/${name}/pulseaudio`);
    }
    await mkdir(join(partial, 'bin'));
    await writeFile(join(partial, 'bin', 'fonts.conf'), FONTS);
    await writeFile(join(partial, 'bin', 'chromium'), [
      '#!/bin/sh', 'here=$(dirname "$(readlink -f "$0")")', 'root=$here/../root', `export LD_LIBRARY_PATH="${libraries.join(':')}" FONTCONFIG_FILE="$here/fonts.conf"`,
      'exec "$root/usr/lib/chromium/chromium" "$@"', '',
    ].join('\n'));
    await chmod(join(partial, 'bin', 'chromium'), 0o755);
    await saysOf(join(partial, 'bin', 'chromium'));
    await rm(place, { recursive: true, force: true });
    await rename(partial, place).catch(async (error) => {
      // Another run was faster; its folder is as good.
      if (!(await exists(place))) throw error;
    });
  } finally {
    await rm(work, { recursive: true, force: true });
    await rm(partial, { recursive: true, force: true });
  }
};

const named = process.env.CHROMIUM_BIN;

/** @returns {Promise<{ path: string, version: string }>} throws, with what to do, when there is none and none can be had */
export const findChromium = async () => {
  if (named !== undefined) return { path: named, version: await saysOf(named) };
  for (const path of ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']) {
    const version = (await exists(path)) && (await saysOf(path).catch(() => false));
    if (version) return { path, version };
  }
  try {
    const suite = await codename();
    const place = join(target, suite);
    const path = join(place, 'bin', 'chromium');
    const present = await saysOf(path).catch(() => undefined);
    if (present === undefined) await fetchInto(place, suite);
    return { path, version: present ?? (await saysOf(path)) };
  } catch (error) {
    throw new Error(explained(error), { cause: error });
  }
};

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  try {
    const { path, version } = await findChromium();
    console.log(`${version} at ${path}`);
  } catch (error) {
    console.log(`MISSING: ${error.message}`);
    process.exitCode = 1;
  }
}
