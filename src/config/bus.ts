/** One bus of the Plant: its link, its timing, and what a line of that speed can do. */
import { readable } from './broker.js';
import type { LoadedMap, RawDevice } from './expand.js';
import { wrongHost } from './host.js';
import type { Source } from './load.js';
import type { Bus, Link, LinkTls, SerialLink, TcpLink } from './plant.js';
import { type Path, keyOf, nameOf } from './problems.js';
import type { BusInput } from './schema/bus.js';
import type { GatewayInput } from './schema/gateway.js';
import { shareSettings } from './share.js';
import { durationText } from './units.js';

const TCP_KEYS = ['host', 'port', 'tls', 'close_idle'] as const;
const SERIAL_KEYS = ['path', 'baud', 'format', 'echo'] as const;
const TURNAROUND_MS = 20;

/** By key in the file. */
export function resolveBuses(
  inputs: GatewayInput['buses'],
  devices: readonly RawDevice[],
  source: Source,
): Map<string, Bus> {
  const buses = new Map<string, Bus>();
  for (const [key, input] of Object.entries(inputs ?? {})) {
    const maps = devices.filter((device) => keyOf(device.input.bus) === key).map(({ maps: those }) => those);
    buses.set(key, resolveBus(buses.size, nameOf(key), input, maps, source, ['buses', key]));
  }
  checkEnds(buses, source);
  return buses;
}

/** Two buses to one port would disturb each other. */
function checkEnds(buses: ReadonlyMap<string, Bus>, source: Source): void {
  const ends = new Map<string, string>();
  for (const [key, { link, name }] of buses) {
    const end = 'path' in link ? link.path : `${link.kind === 'udp' ? 'udp ' : ''}${link.host}:${link.port}`;
    const other = ends.get(end);
    if (other !== undefined && end !== '' && end !== ':502') {
      const isSerial = 'path' in link;
      source.add(
        isSerial ? 'error' : 'warning',
        isSerial ? 'HF1603' : 'HF2603',
        ['buses', key, isSerial ? 'path' : 'host'],
        `is the same ${isSerial ? 'port' : 'connection'} as bus ${other} (${end}); put the devices on one bus, so that they share it`,
      );
    }
    ends.set(end, name);
  }
}

/** maps: those of each device on it, whose needs count where the bus says nothing itself. */
function resolveBus(
  index: number,
  name: string,
  input: BusInput,
  maps: readonly (readonly LoadedMap[])[],
  source: Source,
  at: Path,
): Bus {
  const link = resolveLink(input, source, at);
  const isSerial = link.kind === 'rtu' || link.kind === 'ascii';
  const needs = [...new Set(maps.flat())].flatMap(({ value }) => value?.bus ?? []);
  const most = (
    key: 'timeout' | 'pace' | 'after_connect' | 'turnaround' | 'after_switch',
    otherwise: number,
  ): number => input[key] ?? Math.max(otherwise, ...needs.map((need) => need[key] ?? 0));
  const isWindow = link.kind === 'tcp' || link.kind === 'tls' || link.kind === 'udp';
  if (input.in_flight !== undefined && input.in_flight > 1 && !isWindow)
    source.add(
      'error',
      'HF1602',
      [...at, 'in_flight'],
      'a serial line carries one request at a time; remove in_flight',
    );
  if (input.timeout === 0)
    source.add(
      'error',
      'HF1602',
      [...at, 'timeout'],
      'a timeout of 0 waits for no answer; write 500ms, 1s ...',
    );
  const bus: Bus = {
    index,
    name,
    link,
    timeoutMs: most('timeout', isSerial ? 500 : 1_000),
    inFlight: isWindow ? (input.in_flight ?? togetherOf(maps)) : 1,
    paceMs: most('pace', 0),
    afterConnectMs: most('after_connect', 0),
    closeIdleMs: input.close_idle ?? 0,
    silenceMs: input.silence ?? null,
    turnaroundMs: most('turnaround', isSerial ? TURNAROUND_MS : 0),
    afterSwitchMs: most('after_switch', 0),
    share: shareSettings(input.share, source, [...at, 'share']),
  };
  checkPhysics(bus, source, at);
  return bus;
}

/** Requests under way at once that every device there takes. */
function togetherOf(maps: readonly (readonly LoadedMap[])[]): number {
  if (maps.length === 0) return 1;
  return Math.min(...maps.map((own) => Math.max(1, ...own.map(({ value }) => value?.bus?.in_flight ?? 1))));
}

function resolveLink(input: BusInput, source: Source, at: Path): Link {
  const isSerial = input.protocol === 'rtu' || input.protocol === 'ascii';
  for (const key of isSerial ? TCP_KEYS : SERIAL_KEYS) {
    if (input[key] !== undefined)
      source.add(
        'error',
        'HF1601',
        [...at, key],
        `${key} means nothing to ${input.protocol}; remove it`,
        'key',
      );
  }
  return isSerial ? serialLink(input, source, at) : tcpLink(input, source, at);
}

function serialLink(input: BusInput, source: Source, at: Path): SerialLink {
  if (input.path === undefined)
    source.add('error', 'HF1102', [...at, 'path'], 'missing; write the serial port, such as /dev/ttyS1');
  else checkPort(input.path, source, [...at, 'path']);
  const format = (input.format ?? (input.protocol === 'ascii' ? '7E1' : '8N1')).toUpperCase();
  if (input.protocol === 'rtu' && format.startsWith('7'))
    source.add('error', 'HF1602', [...at, 'format'], 'RTU needs 8 data bits; write 8E1, 8N1 or 8N2');
  return {
    kind: input.protocol === 'ascii' ? 'ascii' : 'rtu',
    path: input.path ?? '',
    baud: input.baud ?? 9_600,
    dataBits: format.startsWith('7') ? 7 : 8,
    parity: format[1] === 'E' ? 'even' : format[1] === 'O' ? 'odd' : 'none',
    stopBits: format.endsWith('2') ? 2 : 1,
    echo: input.echo ?? false,
  };
}

/** A port that is not there now may be plugged in later; one that is named like this never is. */
function checkPort(path: string, source: Source, at: Path): void {
  const name = path.trim();
  if (name !== path || !name.includes('/'))
    source.add(
      'error',
      'HF1602',
      at,
      `${JSON.stringify(path)} is no path of a serial port; write ${name.includes('/') ? name : `/dev/${/^tty/.test(name) ? name : 'ttyS1'}`}`,
    );
}

function tcpLink(input: BusInput, source: Source, at: Path): TcpLink {
  const kind = input.protocol === 'rtu' || input.protocol === 'ascii' ? 'tcp' : input.protocol;
  if (input.host === undefined || input.host === '')
    source.add('error', 'HF1102', [...at, 'host'], 'missing; write the address of the device or converter');
  else {
    const wrong = wrongHost(input.host);
    if (wrong !== null) source.add('error', 'HF1602', [...at, 'host'], wrong);
  }
  if (input.tls !== undefined && kind !== 'tls')
    source.add(
      'error',
      'HF1601',
      [...at, 'tls'],
      `${kind} has no TLS, so it would be open; write protocol: tls`,
      'key',
    );
  return {
    kind,
    host: input.host ?? '',
    port: input.port ?? (kind === 'tls' ? 802 : 502),
    tls: kind === 'tls' ? linkTls(input.tls ?? {}, source, at) : null,
  };
}

function linkTls(input: NonNullable<BusInput['tls']>, source: Source, at: Path): LinkTls {
  const file = (key: 'ca' | 'cert' | 'key'): string | null => {
    const path = input[key];
    return path === undefined ? null : readable(path, source, [...at, 'tls', key]);
  };
  if ((input.cert === undefined) !== (input.key === undefined))
    source.add('error', 'HF1602', [...at, 'tls'], 'cert and key belong together; write both or none');
  return { ca: file('ca'), cert: file('cert'), key: file('key'), serverName: input.server_name ?? null };
}

/** Milliseconds that one character takes on a serial line. */
export function characterMs(link: SerialLink): number {
  return ((1 + link.dataBits + (link.parity === 'none' ? 0 : 1) + link.stopBits) * 1000) / link.baud;
}

/** A read of ten registers must be able to come back within the timeout. */
function checkPhysics(bus: Bus, source: Source, at: Path): void {
  const { link } = bus;
  if (link.kind !== 'rtu' && link.kind !== 'ascii') return;
  const bytes = (8 + 5 + 2 * 10) * (link.kind === 'ascii' ? 2 : 1);
  const leastMs = bytes * characterMs(link) + bus.turnaroundMs;
  if (bus.timeoutMs >= leastMs) return;
  source.add(
    'warning',
    'HF2301',
    [...at, 'timeout'],
    `${durationText(bus.timeoutMs)} is less than ten registers take at ${link.baud} baud (${Math.ceil(leastMs)} ms); every answer would come too late, write ${Math.ceil((leastMs * 2) / 100) * 100}ms`,
  );
}
