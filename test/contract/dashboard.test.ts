import { once } from 'node:events';
import { readFileSync, readdirSync, mkdirSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dashboard } from '../../server/http/dashboard.js';
import { createHttpServer, type HttpServer } from '../../server/http/server.js';
import { makeTempDir, removeTempDir } from '../kit/processes.js';

const SOURCES = fileURLToPath(new URL('../../sdk/examples/dashboard', import.meta.url));
const files = readdirSync(SOURCES, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && /\.(tsx?|css|html|svg)$/.test(entry.name)).map(({ parentPath, name }) => join(parentPath, name));
const sources = files.map((path) => ({ path: path.slice(SOURCES.length + 1), text: readFileSync(path, 'utf8') }));

describe('the sources of the dashboard', () => {
  it('import the published SDK, React and each other, and nothing else', () => {
    const imported = sources.filter(({ path }) => /^src\/.*\.tsx?$/.test(path)).flatMap(({ path, text }) => ts.preProcessFile(text, true, true).importedFiles.map(({ fileName }) => ({ path, fileName })));
    expect(imported.length).toBeGreaterThan(50);
    const foreign = imported.filter(({ fileName }) => !/^(@snapback\/sdk|react|react-dom\/client)$/.test(fileName) && !/^\.\.?\//.test(fileName));
    const outside = imported.filter(({ path, fileName }) => fileName.startsWith('.') && !new URL(fileName, `file:///src/${path.slice('src/'.length)}`).pathname.startsWith('/src/'));
    expect([...foreign, ...outside]).toEqual([]);
  });

  it('keep nothing that outlives the tab, make no markup of texts, and ask nobody else for anything', () => {
    expect(sources.length).toBeGreaterThan(30);
    for (const { path, text } of sources) {
      expect(text, path).not.toMatch(/localStorage|indexedDB|document\.cookie|dangerouslySetInnerHTML|innerHTML|\beval\(|new Function/);
      expect(text.replaceAll('http://www.w3.org/2000/svg', '').replaceAll('http://127.0.0.1:4000', ''), path).not.toMatch(/https?:\/\//);
    }
    const page = sources.find(({ path }) => path === 'index.html')?.text;
    expect(page).not.toMatch(/<style|style=|\son\w+=|<script(?![^>]*\ssrc=)/);
  });
});

describe('/dashboard', () => {
  let folder: string;
  let http: HttpServer;
  let url: string;
  let missing: string;
  const faults: string[] = [];

  const serve = async (from: string | undefined): Promise<{ http: HttpServer; url: string }> => {
    const served = createHttpServer(
      { authenticate: async () => undefined, readiness: async () => [], metrics: async () => '', log: { info: () => undefined, warn: () => undefined, error: (message: string) => void faults.push(message) } as never },
      { mount: (app) => void app.use('/dashboard', dashboard(from)), attach: () => undefined, endSockets: async () => undefined, stop: async () => undefined },
    );
    return { http: served, url: `http://127.0.0.1:${String((await served.listen(0, '127.0.0.1')).port)}/dashboard` };
  };

  beforeAll(async () => {
    folder = makeTempDir('dashboard');
    mkdirSync(join(folder, 'assets'));
    writeFileSync(join(folder, 'index.html'), '<!doctype html><title>it</title>');
    writeFileSync(join(folder, 'assets', 'index-AbCd.js'), 'export {};');
    writeFileSync(join(folder, '.snapback-built'), 'secret');
    mkdirSync(join(folder, 'large'));
    writeFileSync(join(folder, 'large', 'index.html'), 'x'.repeat(20_000_000));
    ({ http, url } = await serve(folder));
    const other = await serve(join(folder, 'nowhere'));
    missing = other.url;
    const { stop } = http;
    http.stop = async () => void (await Promise.all([stop(100), other.http.stop(100)]));
  });
  afterAll(async () => {
    await http.stop();
    await removeTempDir(folder);
  });

  it('is one page at every path below, under a policy that allows its own files alone', async () => {
    for (const path of ['', '/', '/jobs', '/instances/ins_0123/backups']) {
      const page = await fetch(url + path);
      expect([page.status, page.headers.get('content-type'), await page.text()], path).toEqual([200, 'text/html; charset=utf-8', '<!doctype html><title>it</title>']);
      expect(Object.fromEntries(page.headers), path).toMatchObject({ 'cache-control': 'no-cache', 'x-content-type-options': 'nosniff', 'x-frame-options': 'DENY', 'referrer-policy': 'no-referrer', 'last-modified': expect.any(String) as string });
      const policy = page.headers.get('content-security-policy') ?? '';
      expect(policy.split('; ')).toEqual(expect.arrayContaining(["default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "form-action 'none'", "frame-ancestors 'none'"]));
      expect(policy).not.toMatch(/unsafe|nonce|\*|https?:/);
    }
    const again = await fetch(url, { headers: { 'cache-control': 'max-age=0', 'if-modified-since': (await fetch(url)).headers.get('last-modified') ?? '' } });
    expect(again.status).toBe(304);
  });

  it('has files that never change under their names, and nothing else', async () => {
    const file = await fetch(`${url}/assets/index-AbCd.js`);
    expect([file.status, file.headers.get('cache-control')]).toEqual([200, 'public, max-age=31536000, immutable']);
    expect(file.headers.get('content-type')).toContain('javascript');
    for (const path of ['/assets/gone.js', '/assets/', '/assets/gone', '/favicon.ico', '/.snapback-built', '/..%2fpackage.json']) {
      const answer = await fetch(url + path);
      expect([answer.status, answer.headers.get('content-type')], path).toEqual([404, 'application/json; charset=utf-8']);
    }
    expect((await fetch(url, { method: 'POST' })).status).toBe(404);
    expect((await fetch(url, { method: 'HEAD' })).status).toBe(200);
  });

  it('is left by clients in the middle of its page, and nobody is at fault', async () => {
    const { http: large, url: address } = await serve(join(folder, 'large'));
    const { port } = new URL(address);
    await Promise.all(Array.from({ length: 5 }, async () => {
      const socket = connect({ host: '127.0.0.1', port: Number(port) });
      socket.write(`GET /dashboard/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`);
      await once(socket, 'data');
      socket.destroy();
    }));
    await expect.poll(() => new Promise((resolve) => large.server.getConnections((_error, count) => resolve(count)))).toBe(0);
    // Express tells of it in a later turn.
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
    expect(faults).toEqual([]);
    await large.stop(100);
  });

  it('says where it is missing', async () => {
    const answer = await fetch(missing);
    expect([answer.status, await answer.json()]).toMatchObject([404, { errors: [{ extensions: { code: 'NOT_FOUND', hint: expect.stringContaining('npm run build:dashboard') as string } }] }]);
  });
});
