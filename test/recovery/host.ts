/** A broker with a store in a folder, in a process that is there to be killed. It tells its own tale, too, as a gateway does. */
import { Broker } from '../../src/broker/broker.js';
import { createLog } from '../../src/log.js';
import { Metrics } from '../../src/metrics.js';
import { DiskStore } from '../../src/store/disk.js';
import { systemFiles, type Files } from '../../src/store/files.js';
import { ForgetfulFiles } from './forgetfulfiles.js';
import { troubledFiles } from './troubledfiles.js';

const TELEMETRY_MS = 20;
const [path = '', kind = 'host'] = process.argv.slice(2);
const log = createLog('info');
const metrics = new Metrics();
// Small, so that snapshots and compaction are cut as well; a slow disk is not to be a full one.
const maxBytes = kind === 'troubled' ? 256 << 20 : 16 << 20;
const store = new DiskStore(
  { path, sync: 'commit', intervalMs: 1000, maxBytes },
  { log, metrics, files: filesOf(kind) },
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
if (kind === 'troubled') tell();

function filesOf(name: string): Files {
  if (name === 'forgetful') return new ForgetfulFiles();
  return name === 'troubled' ? troubledFiles(path) : systemFiles;
}

/** Telemetry as it is by default: QoS 1, retained, not stored. */
function tell(): void {
  const handle = broker.handleOf('live/value');
  let count = 0;
  setInterval(() => {
    const payload = Buffer.from(String(++count));
    broker.publishSample(handle, payload, 0, payload.length, 1, true, false);
  }, TELEMETRY_MS);
}
