import { fileURLToPath } from 'node:url';
import { runCommand } from './command.js';
import { rdbSubject } from './subject.js';

await runCommand({
  name: 'rdb',
  about: `Feeds the RDB reader damaged, rearranged and made-up files for N minutes (1 by default): it must read or refuse each, the same at every chunk size,
in bounded time and memory. They are made from what the builder and every server at hand ("npm run redis-versions") write.`,
  subjectOf: rdbSubject,
  program: fileURLToPath(import.meta.url),
});
