/**
 * A bus's Modbus TCP port for other masters: an existing SCADA or an engineer's tool reaches the same units while the
 * gateway polls them. Owns the sockets and who may do what; when a request gets its turn is the poller's business.
 * Each connection has one request under way, so that nobody's answer can be another's and nobody crowds others out.
 */
import { BlockList, createServer, isIP, type Server, type Socket } from 'node:net';
import type { Cancel, Clock } from '../clock.js';
import type { Bus, Device, ShareSettings } from '../config/plant.js';
import type { Request } from '../modbus/client.js';
import { FUNCTION } from '../modbus/protocol.js';
import { answerPduOf, decodeRequest, EXCEPTION, exceptionPdu, type ExceptionCode } from '../modbus/server.js';
import { type Frame, tcpFrame } from '../modbus/framing.js';
import { TcpRequestReader } from '../modbus/serverframes.js';
import type { VisitAnswer } from './visitors.js';

export interface ShareOptions {
  readonly bus: Bus;
  readonly settings: ShareSettings;
  readonly devices: readonly Device[];
  readonly clock: Clock;
  /** Carries a request out in its turn; not, once nobody wants it any more. */
  visit(request: Request, isWanted: () => boolean): Promise<VisitAnswer>;
  event(kind: string, fields: Record<string, unknown>): void;
}

/** Requests of one connection that may wait for those before them; then it is not read from. */
const PENDING_MAX = 16;
const REOPEN_MS = 2000;
const KEEP_ALIVE_MS = 30_000;
/** When all places are taken, who has said nothing for so long makes room. */
const IDLE_MS = 60_000;
/** An address that is refused is told of once in this time. */
const TELL_MS = 60_000;
const TOLD_MAX = 1000;

export class Share {
  readonly #options: ShareOptions;
  readonly #clients: BlockList;
  /** null: whoever may connect. */
  readonly #writers: BlockList | null;
  readonly #devices: ReadonlyMap<number, Device>;
  readonly #guests = new Set<Guest>();
  readonly #toldAtMs = new Map<string, number>();
  #server: Server | null = null;
  #cancelReopen: Cancel | null = null;
  #isClosed = false;
  #failure = '';

  constructor(options: ShareOptions) {
    const { settings, devices } = options;
    this.#options = options;
    this.#clients = listOf(settings.allow);
    this.#writers = settings.writers === null ? null : listOf(settings.writers);
    this.#devices = new Map(devices.map((device) => [device.unitId, device]));
  }

  /** Resolves once it accepts; also when the port cannot be had, which is tried again and again. */
  open(): Promise<void> {
    const { bus, settings, event, clock } = this.#options;
    const server = createServer({ noDelay: true }, (socket) => this.#accept(socket));
    this.#server = server;
    return new Promise((resolve) => {
      server.on('error', (error) => {
        if (this.#failure !== error.message)
          event('share-failed', {
            bus: bus.name,
            host: settings.host,
            port: settings.port,
            error: error.message,
          });
        this.#failure = error.message;
        if (!server.listening && !this.#isClosed)
          this.#cancelReopen = clock.after(REOPEN_MS, () => void this.open());
        resolve();
      });
      server.listen({ host: settings.host, port: settings.port }, () => {
        const address = server.address();
        const port = typeof address === 'object' && address !== null ? address.port : settings.port;
        this.#failure = '';
        event('share-open', { bus: bus.name, host: settings.host, port, write: settings.isWritable });
        resolve();
      });
    });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelReopen?.();
    for (const guest of this.#guests) guest.end();
    const server = this.#server;
    if (server?.listening !== true) return;
    await new Promise<void>((resolve) => server.close(() => resolve()));
  }

  #accept(socket: Socket): void {
    const address = plainAddress(socket.remoteAddress ?? '');
    socket.on('error', () => socket.destroy());
    if (this.#isClosed || !contains(this.#clients, address)) {
      this.#tellRefused(address, 'not in its allow list');
      return void socket.destroy();
    }
    if (this.#guests.size >= this.#options.settings.clientsMax && !this.#makeRoom()) {
      this.#tellRefused(address, `${this.#guests.size} clients are connected`);
      return void socket.destroy();
    }
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    const guest: Guest = new Guest(socket, this.#options.clock, {
      answer: (frame, isWanted) => this.#answer(frame, address, isWanted),
      gone: () => this.#guests.delete(guest),
    });
    this.#guests.add(guest);
  }

  /** The one that has been silent longest goes, if that is long. */
  #makeRoom(): boolean {
    const nowMs = this.#options.clock.monotonicMs();
    let idlest: Guest | null = null;
    for (const guest of this.#guests)
      if (guest.heardAtMs < (idlest?.heardAtMs ?? nowMs - IDLE_MS)) idlest = guest;
    idlest?.end();
    return idlest !== null;
  }

  async #answer({ unitId, pdu }: Frame, client: string, isWanted: () => boolean): Promise<Uint8Array> {
    const functionCode = pdu[0] ?? 0;
    const request = decodeRequest(unitId, pdu);
    if (typeof request === 'number') return exceptionPdu(functionCode, request);
    const refusal = this.#refusal(request, client);
    if (refusal !== 0) return exceptionPdu(functionCode, refusal);
    const answer = await this.#options.visit(request, isWanted);
    if (isWriting(request)) this.#tellWrite(request, functionCode, client, answer);
    return typeof answer === 'number'
      ? exceptionPdu(functionCode, answer)
      : answerPduOf(request, functionCode, answer);
  }

  /** The exception that answers what must not reach the unit; 0: nothing is wrong with it. */
  #refusal(request: Request, client: string): ExceptionCode | 0 {
    const device = this.#devices.get(request.unitId);
    if (device === undefined) return EXCEPTION.pathUnavailable;
    if (isWriting(request)) {
      const { isWritable } = this.#options.settings;
      const mayWrite = isWritable && (this.#writers === null || contains(this.#writers, client));
      if (!mayWrite) return EXCEPTION.illegalFunction;
    }
    return isReadable(device, request) ? 0 : EXCEPTION.illegalDataAddress;
  }

  #tellWrite(request: Request, functionCode: number, client: string, answer: VisitAnswer): void {
    const { unitId } = request;
    const address =
      request.kind === 'read-write' ? request.writeAddress : 'address' in request ? request.address : null;
    this.#options.event('shared-write', {
      bus: this.#options.bus.name,
      client,
      device: this.#devices.get(unitId)?.name ?? '',
      function: functionCode,
      ...(address === null ? {} : { address }),
      ...(typeof answer === 'number' ? { ok: false, exception: answer } : { ok: true }),
    });
  }

  #tellRefused(address: string, error: string): void {
    const nowMs = this.#options.clock.monotonicMs();
    if (nowMs - (this.#toldAtMs.get(address) ?? -Infinity) < TELL_MS) return;
    if (this.#toldAtMs.size >= TOLD_MAX) this.#toldAtMs.clear();
    this.#toldAtMs.set(address, nowMs);
    this.#options.event('share-refused', { bus: this.#options.bus.name, client: address, error });
  }
}

interface GuestHost {
  answer(frame: Frame, isWanted: () => boolean): Promise<Uint8Array>;
  gone(): void;
}

/** One connection: its requests, carried out one after the other. */
class Guest {
  readonly #socket: Socket;
  readonly #host: GuestHost;
  readonly #reader = new TcpRequestReader();
  readonly #pending: Frame[] = [];
  #isBusy = false;
  #isGone = false;
  /** Goes on once what was answered is taken, or the connection is over. */
  #wake: () => void = () => {};
  heardAtMs: number;

  constructor(socket: Socket, clock: Clock, host: GuestHost) {
    this.#socket = socket;
    this.#host = host;
    this.heardAtMs = clock.monotonicMs();
    socket.on('data', (bytes: Buffer) => {
      this.heardAtMs = clock.monotonicMs();
      this.#take(bytes);
    });
    socket.on('end', () => this.end());
    socket.on('drain', () => this.#wake());
    socket.on('close', () => {
      this.#isGone = true;
      host.gone();
      this.#wake();
    });
  }

  end(): void {
    this.#isGone = true;
    this.#socket.destroy();
  }

  #take(bytes: Uint8Array): void {
    // Protocol identifiers other than 0 are not Modbus: discarded (Modbus on TCP 4.2).
    for (const frame of this.#reader.push(bytes)) if (frame.protocolId === 0) this.#pending.push(frame);
    if (this.#reader.isBroken) return this.end();
    if (this.#pending.length > PENDING_MAX) this.#socket.pause();
    if (!this.#isBusy) void this.#serve();
  }

  async #serve(): Promise<void> {
    this.#isBusy = true;
    for (let count = 1; this.#pending.length > 0; count++) {
      await this.#answerNext();
      if (this.#isGone) return;
      // What is known is answered at once: one who asks without end leaves polls and others their turn.
      if (count % PENDING_MAX === 0) await new Promise(setImmediate);
    }
    this.#isBusy = false;
  }

  /** Who does not read his answers is given no more of them, and not read from. */
  async #answerNext(): Promise<void> {
    const frame = this.#pending.shift();
    if (frame === undefined) return;
    const pdu = await this.#host.answer(frame, () => !this.#isGone);
    if (this.#isGone) return;
    const isTaken = this.#socket.write(tcpFrame({ ...frame, pdu }));
    if (!isTaken) await new Promise<void>((resolve) => (this.#wake = resolve));
    if (this.#pending.length <= PENDING_MAX / 2) this.#socket.resume();
  }
}

/** Whatever may change something in a unit; of diagnostics only the echo is harmless. */
function isWriting(request: Request): boolean {
  if (request.kind === 'read') return false;
  if (request.kind !== 'raw') return true;
  const { functionCode, data } = request;
  if (functionCode === FUNCTION.diagnostics) return data[0] !== 0 || data[1] !== 0;
  return functionCode !== FUNCTION.reportServerId && data[0] !== READ_DEVICE_IDENTIFICATION;
}

/** The one kind of encapsulated transport that only reads (Modbus 6.21). */
const READ_DEVICE_IDENTIFICATION = 14;

/** What is never read by polls is not read for others: reading may have side effects. */
function isReadable({ forbidden, readable }: Device, request: Request): boolean {
  if (request.kind !== 'read' && request.kind !== 'read-write') return true;
  const { address, quantity } = request;
  const table = request.kind === 'read' ? request.table : 'holding-register';
  const end = address + quantity;
  const isForbidden = forbidden.some(
    (range) => range.table === table && range.address < end && address < range.address + range.quantity,
  );
  if (isForbidden) return false;
  if (readable.length === 0) return true;
  return readable.some(
    (range) => range.table === table && range.address <= address && end <= range.address + range.quantity,
  );
}

/** Addresses and networks (10.0.0.0/24), checked when the config was read. */
function listOf(texts: readonly string[]): BlockList {
  const list = new BlockList();
  for (const text of texts) {
    const [address = '', prefix] = text.split('/');
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
    if (prefix === undefined) list.addAddress(address, family);
    else list.addSubnet(address, Number(prefix), family);
  }
  return list;
}

function contains(list: BlockList, address: string): boolean {
  const family = isIP(address);
  return family !== 0 && list.check(address, family === 6 ? 'ipv6' : 'ipv4');
}

/** Without its zone; ::ffff:10.0.0.7 is 10.0.0.7 on a socket that takes both families. */
function plainAddress(address: string): string {
  const [bare = ''] = address.split('%');
  return bare.startsWith('::ffff:') && bare.includes('.') ? bare.slice(7) : bare;
}
