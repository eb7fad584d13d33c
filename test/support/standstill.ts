/** A worker entry that says it is ready, and then never comes back to its loop. */
import { parentPort } from 'node:worker_threads';

parentPort?.postMessage({ kind: 'ready' });
setTimeout(() => {
  for (;;) continue;
}, 50);
