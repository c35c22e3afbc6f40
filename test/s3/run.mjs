// `npm run test:s3`: archives on a real S3 server, on the one that S3_TEST_URL names, or on two that are built here with the Go toolchain: one that
// lacks nothing, and one that lacks something. Where there is neither, it says loudly that nothing was run, and ends with 0.
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { built, freePort, runTests, usableGo, whileServing } from '../kit/foreign-server.mjs';

const BUCKET = 'archives';
const TESTS = ['test/conformance/store/s3-real.test.ts', 'test/e2e/s3-real.test.ts'];
/** What the newer go.mod asks for. */
const OLDEST_GO = [1, 25];

const SERVERS = [
  {
    name: 'versitygw', version: 'v1.8.0', path: 'github.com/versity/versitygw/cmd/versitygw', lacks: '',
    // A folder in the root is a bucket.
    prepare: (folder) => mkdirSync(join(folder, BUCKET)),
    args: (address, folder) => ['--port', address, '--quiet', 'posix', folder],
    env: ({ accessKeyId, secretAccessKey }) => ({ ROOT_ACCESS_KEY: accessKeyId, ROOT_SECRET_KEY: secretAccessKey }),
  },
  {
    name: 'gofakes3', version: 'v1.2.0', path: 'github.com/johannesboyne/gofakes3/cmd/gofakes3', lacks: 'conditional completion, credentials',
    prepare: () => undefined,
    args: (address) => ['-backend', 'memory', '-host', address, '-initialbucket', BUCKET, '-quiet'],
    env: () => ({}),
  },
];

const say = (text) => process.stderr.write(`test:s3: ${text}\n`);

const build = ({ name, version, path }) => built({ name, version, say }, (go, folder) => go(['install', `${path}@${version}`], { GOBIN: folder, GOFLAGS: '' }));

const testOn = async (server) => {
  const program = await build(server);
  const port = await freePort();
  const address = `127.0.0.1:${port}`;
  const folder = mkdtempSync(join(tmpdir(), `snapback-${server.name}-`));
  const keys = { accessKeyId: randomBytes(10).toString('hex'), secretAccessKey: randomBytes(20).toString('hex') };
  say(`on ${server.name} ${server.version}`);
  try {
    server.prepare(folder);
    return await whileServing({ program, args: server.args(address, folder), env: server.env(keys), port }, () => runTests(TESTS, {
      S3_TEST_URL: `s3://${BUCKET}/?endpoint=http://${address}`, S3_TEST_LACKS: server.lacks,
      S3_ACCESS_KEY_ID: keys.accessKeyId, S3_SECRET_ACCESS_KEY: keys.secretAccessKey, S3_SESSION_TOKEN: undefined,
    }));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
};

if (process.env.S3_TEST_URL) process.exitCode = await runTests(TESTS, {});
else if (await usableGo(OLDEST_GO)) {
  for (const server of SERVERS) process.exitCode = (await testOn(server)) || process.exitCode;
} else {
  say('\n!!! NOT RUN: everything about archives on a real S3 server.');
  say(`!!! Set S3_TEST_URL to a bucket, or install Go ${OLDEST_GO.join('.')} or newer, with which ${SERVERS.map(({ name }) => name).join(' and ')} are built.\n`);
}
