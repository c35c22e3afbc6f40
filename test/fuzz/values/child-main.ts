import { runChild } from '../rdb/child.js';
import { valueSubject } from './subject.js';

await runChild(process.argv[2] ?? '{}', valueSubject);
