import { parseArgs } from 'node:util';
import { type ArchiveSettings } from './config/archives.js';
import { ConfigError, readArchiveConfig } from './config/config.js';
import { VERIFICATION_LEVELS, type VerificationLevel } from './domain/backup.js';
import { DomainError } from './domain/errors.js';
import { isId } from './domain/ids.js';
import { type KeyRing } from './engine/archive/archive.js';
import { type Store } from './engine/store/store.js';
import { type Console, EXIT, type ExitCode } from './offline/console.js';
import { extract } from './offline/extract.js';
import { list } from './offline/list.js';
import { verify } from './offline/verify.js';
import { createConnectPolicy, OwnPorts } from './security/connect-policy.js';
import { createDial } from './security/dial.js';
import { masterKeysFromFile, masterKeysFromText } from './security/master-key.js';
import { openStoreAt } from './store-place.js';
import { createLogger } from './telemetry/logger.js';

const USAGE = `Usage: npm run --silent archive -- COMMAND

Works on the archives of a store (STORE_URL) with the master key (MASTER_KEY or MASTER_KEY_FILE) alone: without a database, without the service, also
beside it, and on a copy of a store. Writes nothing to the store.

  list [--json]                         Every archive: when it was taken, how large it is, its key, its instance, its name.
  verify ID... | --all [--level LEVEL]  Reads archives through. CONTENT (the default) every byte, STRUCTURE only manifest, key, index and sizes.
  extract ID FILE [--force]             Writes the RDB of an archive to FILE (mode 0600), once all of it was found right. "-" is the standard output.

Exit codes: 0 done; 1 an archive is damaged or not there; 2 wrong arguments or settings; 3 the key, the store or FILE stood in the way.
`;

type Run = (deps: { store: Store; keys: KeyRing | undefined }, console: Console, signal: AbortSignal) => Promise<ExitCode>;

const levelOf = (text: string): VerificationLevel => {
  const level = VERIFICATION_LEVELS.find((one) => one === text.toUpperCase());
  if (level === undefined) throw new TypeError(`--level takes ${VERIFICATION_LEVELS.join(' or ')}, not "${text}"`);
  return level;
};

const idOf = (text: string): string => {
  if (!isId('backup', text)) throw new TypeError(`"${text}" is no backup's id; "list" shows them`);
  return text;
};

/** Which options a command takes; any other is a mistake. */
const COMMANDS: Readonly<Record<string, { options: readonly string[]; make: (rest: readonly string[], values: { json: boolean; all: boolean; force: boolean; level: string }) => Run }>> = {
  list: {
    options: ['json'],
    make(rest, { json }) {
      if (rest.length > 0) throw new TypeError('"list" takes no names: it lists everything');
      return (deps, console, signal) => list(deps, { json }, console, signal);
    },
  },
  verify: {
    options: ['all', 'level'],
    make(rest, { all, level }) {
      if (all === rest.length > 0) throw new TypeError('"verify" takes ids, or --all');
      const options = { backupIds: rest.map(idOf), level: levelOf(level) };
      return (deps, console, signal) => verify(deps, options, console, signal);
    },
  },
  extract: {
    options: ['force'],
    make([id, to, ...more], { force }) {
      if (id === undefined || to === undefined || more.length > 0) throw new TypeError('"extract" takes an id and a file');
      const options = { backupId: idOf(id), to, force };
      return (deps, console, signal) => extract(deps, options, console, signal);
    },
  },
};

const readArguments = (): Run => {
  const { values, positionals: [name = '', ...rest] } = parseArgs({
    allowPositionals: true,
    options: { json: { type: 'boolean' }, all: { type: 'boolean' }, force: { type: 'boolean' }, level: { type: 'string' } },
  });
  const command = COMMANDS[name];
  if (!command) throw new TypeError(name === '' ? 'A command is missing' : `There is no command "${name}"`);
  const stray = Object.keys(values).find((option) => !command.options.includes(option));
  if (stray !== undefined) throw new TypeError(`"${name}" takes no --${stray}`);
  return command.make(rest, { json: values.json ?? false, all: values.all ?? false, force: values.force ?? false, level: values.level ?? 'CONTENT' });
};

/** Archives can be listed, and those without encryption read, without any key: so that there is none is told only where one is missing. */
const readKeys = async (config: ArchiveSettings, warn: (line: string) => void): Promise<KeyRing | undefined> => {
  try {
    return config.masterKey !== null ? masterKeysFromText(config.masterKey) : (await masterKeysFromFile(config.masterKeyFile, { create: false })).keys;
  } catch (error) {
    if (!(error instanceof DomainError)) throw error;
    warn(`Without a master key: ${error.message} Set MASTER_KEY or MASTER_KEY_FILE to read archives that are encrypted.`);
    return undefined;
  }
};

const createConsole = (): Console & { finish(): void } => {
  let shown = '';
  const clear = (): void => {
    if (shown !== '') process.stderr.write(`\r${' '.repeat(shown.length)}\r`);
    shown = '';
  };
  const err = (line: string): void => {
    clear();
    process.stderr.write(`${line}\n`);
  };
  return {
    err,
    out: (text) => {
      clear();
      return new Promise((resolve, reject) => process.stdout.write(text, (error) => (error ? reject(error) : resolve())));
    },
    progress(text) {
      if (!process.stderr.isTTY || text === shown) return;
      clear();
      process.stderr.write(text);
      shown = text;
    },
    finish: clear,
  };
};

const SIGNALS = { SIGINT: 130, SIGTERM: 143 } as const;

const main = async (): Promise<number> => {
  let run: Run;
  let config: ReturnType<typeof readArchiveConfig>;
  try {
    run = readArguments();
    config = readArchiveConfig();
  } catch (error) {
    process.stderr.write(error instanceof ConfigError ? `${error.message}\n` : `${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`);
    return EXIT.USAGE;
  }
  const console = createConsole();
  const stop = new AbortController();
  let signalled: number | undefined;
  for (const [name, code] of Object.entries(SIGNALS)) {
    process.once(name, () => {
      signalled = code;
      stop.abort(new DomainError('INTERRUPTED', 'Stopped.'));
    });
  }
  // Whoever reads the output has gone: nothing is to be said about it.
  process.stdout.on('error', () => stop.abort(new DomainError('INTERRUPTED', 'Nobody takes the output.')));
  try {
    const keys = await readKeys(config, console.err);
    const log = createLogger({ level: 'warn', format: 'text', write: (line) => console.err(line.trimEnd()) });
    const store = await openStoreAt(config, { create: false, readOnly: true }, { dial: createDial(createConnectPolicy(config.connect, new OwnPorts())), log });
    try {
      return await run({ store, keys }, console, stop.signal);
    } finally {
      await store.close();
    }
  } catch (error) {
    if (signalled !== undefined) return signalled;
    if (stop.signal.aborted) return EXIT.PREVENTED;
    console.err(error instanceof DomainError ? [`${error.code}: ${error.message}`, error.hint].filter(Boolean).join('\n') : error instanceof Error ? (error.stack ?? error.message) : String(error));
    return EXIT.PREVENTED;
  } finally {
    console.finish();
  }
};

process.exitCode = await main();
