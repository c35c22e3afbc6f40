import { parentPort } from 'node:worker_threads';
import { serveOrders } from './engine/archive/sealing/thread.js';
import { createPermittedDial } from './security/dial.js';

// The entry of the threads of `SealingThreads`. What a transfer may dial is decided on the main thread, which knows the connect policy.
if (parentPort !== null) serveOrders(parentPort, createPermittedDial);
