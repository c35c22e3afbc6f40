// `npm run test:mongo`: what is said of the clock on MongoDB, on the server that MONGODB_URL names, or on a FerretDB (which speaks MongoDB's
// protocol) that is built here with the Go toolchain. Where there is neither, it says loudly that nothing was run, and ends with 0.
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { built, freePort, runTests, usableGo, whileServing } from '../kit/foreign-server.mjs';

const VERSION = 'v1.24.0';
const MODULE = `github.com/FerretDB/FerretDB@${VERSION}`;
/** What its go.mod asks for. */
const OLDEST_GO = [1, 22];
const TESTS = ['test/conformance/agenda/mongo.test.ts', 'test/e2e/mongo-lost.test.ts'];

const say = (text) => process.stderr.write(`test:mongo: ${text}\n`);

/** Its version stands in a file that its own build makes and the published module lacks, so it is built from a copy that has one. */
const build = () => built({ name: 'ferretdb', version: VERSION, say }, async (go, folder) => {
  const { Dir: published } = JSON.parse(await go(['mod', 'download', '-json', MODULE]));
  const source = join(folder, 'source');
  cpSync(published, source, { recursive: true });
  execFileSync('chmod', ['-R', 'u+w', source]);
  writeFileSync(join(source, 'build', 'version', 'version.txt'), `${VERSION}\n`);
  await go(['build', '-C', source, '-o', join(folder, 'ferretdb'), './cmd/ferretdb'], { GOFLAGS: '-mod=mod' });
});

const onFerret = async (program) => {
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), 'snapback-ferretdb-'));
  const args = [
    '--handler=sqlite', `--sqlite-url=file:${folder}/`, `--state-dir=${folder}`, `--listen-addr=127.0.0.1:${port}`, '--debug-addr=-', '--telemetry=disable', '--log-level=ERROR',
  ];
  try {
    return await whileServing({ program, args, port }, () => runTests(TESTS, { MONGODB_URL: `mongodb://127.0.0.1:${port}/snapback` }));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
};

if (process.env.MONGODB_URL) process.exitCode = await runTests(TESTS, {});
else if (await usableGo(OLDEST_GO)) process.exitCode = await onFerret(await build());
else {
  say('\n!!! NOT RUN: everything about the clock on MongoDB.');
  say(`!!! Set MONGODB_URL to a MongoDB server, or install Go ${OLDEST_GO.join('.')} or newer, with which FerretDB ${VERSION} is built.\n`);
}
