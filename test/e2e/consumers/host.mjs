// Runs a bundle with what browsers have, and with nothing of Node: a page's modules, or a classic worker's script.
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { createContext, runInContext, SourceTextModule } from 'node:vm';
import { WebSocket } from 'ws';

const [kind, file] = process.argv.slice(2);
const { SNAPBACK_URL: url, SNAPBACK_KEY: token, REDIS_HOST: host, REDIS_PORT: port } = process.env;
const given = { url, token, host, port: Number(port) };
const say = (result) => process.stdout.write(`${JSON.stringify(result)}\n`);

const NAMES = [
  'fetch', 'URL', 'Headers', 'Request', 'Response', 'ReadableStream', 'WritableStream', 'TextDecoder', 'TextEncoder', 'AbortController', 'AbortSignal',
  'crypto', 'setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'console',
];
const own = Object.fromEntries(NAMES.map((name) => [name, globalThis[name]]));
const context = createContext(Object.assign(own, { WebSocket, self: own }));

if (kind === 'worker') {
  own.postMessage = say;
  runInContext(readFileSync(file, 'utf8'), context, { filename: file });
  own.onmessage({ data: given });
} else {
  const modules = new Map();
  const read = (path) => {
    const known = modules.get(path);
    if (known !== undefined) return known;
    const module = new SourceTextModule(readFileSync(path, 'utf8'), {
      context, identifier: path, importModuleDynamically: (specifier) => run(resolve(dirname(path), specifier)),
    });
    modules.set(path, module);
    return module;
  };
  const run = async (path) => {
    const module = read(path);
    if (module.status === 'unlinked') await module.link((specifier, from) => read(resolve(dirname(from.identifier), specifier)));
    await module.evaluate();
    return module;
  };
  own.given = given;
  await run(file);
  say(await own.result);
}
