import { runChild } from './child.js';

await runChild(process.argv[2] ?? '{}');
