import { runChild } from './child.js';
import { rdbSubject } from './subject.js';

await runChild(process.argv[2] ?? '{}', rdbSubject);
