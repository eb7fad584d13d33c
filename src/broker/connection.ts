/**
 * One client's connection: bytes in, packet to its handler, bytes out. It owns the transport and knows in which state it
 * is; when it is read from is backpressure.ts's business, and what packets mean that of the handlers. A fault in it
 * closes it and nothing else.
 */
import { messageOf } from '../errors.js';
import { receiveAcknowledgement } from './acknowledge.js';
import { Aliases } from './aliases.js';
import type { Authentication } from './authentication.js';
import { Backpressure, type Reader } from './backpressure.js';
import type { DoorPolicy, Newcomer, Work } from './client.js';
import {
  acknowledgementLength,
  PUBACK,
  PUBCOMP,
  PUBREC,
  type Publication,
  writeAcknowledgement,
} from './codec.js';
import { owedAcknowledgement, type Owed } from './commits.js';
import type { Admission } from './connect.js';
import type { Core } from './core.js';
import { receiveDisconnect } from './disconnect.js';
import {
  AUTH_ONLY,
  CLIENT_PACKETS,
  CONNECT_ONLY,
  Framer,
  type FrameSink,
  PACKET_TOO_LARGE,
} from './framer.js';
import { type Watched, Wheel } from './keepalive.js';
import { Outbox, type OutboxOwner, type Transport } from './outbox.js';
import { type ConnectRequest, encodeConnack, encodeDisconnect, PINGRESP } from './packets.js';
import { PROTOCOL_ERROR } from './properties.js';
import type { Publishing } from './publish.js';
import { Rates } from './rates.js';
import type { Route } from './route.js';
import type { Session } from './session.js';
import { receiveSubscribe, receiveUnsubscribe } from './subscribe.js';

/** What all connections share. */
export interface ConnectionHost {
  readonly core: Core;
  readonly publishing: Publishing;
  readonly admission: Admission;
  readonly wheel: Wheel;
  /** What those together hold who are not let in yet has changed by so many bytes. */
  undecided(change: number): void;
  /** The connection is over. */
  closed(connection: Connection): void;
  /** And its socket is closed. */
  gone(connection: Connection): void;
}

/** Who is at the other end. */
export interface Peer {
  readonly host: string;
  /** Address and port. */
  readonly address: string;
  /** As door.ts tells them; empty where nobody was counted before he was a client. */
  readonly ends: string;
  readonly certificateName: string | null;
  readonly policy: DoorPolicy;
  /** Name of the listener. */
  readonly listener: string;
}

const KEEP_ALIVE_TIMEOUT = 0x8d;
/** What may still be on its way from somebody who is to read why he was refused. */
const FAREWELL_BYTES = 65_536;
/** Topic aliases set towards one client. */
const ALIASES_MAX = 256;

export class Connection implements Newcomer, FrameSink, OutboxOwner, Reader, Watched {
  readonly #host: ConnectionHost;
  readonly #core: Core;
  readonly #transport: Transport;
  readonly #framer: Framer;
  readonly #peer: Peer;
  readonly #backpressure: Backpressure;
  readonly outbox: Outbox;
  version: 4 | 5 = 4;
  session: Session | null = null;
  authentication: Authentication | null = null;
  clientId = '';
  keepAliveS = 0;
  connectedAtMs = 0;
  lastRoute: Route | null = null;
  mayWriteLast = false;
  aliases: (Route | undefined)[] | null = null;
  unfinishedCount = 0;
  maxPacketBytes = Infinity;
  receiveMaximum = 65535;
  lastTick: number;
  dueTicks: number;
  lookTick = 0;
  /** `pending` while a CONNECT or an AUTH before CONNACK is thought about, `asked` while the answer to AUTH is out. */
  #state: 'new' | 'pending' | 'asked' | 'open' | 'closed' = 'new';
  #wantsReasons = true;
  #isLost = false;
  /** Of a CONNECT that is thought about. */
  #connectBytes = 0;
  /** What the host was told of undecidedBytes. */
  #toldBytes = 0;
  /** Towards the client; null: it takes none. */
  #aliasesOut: Aliases | null = null;

  constructor(host: ConnectionHost, transport: Transport, peer: Peer) {
    this.#host = host;
    this.#core = host.core;
    this.#transport = transport;
    this.#peer = peer;
    const { limits } = host.core;
    this.#framer = new Framer(this, CONNECT_ONLY, limits.maxConnectBytes);
    this.outbox = new Outbox(transport, host.core.turns.arena, this);
    this.#backpressure = new Backpressure(host.core, transport, this.#framer, this.outbox, this);
    this.lastTick = host.wheel.now;
    this.dueTicks = Wheel.ticksOf(limits.connectTimeoutMs);
    host.wheel.watch(this);
  }

  get isOpen(): boolean {
    return this.#state !== 'closed';
  }

  get address(): string {
    return this.#peer.address;
  }

  get ends(): string {
    return this.#peer.ends;
  }

  get host(): string {
    return this.#peer.host;
  }

  get listener(): string {
    return this.#peer.listener;
  }

  get policy(): DoorPolicy {
    return this.#peer.policy;
  }

  get certificateName(): string | null {
    return this.#peer.certificateName;
  }

  get isFull(): boolean {
    return this.outbox.hasUnsent(this.#core.outboxBytes);
  }

  // ---------------------------------------------------------------- bytes in

  /** Bytes arrived. They are read before this returns and not kept, but for the part of a frame that is not complete. */
  receive(bytes: Uint8Array, start: number, end: number): void {
    if (this.#state === 'closed') return;
    this.#core.counters.bytesReceived.value += end - start;
    this.#core.turns.beginReading();
    try {
      const refused = this.#framer.push(bytes, start, end);
      this.#host.publishing.flush();
      if (refused !== 0) this.#refuseFrame(refused);
      else this.#backpressure.afterRead(end - start);
    } catch (error) {
      this.#broken(error);
    }
    if (this.#state !== 'open') this.tellUndecided();
  }

  #refuseFrame(reason: number): void {
    if (this.#state === 'closed') return;
    const text =
      reason === PACKET_TOO_LARGE
        ? 'the packet is larger than the Maximum Packet Size'
        : 'bytes are no MQTT packet';
    this.fail(reason, text);
  }

  /** A fault of ours or a packet nobody thought of: it ends this connection and nothing else. */
  #broken(error: unknown): void {
    const fields = {
      client: this.clientId,
      error: messageOf(error),
      stack: error instanceof Error ? error.stack : undefined,
    };
    this.#core.unrest.tell('error', 'connection closed by an internal fault', fields, 'fault');
    this.fail(0x80, '');
  }

  /** What is left of a read waits, too, when what came of it so far has taken this turn's time. */
  #goesOn(): boolean {
    const { turns } = this.#core;
    if (!turns.isTurnOverAmid) return true;
    turns.afterTurn(() => this.#goOn());
    return false;
  }

  /** One packet may ask for more than a turn has time for: what is left of it waits, and what came behind it, too. */
  #goThrough(work: Work | null): boolean {
    if (work === null) return false;
    if (work()) return this.#goesOn();
    this.#goOnLater(work);
    return false;
  }

  #goOnLater(work: Work): void {
    this.#core.turns.afterTurn(() => this.#goOn(work));
  }

  /** Bytes that the kernel has not taken. */
  get pendingBytes(): number {
    return this.outbox.pendingBytes;
  }

  /** Memory for a packet that has begun and does not end; nothing when it is we who do not read on. */
  get unendedBytes(): number {
    return this.#framer.isStopped ? 0 : this.#partBytes;
  }

  get #partBytes(): number {
    return this.#framer.partBytes + (this.#transport.partBytes ?? 0);
  }

  /** Memory for somebody who is not in: nothing is known of him but that he sends. */
  get undecidedBytes(): number {
    const isDecided = this.#state === 'open' || this.#state === 'closed';
    return isDecided ? 0 : this.#partBytes + this.#connectBytes;
  }

  /** To be called when more of a packet came, or what it waits for was decided. */
  tellUndecided(): void {
    // Who was turned away has nothing more to say that would be kept.
    const isTurnedAway = this.#state === 'closed' && this.connectedAtMs === 0;
    if (isTurnedAway && this.#partBytes > FAREWELL_BYTES) this.#transport.destroy();
    const change = this.undecidedBytes - this.#toldBytes;
    if (change === 0) return;
    this.#toldBytes += change;
    this.#host.undecided(change);
  }

  /** The kernel took everything that was pending, or what held the client back is over. */
  drained(): void {
    if (this.#state === 'closed') return;
    this.#backpressure.drained();
    this.outbox.touch();
  }

  becameDirty(outbox: Outbox): void {
    this.#core.turns.markDirty(outbox);
  }

  wrote(bytes: number): void {
    this.#core.counters.bytesSent.value += bytes;
  }

  /** Called by the outbox before it writes: what waits in the session goes along. */
  beforeFlush(): void {
    if (this.#state !== 'open') return;
    try {
      this.session?.pump();
    } catch (error) {
      this.#broken(error);
    }
  }

  frame(bytes: Uint8Array, start: number, body: number, end: number): boolean {
    this.lastTick = this.#host.wheel.now;
    const type = (bytes[start] ?? 0) >> 4;
    this.#core.counters.packetsReceived.value++;
    if (type === 3) {
      this.#backpressure.countMessage();
      return this.#host.publishing.receive(this, bytes, start, body, end) && this.#goesOn();
    }
    // Runs are handed on before anything else happens, in the order of the packets.
    this.#host.publishing.flush();
    switch (type) {
      case 1:
        return this.#connect(bytes, start, body, end);
      case 4:
      case 5:
      case 6:
      case 7:
        return receiveAcknowledgement(this.#core, this.#host.publishing, this, bytes, type, body, end);
      case 8:
        return this.#goThrough(receiveSubscribe(this.#core, this, bytes, body, end));
      case 10:
        return this.#goThrough(receiveUnsubscribe(this.#core, this, bytes, body, end));
      case 12:
        if (body !== end) return this.#failFrame(0x81, 'PINGREQ has a body');
        this.send(PINGRESP);
        return true;
      case 14:
        if (receiveDisconnect(this.#core, this, bytes, body, end)) this.#close(false);
        return false;
      case 15:
        return this.#authenticate(bytes, body, end);
      default:
        return this.#failFrame(PROTOCOL_ERROR, 'this packet is not expected');
    }
  }

  #failFrame(reason: number, text: string): false {
    this.fail(reason, text);
    return false;
  }

  // ---------------------------------------------------------------- CONNECT

  #connect(bytes: Uint8Array, start: number, body: number, end: number): boolean {
    if (this.#state !== 'new') return this.#failFrame(PROTOCOL_ERROR, 'a second CONNECT');
    this.#state = 'pending';
    this.#connectBytes = end - start;
    this.#host.admission.receive(this, bytes, start, body, end);
    // What follows waits until the CONNECT is decided; most are decided at once.
    return this.#isReading;
  }

  get #isReading(): boolean {
    return this.#state === 'open' || this.#state === 'asked';
  }

  #authenticate(bytes: Uint8Array, body: number, end: number): boolean {
    const { authentication } = this;
    // [MQTT-4.12.0-7]
    if (authentication === null)
      return this.#failFrame(PROTOCOL_ERROR, 'AUTH, but CONNECT named no authentication method');
    if (this.#state === 'asked') this.#state = 'pending';
    authentication.receive(bytes, body, end);
    return this.#isReading;
  }

  ask(packet: Uint8Array): void {
    if (this.#state === 'closed') return;
    this.send(packet);
    if (this.#state === 'open') return;
    this.#state = 'asked';
    this.version = 5;
    this.#framer.isMinimal = true;
    this.#framer.firstBytes = AUTH_ONLY;
    if (this.#framer.isStopped) this.#goOn();
  }

  hold(session: Session, request: ConnectRequest, keepAliveS: number): void {
    const { limits } = this.#core;
    this.version = request.version;
    this.clientId = session.clientId;
    this.session = session;
    session.holder = this;
    session.address = this.address;
    this.keepAliveS = keepAliveS;
    this.maxPacketBytes = request.maximumPacketBytes;
    this.receiveMaximum = Math.min(request.receiveMaximum, limits.maxInflight);
    if (request.topicAliasMaximum > 0)
      this.#aliasesOut = new Aliases(Math.min(request.topicAliasMaximum, ALIASES_MAX));
    this.#wantsReasons = request.wantsProblemInformation;
  }

  open(connack: Uint8Array): void {
    const { session } = this;
    if (this.#state !== 'pending' || session === null) return;
    const { limits, clock } = this.#core;
    this.#state = 'open';
    this.tellUndecided();
    this.connectedAtMs = clock.nowMs();
    this.#framer.firstBytes = CLIENT_PACKETS;
    this.#framer.maxBytes = limits.maxPacketBytes;
    this.#framer.isMinimal = this.version === 5;
    this.#backpressure.rates = Rates.of(limits, clock);
    this.send(connack);
    session.attach(this);
    this.lastTick = this.#host.wheel.now;
    this.dueTicks = Wheel.ticksOf(this.keepAliveS * 1500);
    this.#host.wheel.watch(this);
    if (this.#framer.isStopped) this.#goOn();
  }

  /** Reads what came behind a packet that had to wait, when what is left of that is done. */
  #goOn(work: Work | null = null): void {
    setImmediate(() => {
      if (this.#state === 'closed') return;
      this.#core.turns.beginReading();
      try {
        if (work !== null && !work()) return this.#goOnLater(work);
        const refused = this.#framer.resume();
        this.#host.publishing.flush();
        if (refused !== 0) this.#refuseFrame(refused);
        else if (this.#isLost && !this.#framer.isStopped) this.#close(false);
        else this.drained();
      } catch (error) {
        this.#broken(error);
      }
    });
  }

  refuse(connack: Uint8Array | null, text: string, request?: ConnectRequest): void {
    if (this.#state === 'closed') return;
    this.#core.counters.refused.value++;
    // The session that knows these two is not its own yet.
    const who = { client: request?.clientId ?? '', user: request?.username ?? undefined };
    this.#core.farewells.tell(this.host, 'connection refused', {
      ...who,
      address: this.address,
      error: text,
    });
    if (connack !== null) this.send(connack);
    this.#close(true);
  }

  // ---------------------------------------------------------------- the end

  fail(reason: number, text: string): void {
    if (this.#state === 'closed') return;
    if (reason !== 0x8e && reason !== 0x8b && reason !== KEEP_ALIVE_TIMEOUT)
      this.#core.counters.protocolErrors.value++;
    this.#core.farewells.tell(this.host, 'connection closed', {
      client: this.clientId,
      address: this.address,
      code: `0x${reason.toString(16)}`,
      error: text,
    });
    if (this.#state === 'open' && this.version === 5) {
      const packet = encodeDisconnect(reason, this.#wantsReasons ? text : '');
      this.send(packet.length <= this.maxPacketBytes ? packet : encodeDisconnect(reason, ''));
    } else if (this.authentication !== null && this.session === null && reason !== 0x8b) {
      // An authentication that is broken off before CONNACK; that the server stops is no code of CONNACK.
      this.send(encodeConnack(5, reason, false, {}));
    }
    this.#close(true);
  }

  giveUp(reason: number): void {
    this.fail(
      reason,
      reason === 0x8e ? 'the session was taken over' : reason === 0x8b ? 'the server stops' : '',
    );
  }

  /** Ends it without a word, so that what it holds is free at once. */
  cut(text: string): void {
    if (this.#state === 'closed') return;
    this.#core.counters.refused.value++;
    this.#core.farewells.tell(this.host, 'connection cut', { address: this.address, error: text });
    this.#close(false);
    this.#transport.destroy();
  }

  expire(): void {
    const { isAwaitingDisk } = this.#backpressure;
    if (this.#state === 'open' ? this.#backpressure.isHolding() : isAwaitingDisk) {
      // What it sent meanwhile is unread because of us: that is no silence of its own.
      this.lastTick = this.#host.wheel.now;
      this.#host.wheel.watch(this);
    } else if (this.#state === 'open')
      this.fail(KEEP_ALIVE_TIMEOUT, 'nothing came for one and a half keep alive intervals');
    else this.refuse(null, 'no CONNECT came in time');
  }

  readsAgain(): void {
    this.lastTick = this.#host.wheel.now;
  }

  /**
   * The other end closed, or the transport failed. What came before that and waits its turn is read first: it may end in a
   * DISCONNECT.
   */
  lost(): void {
    if (this.#state === 'closed') return;
    this.#isLost = true;
    if (!this.#framer.isStopped || !this.#framer.hasPart) this.#close(false);
  }

  /** The transport is closed, and takes no descriptor any more. Told once, after all else. */
  gone(): void {
    this.lost();
    this.#host.gone(this);
  }

  /** Ends the connection; with something to be sent first, that is flushed before. */
  #close(isFlushed: boolean): void {
    const { session } = this;
    const wasOpen = this.#state === 'open';
    this.#state = 'closed';
    this.tellUndecided();
    this.#backpressure.end();
    this.#host.wheel.forget(this);
    this.#host.publishing.flush();
    this.#framer.drop();
    if (isFlushed || wasOpen) this.outbox.flushLast();
    this.outbox.drop();
    this.#transport.end();
    if (session !== null && session.holder === this) {
      session.holder = null;
      this.#core.lifecycle.leave(session);
    }
    this.#host.closed(this);
  }

  // ---------------------------------------------------------------- bytes out

  send(packet: Uint8Array): void {
    // What the client cannot take is not sent, whatever it is [MQTT-3.1.2-24].
    if (packet.length > this.maxPacketBytes) return;
    this.outbox.append(packet, 0, packet.length);
    this.#core.counters.packetsSent.value++;
  }

  acknowledge(first: number, packetIdentifier: number, reason: number, isOwed: boolean): void {
    // Acknowledgements leave in the order of what they acknowledge [MQTT-4.6.0-2].
    if (isOwed || this.#backpressure.owedCount > 0) {
      this.#backpressure.owedCount++;
      this.#core.turns.owe(this, owedAcknowledgement(first, packetIdentifier, reason));
    } else this.#sendAcknowledgement(first, packetIdentifier, reason);
  }

  awaitCommit(then: (isKept: boolean) => void): void {
    this.#backpressure.owedCount++;
    this.#core.turns.owe(this, (isKept) => {
      if (this.#backpressure.settled()) this.drained();
      then(isKept);
    });
  }

  #sendAcknowledgement(first: number, packetIdentifier: number, reason: number): void {
    const { outbox, version } = this;
    // The client may send one more, as it counts: also for what an earlier connection began, never more than at first.
    if (this.unfinishedCount > 0 && isLast(first, reason)) this.unfinishedCount--;
    const at = outbox.reserve(acknowledgementLength(version, reason));
    if (outbox.buffer !== null)
      writeAcknowledgement(outbox.buffer, at, first, packetIdentifier, version, reason);
    this.#core.counters.packetsSent.value++;
  }

  settle(owed: Owed, isKept: boolean): boolean {
    if (this.#state === 'closed') return false;
    try {
      return this.#settle(owed, isKept);
    } catch (error) {
      this.#broken(error);
      return false;
    }
  }

  #settle(owed: Owed, isKept: boolean): boolean {
    if (typeof owed === 'function') {
      owed(isKept);
      return false;
    }
    // What was promised to be kept is not given up: it is told once the disk takes it again.
    if (!isKept) return true;
    if (typeof owed !== 'number') {
      this.outbox.append(owed, 0, owed.length);
      this.session?.sendSettled();
      return false;
    }
    const first = owed >>> 24;
    const reason = (owed >>> 16) & 0xff;
    if (this.#backpressure.settled()) this.drained();
    this.#sendAcknowledgement(first, owed & 0xffff, reason);
    return false;
  }

  aliasOf(publication: Publication): number {
    return this.#aliasesOut === null ? 0 : this.#aliasesOut.of(publication);
  }

  noteAlias(): void {
    this.#aliasesOut?.note();
  }
}

/** Whether an acknowledgement ends its message's exchange (4.9). */
function isLast(first: number, reason: number): boolean {
  return first === PUBACK || first === PUBCOMP || (first === PUBREC && reason >= 0x80);
}
