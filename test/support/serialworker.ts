/** A worker thread that reads four registers again and again through the serial port it was given, and tells each. */
import { parentPort, workerData } from 'node:worker_threads';
import type { MessagePort } from 'node:worker_threads';
import type { ClientSettings } from '../../src/modbus/client.js';
import { Master } from './rawslave.js';

// What serial.test.ts hands over.
const { port, link } = workerData as { port: MessagePort; link: ClientSettings['link'] };
const master = await new Master(link, {}, () => port).up();
for (;;) parentPort?.postMessage(await master.values(0, 4));
