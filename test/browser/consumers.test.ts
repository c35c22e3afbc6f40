import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { type AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { type Browser, chromium } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { bundle, type Bundle } from '../kit/bundle.js';
import { guardProcess, releaseProcess } from '../kit/processes.js';
import { startRedis, type RedisServer } from '../kit/redis.js';
import { startService, type TestService } from '../kit/service.js';

const executablePath = inject('chromium');
const root = fileURLToPath(new URL('../../', import.meta.url)).replace(/\/$/, '');
const consumers = `${root}/test/e2e/consumers`;

const ARRIVED = {
  version: expect.stringMatching(/^\d+\.\d+\.\d+$/) as string, state: 'AVAILABLE', ended: 'COMPLETED', watched: 'COMPLETED', whole: true, refused: 'user_input', wrong: 'UNAUTHENTICATED',
  socket: true, fallbacks: [],
};

/** What programs of partners do, on a page of another origin. */
describe.skipIf(executablePath === null)('a page of another origin', () => {
  let browser: Browser;
  let pages: Server;
  let origin: string;
  let service: TestService;
  let redis: RedisServer;
  let end: () => Promise<void>;
  const served = new Map<string, Uint8Array | string>();

  beforeAll(async () => {
    pages = createServer((request, response) => {
      const content = served.get(request.url ?? '');
      response.writeHead(content === undefined ? 404 : 200, { 'content-type': request.url?.endsWith('.js') === true ? 'text/javascript' : 'text/html' }).end(content ?? '');
    });
    await new Promise<void>((resolve) => pages.listen(0, '127.0.0.1', resolve));
    origin = `http://127.0.0.1:${String((pages.address() as AddressInfo).port)}`;
    [service, redis] = await Promise.all([startService({ env: { ALLOWED_ORIGINS: origin } }), startRedis()]);
    await redis.cli('MSET', 'a', '1', 'b', '2');
    const server = await chromium.launchServer({ executablePath: executablePath ?? '', args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'] });
    const { pid } = server.process();
    if (pid !== undefined) guardProcess(pid);
    browser = await chromium.connect(server.wsEndpoint());
    end = async () => {
      await browser.close();
      await server.close();
      if (pid !== undefined) releaseProcess(pid);
    };
  });
  afterAll(async () => {
    await end?.();
    await Promise.all([service?.stop(), redis?.stop(), new Promise((resolve) => pages.close(resolve))]);
  });

  const built = (kind: string, options = {}): Promise<Bundle> =>
    bundle(root, readFileSync(`${consumers}/${kind}/main.js`, 'utf8').replace('./journey.mjs', `${consumers}/journey.mjs`), {
      alias: { '@snapback/sdk': `${root}/sdk/dist/index.js` }, ...options,
    });

  const resultOf = async (folder: string, { files, entry }: Bundle, script: (path: string, given: string) => string): Promise<unknown> => {
    for (const [name, content] of files) served.set(`/${folder}/${name}`, content);
    const given = JSON.stringify({ url: service.url, token: service.key, host: redis.host, port: redis.port });
    served.set(`/${folder}/`, `<!doctype html><title>${folder}</title>`);
    const page = await browser.newPage();
    try {
      await page.goto(`${origin}/${folder}/`);
      return await page.evaluate(script(`/${folder}/${entry}`, given));
    } finally {
      await page.close();
    }
  };

  it('backs up, watches and downloads', async () => {
    const made = await built('browser');
    expect(made.files.size).toBeGreaterThan(1);
    expect(await resultOf('page', made, (path, given) => `globalThis.given = ${given}; import(${JSON.stringify(path)}).then(() => globalThis.result)`)).toEqual(ARRIVED);
  });

  it('does so in a worker', async () => {
    const made = await built('worker', { splitting: false, format: 'iife' });
    expect(await resultOf('worker', made, (path, given) => `new Promise((resolve, reject) => {
      const worker = new Worker(${JSON.stringify(path)});
      worker.onmessage = ({ data }) => resolve(data);
      worker.onerror = ({ message }) => reject(new Error(message));
      worker.postMessage(${given});
    })`)).toEqual(ARRIVED);
  });
});
