// The simulated plant, in a process of its own, and what its stamped registers must show.
import { execFileSync, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { epochMs } from './report.mjs';

const simulator = fileURLToPath(new URL('../../dist/simulator/process.js', import.meta.url));
// HOLDFAST_REALTIME=1 (root): plant and gateway go before everything else on a busy machine.
const isRealtime = process.env.HOLDFAST_REALTIME === '1';

export async function startPlant(spec) {
  const child = fork(simulator, [], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  if (isRealtime) execFileSync('chrt', ['-r', '-p', '2', String(child.pid)]);
  const waiting = new Map();
  let id = 0;
  child.on('message', (message) => {
    const { resolve, reject } = waiting.get(message.id ?? 0) ?? {};
    waiting.delete(message.id ?? 0);
    message.error === undefined
      ? resolve?.(message.result ?? message.addresses)
      : reject?.(new Error(message.error));
  });
  const send = (key, message) =>
    new Promise((resolve, reject) => {
      waiting.set(key, { resolve, reject });
      child.send(message);
    });
  const addresses = await send(0, { spec: { ...spec, epochMs } });
  const call = (method, ...args) => {
    id += 1;
    return send(id, { id, method, args });
  };
  const ended = new Promise((resolve) => child.once('exit', resolve));
  return {
    addresses,
    call,
    pid: child.pid,
    stop: () => {
      child.disconnect();
      return ended;
    },
  };
}

export const stampUnit = (unitId, more = {}) => ({
  unitId,
  values: [{ table: 'holding-register', address: 0, quantity: 1000, script: 'stamp' }],
  ...more,
});

/** What a stamped register must show (src/simulator/stamp.ts): its age in ms, or -1 when it is another's. */
export function stampAgeMs(value, unitId, address, atMs) {
  if (value >> 6 !== ((unitId * 211 + address) & 0x3ff)) return -1;
  return ((Math.floor(atMs / 100) - (value & 63)) & 63) * 100;
}
