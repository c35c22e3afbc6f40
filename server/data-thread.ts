import { parentPort, workerData } from 'node:worker_threads';
import { serveOrders } from './engine/archive/sealing/thread.js';
import { createPermittedDial, type TlsDefaults } from './security/dial.js';

// The entry of the threads of `SealingThreads`. What a transfer may dial is decided on the main thread, which knows the connect policy, and whose options of Node they do not have.
if (parentPort !== null) serveOrders(parentPort, (permit) => createPermittedDial(permit, (workerData as { tls?: TlsDefaults } | null)?.tls));
