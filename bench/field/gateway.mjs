// The gateway as users run it, with a file of its own, and what it uses.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const main = fileURLToPath(new URL('../../dist/main.js', import.meta.url));
const isRealtime = process.env.HOLDFAST_REALTIME === '1';

export async function startGateway(yaml) {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-bench-'));
  const file = join(folder, 'gateway.yaml');
  writeFileSync(file, yaml);
  const command = [process.execPath, main, 'run', '--config', file];
  if (isRealtime) command.unshift('chrt', '-r', '1');
  const child = spawn(command[0], command.slice(1), { stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const port = await new Promise((resolve, reject) => {
    child.stderr.on('data', (chunk) => {
      log = (log + chunk).slice(-100_000);
      const ready = /"msg":"ready".*|"listeners":\["mqtt:\/\/[^:]+:(\d+)/.exec(log);
      const found = /mqtt:\/\/[\d.]+:(\d+)/.exec(log);
      if (ready !== null && found !== null) resolve(Number(found[1]));
    });
    child.once('exit', () => reject(new Error(`the gateway ended:\n${log}`)));
  });
  return {
    port,
    pid: child.pid,
    log: () => log,
    stop: async () => {
      child.kill('SIGTERM');
      await ended;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** CPU seconds of a process so far, all threads, and its resident memory in MB. */
export function usageOf(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const rss = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return { cpuS: (Number(fields[11]) + Number(fields[12])) / 100, rssMb: Number(rss?.[1] ?? 0) / 1024 };
}

const HEAD = `version: 1
gateway: { id: bench }
broker: { anonymous: true, store: memory, listeners: [ { protocol: mqtt, host: 127.0.0.1, port: 0 } ] }
`;

export function gatewayYaml({ buses, devices, rate = '1s', report = 'always' }) {
  const lines = [HEAD, `defaults: { rate: ${rate}, report: ${report}, qos: 0 }`, 'buses:'];
  for (const [name, bus] of Object.entries(buses)) lines.push(`  ${name}: ${bus}`);
  lines.push('devices:');
  for (const { name, bus, unitId, tags, more = '' } of devices) {
    lines.push(`  ${name}:`, `    bus: ${bus}`, `    unit_id: ${unitId}`, more, '    tags:');
    for (const tag of tags) lines.push(`      ${tag}`);
  }
  return `${lines.filter((line) => line !== '').join('\n')}\n`;
}

export const linkOf = (address, baud, timeoutMs) =>
  address.kind === 'serial'
    ? `{ protocol: rtu, path: ${address.path}, baud: ${baud}, format: 8N1, timeout: ${timeoutMs}ms }`
    : `{ protocol: tcp, host: ${address.host}, port: ${address.port}, timeout: ${timeoutMs}ms }`;
