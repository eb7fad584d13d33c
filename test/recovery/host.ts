/** A broker with a store in a folder, in a process that is there to be killed. */
import { Broker } from '../../src/broker/broker.js';
import { createLog } from '../../src/log.js';
import { Metrics } from '../../src/metrics.js';
import { DiskStore } from '../../src/store/disk.js';
import { systemFiles } from '../../src/store/files.js';
import { ForgetfulFiles } from './forgetfulfiles.js';

const [path = '', kind = 'host'] = process.argv.slice(2);
const log = createLog('info');
const metrics = new Metrics();
// Small, so that snapshots and compaction are cut as well.
const store = new DiskStore(
  { path, sync: 'commit', intervalMs: 1000, maxBytes: 16 << 20 },
  { log, metrics, files: kind === 'forgetful' ? new ForgetfulFiles() : systemFiles },
);
const broker = new Broker({ store, log, metrics, anonymous: true });
await broker.open();
const listener = await broker.openListener({
  protocol: 'mqtt',
  host: '127.0.0.1',
  port: 0,
  path: '',
  tls: null,
  anonymous: null,
});
process.stdout.write(`port ${new URL(listener.url).port}\n`);
