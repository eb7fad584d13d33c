/** Which wire goes with which transport: the kinds of link that a gateway file can name. */
import type { MessagePort } from 'node:worker_threads';
import type { Clock } from '../clock.js';
import { AsciiFraming } from './ascii.js';
import { SerialBridge } from './bridge.js';
import type { SerialSettings } from './bridge.js';
import { Line } from './line.js';
import type { LineSettings } from './line.js';
import { MbapTransport } from './mbap.js';
import { RtuFraming } from './rtu.js';
import { openSocket } from './tcp.js';
import type { TlsMaterial } from './tcp.js';
import { openDatagrams } from './udp.js';
import type { OpenWire, Transport, TransportHost } from './wire.js';

/** The Plant's Link is one. */
export type LinkSettings =
  | {
      readonly kind: 'tcp' | 'tls' | 'udp' | 'rtu-over-tcp' | 'ascii-over-tcp';
      readonly host: string;
      readonly port: number;
      readonly tls: TlsMaterial | null;
    }
  | (SerialSettings & { readonly kind: 'rtu' | 'ascii'; readonly echo: boolean });

export interface PairSettings {
  readonly link: LinkSettings;
  readonly timeoutMs: number;
  readonly inFlight: number;
  readonly paceMs: number;
  readonly silenceMs: number | null;
  readonly turnaroundMs: number;
}

/** Silence of 3.5 characters, fixed above this rate (Modbus over serial line 2.5.1.1). */
const FIXED_ABOVE_BAUD = 19_200;
const FIXED_SILENCE_MS = 1.75;
/** Behind a converter the rate is not known: what 9600 baud needs, most lines' rate or less than theirs. */
const CONVERTER_SILENCE_MS = 4.1;
/** Longer than the usual answer takes, and of no weight for the first value. */
const LISTEN_MS = 500;
const CONNECT_MIN_MS = 1000;
const CONNECT_MAX_MS = 2000;

export function pair(
  settings: PairSettings,
  clock: Clock,
  host: TransportHost,
  openSerial: (() => MessagePort) | undefined,
): { transport: Transport; openWire: OpenWire } {
  const transport = transportOf(settings, clock, host);
  const { link } = settings;
  if ('path' in link) {
    if (openSerial === undefined) throw new Error(`${link.path}: a serial port needs its MessagePort`);
    const bridge = new SerialBridge(openSerial(), clock);
    return { transport, openWire: (listener) => bridge.open(link, listener) };
  }
  if (link.kind === 'udp') {
    return { transport, openWire: (listener) => openDatagrams(link, clock, listener) };
  }
  const connectTimeoutMs = Math.min(CONNECT_MAX_MS, Math.max(CONNECT_MIN_MS, settings.timeoutMs));
  const tls = link.kind === 'tls' ? (link.tls ?? NO_TLS_MATERIAL) : null;
  // The processor of a small device may take seconds for it; the settings say so.
  const handshakeTimeoutMs = Math.max(connectTimeoutMs, settings.timeoutMs);
  const socket = { host: link.host, port: link.port, tls, connectTimeoutMs, handshakeTimeoutMs };
  return { transport, openWire: (listener) => openSocket(socket, clock, listener) };
}

/** Without a wire, for wires of another making. */
export function transportOf(settings: PairSettings, clock: Clock, host: TransportHost): Transport {
  const { kind } = settings.link;
  if (kind === 'tcp' || kind === 'tls' || kind === 'udp') return mbap(settings, clock, host, kind === 'udp');
  return line(kind, settings, clock, host);
}

const NO_TLS_MATERIAL: TlsMaterial = { ca: null, cert: null, key: null, serverName: null };

function mbap(settings: PairSettings, clock: Clock, host: TransportHost, isDatagram: boolean): Transport {
  return new MbapTransport(
    { window: Math.max(1, settings.inFlight), paceMs: settings.paceMs, isDatagram },
    clock,
    host,
  );
}

function line(
  kind: 'rtu' | 'ascii' | 'rtu-over-tcp' | 'ascii-over-tcp',
  settings: PairSettings,
  clock: Clock,
  host: TransportHost,
): Transport {
  const framing = kind === 'ascii' || kind === 'ascii-over-tcp' ? new AsciiFraming() : new RtuFraming();
  return new Line(framing, lineSettings(settings), clock, host);
}

function lineSettings({ link, timeoutMs, paceMs, silenceMs, turnaroundMs }: PairSettings): LineSettings {
  const characterMs = 'baud' in link ? characterTimeMs(link) : 0;
  // ASCII frames are told apart by their colon.
  const isAscii = link.kind === 'ascii' || link.kind === 'ascii-over-tcp';
  const standardMs = isAscii ? 0 : 'baud' in link ? standardSilenceMs(link) : CONVERTER_SILENCE_MS;
  return {
    characterMs,
    silenceMs: silenceMs ?? standardMs,
    paceMs,
    turnaroundMs,
    hasEcho: 'echo' in link && link.echo,
    lateMs: lateWindowMs(timeoutMs),
    listenMs: LISTEN_MS,
  };
}

/** Start bit, data, parity and stop bits. */
export function characterTimeMs({ baud, dataBits, parity, stopBits }: SerialSettings): number {
  return ((1 + dataBits + (parity === 'none' ? 0 : 1) + stopBits) / baud) * 1000;
}

export function standardSilenceMs(settings: SerialSettings): number {
  return settings.baud > FIXED_ABOVE_BAUD ? FIXED_SILENCE_MS : 3.5 * characterTimeMs(settings);
}

/** How late an answer may still be: far beyond the timeout. Meanwhile only what looks like it is held back. */
function lateWindowMs(timeoutMs: number): number {
  return Math.min(Math.max(2000, 3 * timeoutMs), Math.max(3000, timeoutMs + 1000));
}
