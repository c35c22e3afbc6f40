// What `npm start` runs: installs and builds what is missing or out of date, then becomes the service (with `--prepare` it ends there, for
// `npm test`). No dependencies, and syntax that old Nodes can parse, so that they reach the message about their version.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const ROOT = fileURLToPath(new URL('.', import.meta.url));
const at = (...parts) => join(ROOT, ...parts);
const MAIN = at('dist', 'server', 'main.js');
const LOCK = at('package-lock.json');
const INSTALLED = at('node_modules', '.snapback-installed');
const BUILT = at('dist', '.snapback-built');
/** What the build reads. */
const SOURCES = [
  'server', 'migrations', 'schema', 'package.json', 'tsconfig.json', 'tsconfig.build.json', 'sdk/src', 'sdk/package.json', 'sdk/tsconfig.json',
];
/** The build of the dashboard empties its folder first, this stamp with it. */
const DASHBOARD_BUILT = at('dist', 'dashboard', '.snapback-built');
const DASHBOARD_SOURCES = ['package.json', 'sdk/src', 'sdk/package.json', 'sdk/tsconfig.json', 'sdk/examples/dashboard'];

const say = (text) => process.stderr.write(`snapback: ${text}\n`);

const checkNode = () => {
  const numbers = process.versions.node.split('.').map(Number);
  if (numbers[0] > 20 || (numbers[0] === 20 && numbers[1] >= 19)) return true;
  say(`Node.js 20.19 or newer is needed; this is ${process.versions.node}.`);
  return false;
};

const filesIn = (path) => {
  if (!existsSync(path)) return [];
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path).sort().reduce((files, name) => files.concat(filesIn(join(path, name))), []);
};

const hashOf = (paths) => {
  const hash = createHash('sha256');
  paths.reduce((files, path) => files.concat(filesIn(path)), []).forEach((file) => {
    hash.update(`${relative(ROOT, file)}\0`).update(readFileSync(file)).update('\0');
  });
  return hash.digest('hex');
};

const stampIs = (file, value) => existsSync(file) && readFileSync(file, 'utf8') === value;

/** npm leaves a lock file of its own in node_modules: newer than ours, it shows an install somebody made by hand. */
const installedByHand = () => {
  const own = at('node_modules', '.package-lock.json');
  return !existsSync(INSTALLED) && existsSync(own) && statSync(own).mtimeMs >= statSync(LOCK).mtimeMs;
};

/** Runs npm with our terminal. A signal that ends us ends it too, and is then passed on as our own end. */
const npm = (args) => new Promise((resolve, reject) => {
  // npm tells its scripts where it lies; run it by this same Node, so that no shell and no other version comes in between.
  const known = process.env.npm_execpath;
  const child = known && /\.[cm]?js$/.test(known)
    ? spawn(process.execPath, [known].concat(args), { cwd: ROOT, stdio: ['ignore', 2, 2] })
    : spawn('npm', args, { cwd: ROOT, stdio: ['ignore', 2, 2], shell: process.platform === 'win32' });
  let ending = null;
  const pass = (signal) => {
    ending = signal;
    child.kill(signal);
  };
  process.on('SIGINT', pass);
  process.on('SIGTERM', pass);
  child.on('error', (error) => reject(new Error(`npm cannot be run: ${error.message}`)));
  child.on('close', (code) => {
    process.removeListener('SIGINT', pass);
    process.removeListener('SIGTERM', pass);
    if (ending !== null) process.kill(process.pid, ending);
    else if (code === 0) resolve();
    else reject(new Error(`npm ${args.join(' ')} failed (${code})`));
  });
});

/** An image or archive may come built and without sources: then there is nothing to install or build. */
const prepare = () => {
  if (!existsSync(at('server')) && existsSync(MAIN)) return Promise.resolve();
  const lock = hashOf([LOCK]);
  const sources = hashOf(SOURCES.map((name) => at(name)));
  const install = () => {
    if (existsSync(at('node_modules')) && (stampIs(INSTALLED, lock) || installedByHand())) return Promise.resolve();
    say('installing packages …');
    return npm(['ci', '--include=dev', '--include=optional', '--no-audit', '--no-fund', '--loglevel=error']).then(() => writeFileSync(INSTALLED, lock));
  };
  const build = () => {
    if (existsSync(MAIN) && stampIs(BUILT, sources)) return Promise.resolve();
    say('building …');
    return npm(['run', '--silent', 'build:service']).then(() => writeFileSync(BUILT, sources));
  };
  // The service is whole without its dashboard, and says where it is missing.
  const buildDashboard = () => {
    const read = hashOf(DASHBOARD_SOURCES.map((name) => at(name)));
    if (stampIs(DASHBOARD_BUILT, read)) return Promise.resolve();
    say('building the dashboard …');
    return npm(['run', '--silent', 'build:dashboard']).then(() => writeFileSync(DASHBOARD_BUILT, read), (error) => say(`the dashboard is missing: ${error.message}`));
  };
  return install().then(build).then(buildDashboard);
};

// The service runs in this very process: it gets the signals itself, and nothing is left behind when the process is killed.
if (!checkNode()) {
  process.exitCode = 1;
} else {
  prepare().then(
    () => {
      if (process.argv.includes('--prepare')) return undefined;
      process.setSourceMapsEnabled(true);
      return import(pathToFileURL(MAIN).href);
    },
    (error) => {
      say(error.message);
      process.exitCode = 1;
    },
  );
}
