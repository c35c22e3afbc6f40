import { fileURLToPath } from 'node:url';
import { runCommand } from '../rdb/command.js';
import { valueSubject } from './subject.js';

await runCommand({
  name: 'values',
  about: `Feeds the decoder of values damaged and made-up ones for N minutes (1 by default) and makes the commands of them for servers of several versions: it must
decode or refuse each, in bounded time, memory and commands. They are made from what every server at hand ("npm run redis-versions") writes.`,
  subjectOf: valueSubject,
  program: fileURLToPath(import.meta.url),
});
