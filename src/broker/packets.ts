/**
 * The packets beside PUBLISH and its acknowledgements. What arrives is walked strictly here first; mqtt-packet then
 * builds the object of a CONNECT and the bytes of every answer. It never sees bytes that were not found right.
 */
import mqttPacket, { type IConnectPacket, type Packet } from 'mqtt-packet';
import { copyOf, varintLength, writeVarint } from './codec.js';
import { isMinimal } from './framer.js';
import { IN, MALFORMED, PROPERTY, PROTOCOL_ERROR, PropertyWalk, withoutHopProperties } from './properties.js';
import { isText, isTopicName } from './topic.js';
import type { Will } from './will.js';

// Its cache of 65,536 two-byte buffers costs 15 MB and wins nothing.
mqttPacket.writeToStream.cacheNumbers = false;

/** Why a CONNECT is refused. */
export interface Refusal {
  /** MQTT 5 reason code. */
  readonly reason: number;
  /** 3.1.1 return code; 0: closed without a CONNACK. */
  readonly returnCode: number;
  readonly version: 4 | 5;
  readonly text: string;
}

export interface ConnectRequest {
  readonly version: 4 | 5;
  readonly clientId: string;
  readonly cleanStart: boolean;
  readonly keepAliveS: number;
  /** null: none given, which is not the same as empty. */
  readonly username: string | null;
  readonly password: Uint8Array | null;
  readonly will: Will | null;
  readonly sessionExpiryS: number;
  readonly receiveMaximum: number;
  readonly maximumPacketBytes: number;
  readonly topicAliasMaximum: number;
  readonly wantsProblemInformation: boolean;
  readonly authenticationMethod: string | null;
  readonly authenticationData: Uint8Array | null;
}

const walk = new PropertyWalk();
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
const EMPTY = new Uint8Array(0);

function textOf(bytes: Uint8Array, start: number, end: number): string {
  // Nearly always: sockets are read into Buffers, which need no view for it.
  if (Buffer.isBuffer(bytes)) return bytes.toString('utf8', start, end);
  return decoder.decode(bytes.subarray(start, end));
}

/** Reads length-prefixed fields one after the other; after a fault `isRight` is false and fields are empty. */
class Fields {
  readonly #bytes: Uint8Array;
  readonly #end: number;
  at: number;
  isRight = true;
  start = 0;
  end = 0;

  constructor(bytes: Uint8Array, at: number, end: number) {
    this.#bytes = bytes;
    this.at = at;
    this.#end = end;
  }

  byte(): number {
    return this.at < this.#end ? (this.#bytes[this.at++] ?? 0) : this.#fault();
  }

  two(): number {
    return (this.byte() << 8) | this.byte();
  }

  /** Notes a length-prefixed field in start and end. */
  binary(): void {
    const length = this.two();
    this.start = this.at;
    this.end = this.at + length;
    if (!this.isRight || this.end > this.#end) {
      this.#fault();
      this.start = this.end = this.at;
    } else this.at = this.end;
  }

  text(): string {
    this.binary();
    if (!this.isRight || !isText(this.#bytes, this.start, this.end)) {
      this.#fault();
      return '';
    }
    return textOf(this.#bytes, this.start, this.end);
  }

  get isAtEnd(): boolean {
    return this.at === this.#end;
  }

  #fault(): number {
    this.isRight = false;
    return 0;
  }
}

/** Takes a CONNECT apart, or says how to refuse it. bytes[start..end) is the whole frame. */
export function decodeConnect(
  bytes: Uint8Array,
  start: number,
  body: number,
  end: number,
): ConnectRequest | Refusal {
  const fields = new Fields(bytes, body, end);
  const name = fields.text();
  const level = fields.byte();
  if (!fields.isRight) return refuse(4, MALFORMED, 0, 'CONNECT is malformed');
  if (name !== 'MQTT' && !(name === 'MQIsdp' && level === 3)) {
    return refuse(4, 0x84, 0, 'the protocol name is not MQTT');
  }
  // [MQTT-3.1.2-2]: 3.1.1 has a return code for it.
  if (level !== 4 && level !== 5) return refuse(4, 0x84, 1, `protocol level ${level} is not 4 or 5`);
  const version = level;
  // The framer could not know the version before.
  if (version === 5 && !isMinimal(bytes, start, body))
    return refuse(5, MALFORMED, 0, 'the length of CONNECT has more bytes than it needs');
  const flags = fields.byte();
  const keepAliveS = fields.two();
  const fault = flagsFault(flags, version);
  if (fault !== '' || !fields.isRight) return refuse(version, MALFORMED, 0, fault || 'CONNECT is too short');
  const properties = version === 5 ? connectProperties(bytes, fields, end) : NO_PROPERTIES;
  if (typeof properties === 'number')
    return refuse(5, properties, 0, 'CONNECT has a property that is not right');
  fields.text();
  const will = (flags & 4) === 0 ? null : decodeWill(bytes, fields, flags, version, end);
  if (typeof will === 'number') return refuse(version, will, 0, 'the will of CONNECT is not right');
  if ((flags & 0x80) !== 0) fields.text();
  if ((flags & 0x40) !== 0) fields.binary();
  if (!fields.isRight || !fields.isAtEnd)
    return refuse(version, MALFORMED, 0, 'CONNECT has the wrong length');
  const packet = parseConnect(bytes.subarray(start, end));
  if (packet === null) return refuse(version, MALFORMED, 0, 'CONNECT is malformed');
  return {
    version,
    clientId: packet.clientId,
    cleanStart: (flags & 2) !== 0,
    keepAliveS,
    username: (flags & 0x80) === 0 ? null : (packet.username ?? ''),
    password: (flags & 0x40) === 0 ? null : Uint8Array.from(packet.password ?? EMPTY),
    will,
    ...properties,
  };
}

function refuse(version: 4 | 5, reason: number, returnCode: number, text: string): Refusal {
  return { version, reason, returnCode, text };
}

function flagsFault(flags: number, version: 4 | 5): string {
  if ((flags & 1) !== 0) return 'a reserved flag of CONNECT is set';
  if ((flags & 4) === 0 && (flags & 0x38) !== 0) return 'CONNECT has will flags but no will';
  if ((flags & 0x18) === 0x18) return 'the will has QoS 3';
  if (version === 4 && (flags & 0xc0) === 0x40) return 'CONNECT has a password but no user name';
  return '';
}

type ConnectProperties = Pick<
  ConnectRequest,
  | 'sessionExpiryS'
  | 'receiveMaximum'
  | 'maximumPacketBytes'
  | 'topicAliasMaximum'
  | 'wantsProblemInformation'
  | 'authenticationMethod'
  | 'authenticationData'
>;

const NO_PROPERTIES: ConnectProperties = {
  sessionExpiryS: 0,
  receiveMaximum: 65535,
  maximumPacketBytes: Infinity,
  topicAliasMaximum: 0,
  wantsProblemInformation: true,
  authenticationMethod: null,
  authenticationData: null,
};

function connectProperties(bytes: Uint8Array, fields: Fields, end: number): ConnectProperties | number {
  const refused = walk.walk(bytes, fields.at, end, IN.connect);
  if (refused !== 0) return refused;
  fields.at = walk.next;
  const hasMethod = walk.has(PROPERTY.authenticationMethod);
  if (walk.has(PROPERTY.authenticationData) && !hasMethod) return PROTOCOL_ERROR;
  return {
    sessionExpiryS: walk.numberOf(PROPERTY.sessionExpiry, 0),
    receiveMaximum: walk.numberOf(PROPERTY.receiveMaximum, 65535),
    maximumPacketBytes: walk.numberOf(PROPERTY.maximumPacketSize, Infinity),
    topicAliasMaximum: walk.numberOf(PROPERTY.topicAliasMaximum, 0),
    wantsProblemInformation: walk.numberOf(PROPERTY.requestProblemInformation, 1) === 1,
    authenticationMethod: hasMethod ? walkedText(bytes, PROPERTY.authenticationMethod) : null,
    authenticationData: walkedData(bytes, PROPERTY.authenticationData),
  };
}

function walkedText(bytes: Uint8Array, id: number): string {
  return decoder.decode(bytes.subarray(walk.starts[id], walk.ends[id]));
}

function walkedData(bytes: Uint8Array, id: number): Uint8Array | null {
  return walk.has(id) ? copyOf(bytes, walk.starts[id] ?? 0, walk.ends[id] ?? 0) : null;
}

function decodeWill(
  bytes: Uint8Array,
  fields: Fields,
  flags: number,
  version: 4 | 5,
  end: number,
): Will | number {
  let properties: Uint8Array = EMPTY;
  let delayS = 0;
  let expiryS = -1;
  let isTextPayload = false;
  if (version === 5) {
    const refused = walk.walk(bytes, fields.at, end, IN.will);
    if (refused !== 0) return refused;
    fields.at = walk.next;
    delayS = walk.numberOf(PROPERTY.willDelay, 0);
    expiryS = walk.numberOf(PROPERTY.messageExpiry, -1);
    isTextPayload = walk.numberOf(PROPERTY.payloadFormat, 0) === 1;
    properties = withoutHopProperties(bytes, walk.start, walk.next);
  }
  fields.binary();
  const { start, end: topicEnd } = fields;
  if (!fields.isRight || !isTopicName(bytes, start, topicEnd)) return MALFORMED;
  fields.binary();
  if (!fields.isRight) return MALFORMED;
  if (isTextPayload && !isPayloadText(bytes, fields.start, fields.end)) return 0x99;
  return {
    topic: copyOf(bytes, start, topicEnd),
    payload: copyOf(bytes, fields.start, fields.end),
    properties,
    // Not 3, which flagsFault() refused.
    qos: ((flags >> 3) & 3) as 0 | 1 | 2,
    retain: (flags & 0x20) !== 0,
    delayS,
    expiryS,
  };
}

/** A payload said to be text may hold U+0000. */
function isPayloadText(bytes: Uint8Array, start: number, end: number): boolean {
  let from = start;
  for (let at = start; at <= end; at++) {
    if (at < end && bytes[at] !== 0) continue;
    if (!isText(bytes, from, at)) return false;
    from = at + 1;
  }
  return true;
}

let parsed: Packet | null = null;
const parser = mqttPacket.parser();
parser.on('packet', (packet) => (parsed = packet));
parser.on('error', () => (parsed = null));

function parseConnect(frame: Uint8Array): IConnectPacket | null {
  parsed = null;
  parser.parse(Buffer.from(frame.buffer, frame.byteOffset, frame.length));
  // Assigned by the handler above, which the compiler cannot see.
  const packet = parsed as Packet | null;
  return packet?.cmd === 'connect' ? packet : null;
}

// ---------------------------------------------------------------- SUBSCRIBE, UNSUBSCRIBE, DISCONNECT

export interface SubscribeRequest {
  readonly packetIdentifier: number;
  /** 0: none. */
  readonly identifier: number;
  /** `options` as on the wire. */
  readonly filters: readonly { readonly text: string; readonly options: number }[];
}

/** Takes a SUBSCRIBE apart; a number is the reason to refuse it with. */
export function decodeSubscribe(
  bytes: Uint8Array,
  body: number,
  end: number,
  version: 4 | 5,
): SubscribeRequest | number {
  const fields = new Fields(bytes, body, end);
  const packetIdentifier = fields.two();
  let identifier = 0;
  if (!fields.isRight) return MALFORMED;
  if (packetIdentifier === 0) return PROTOCOL_ERROR;
  if (version === 5) {
    const refused = walk.walk(bytes, fields.at, end, IN.subscribe);
    if (refused !== 0) return refused;
    identifier = walk.numberOf(PROPERTY.subscriptionIdentifier, 0);
    fields.at = walk.next;
  }
  if (fields.isAtEnd) return PROTOCOL_ERROR;
  const filters: { text: string; options: number }[] = [];
  while (!fields.isAtEnd && fields.isRight) {
    const text = fields.text();
    const options = fields.byte();
    if (!fields.isRight) return MALFORMED;
    if ((options & 3) === 3 || (options & (version === 4 ? 0xfc : 0xc0)) !== 0) return MALFORMED;
    if ((options & 0x30) === 0x30) return PROTOCOL_ERROR;
    filters.push({ text, options });
  }
  return fields.isRight ? { packetIdentifier, identifier, filters } : MALFORMED;
}

export interface UnsubscribeRequest {
  readonly packetIdentifier: number;
  readonly filters: readonly string[];
}

export function decodeUnsubscribe(
  bytes: Uint8Array,
  body: number,
  end: number,
  version: 4 | 5,
): UnsubscribeRequest | number {
  const fields = new Fields(bytes, body, end);
  const packetIdentifier = fields.two();
  if (!fields.isRight) return MALFORMED;
  if (packetIdentifier === 0) return PROTOCOL_ERROR;
  if (version === 5) {
    const refused = walk.walk(bytes, fields.at, end, IN.unsubscribe);
    if (refused !== 0) return refused;
    fields.at = walk.next;
  }
  if (fields.isAtEnd) return PROTOCOL_ERROR;
  const filters: string[] = [];
  while (!fields.isAtEnd && fields.isRight) filters.push(fields.text());
  return fields.isRight ? { packetIdentifier, filters } : MALFORMED;
}

export interface DisconnectRequest {
  readonly reason: number;
  /** -1: not given. */
  readonly sessionExpiryS: number;
}

/** Reason codes that a client may give in DISCONNECT (MQTT 5, 3.14.2.1). */
const DISCONNECT_REASONS = new Set([
  0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99,
]);

export function decodeDisconnect(
  bytes: Uint8Array,
  body: number,
  end: number,
  version: 4 | 5,
): DisconnectRequest | number {
  if (body === end) return { reason: 0, sessionExpiryS: -1 };
  if (version === 4) return MALFORMED;
  const reason = bytes[body] ?? 0;
  if (!DISCONNECT_REASONS.has(reason)) return PROTOCOL_ERROR;
  if (body + 1 === end) return { reason, sessionExpiryS: -1 };
  const refused = walk.walk(bytes, body + 1, end, IN.disconnect);
  if (refused !== 0) return refused;
  // Only a server may name another server.
  if (walk.has(PROPERTY.serverReference)) return PROTOCOL_ERROR;
  if (walk.next !== end) return MALFORMED;
  return { reason, sessionExpiryS: walk.numberOf(PROPERTY.sessionExpiry, -1) };
}

export interface AuthPacket {
  readonly reason: number;
  readonly method: string;
  readonly data: Uint8Array | null;
}

/** Reason codes that a client may give in AUTH [MQTT-3.15.2-1]: go on, and begin anew. */
const AUTH_REASONS = new Set([0x18, 0x19]);

export function decodeAuth(bytes: Uint8Array, body: number, end: number): AuthPacket | number {
  const reason = body < end ? (bytes[body] ?? 0) : 0;
  if (!AUTH_REASONS.has(reason)) return PROTOCOL_ERROR;
  if (body + 1 === end) return PROTOCOL_ERROR;
  const refused = walk.walk(bytes, body + 1, end, IN.auth);
  if (refused !== 0) return refused;
  if (walk.next !== end) return MALFORMED;
  if (!walk.has(PROPERTY.authenticationMethod)) return PROTOCOL_ERROR;
  return {
    reason,
    method: walkedText(bytes, PROPERTY.authenticationMethod),
    data: walkedData(bytes, PROPERTY.authenticationData),
  };
}

export interface Acknowledgement {
  packetIdentifier: number;
  reason: number;
  /** 0, or the reason to refuse the packet with. */
  refused: number;
}

const acknowledgement: Acknowledgement = { packetIdentifier: 0, reason: 0, refused: 0 };

/** Reason codes of PUBACK and PUBREC, and of PUBREL and PUBCOMP. */
const RECEIVED_REASONS = new Set([0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]);
const RELEASED_REASONS = new Set([0, 0x92]);

/** Reads PUBACK, PUBREC, PUBREL or PUBCOMP; the answer is valid until the next call. */
export function decodeAcknowledgement(
  bytes: Uint8Array,
  type: number,
  body: number,
  end: number,
  version: 4 | 5,
): Acknowledgement {
  const ack = acknowledgement;
  ack.packetIdentifier = ((bytes[body] ?? 0) << 8) | (bytes[body + 1] ?? 0);
  ack.reason = 0;
  ack.refused = 0;
  const length = end - body;
  if (length < 2 || (length > 2 && version === 4)) ack.refused = MALFORMED;
  else if (ack.packetIdentifier === 0) ack.refused = PROTOCOL_ERROR;
  else if (length > 2) {
    ack.reason = bytes[body + 2] ?? 0;
    const reasons = type < 6 ? RECEIVED_REASONS : RELEASED_REASONS;
    if (!reasons.has(ack.reason)) ack.refused = PROTOCOL_ERROR;
    else if (length > 3) {
      ack.refused = walk.walk(bytes, body + 3, end, IN.acknowledgement);
      if (ack.refused === 0 && walk.next !== end) ack.refused = MALFORMED;
    }
  }
  return ack;
}

// ---------------------------------------------------------------- answers

export interface ConnackProperties {
  sessionExpiryInterval?: number;
  receiveMaximum?: number;
  maximumPacketSize?: number;
  assignedClientIdentifier?: string;
  topicAliasMaximum?: number;
  serverKeepAlive?: number;
  reasonString?: string;
  authenticationMethod?: string;
  authenticationData?: Buffer;
}

export function encodeConnack(
  version: 4 | 5,
  code: number,
  sessionPresent: boolean,
  properties: ConnackProperties,
): Uint8Array {
  return version === 5
    ? mqttPacket.generate({ cmd: 'connack', reasonCode: code, sessionPresent, properties }, V5)
    : mqttPacket.generate({ cmd: 'connack', returnCode: code, sessionPresent });
}

export function encodeSuback(version: 4 | 5, packetIdentifier: number, codes: number[]): Uint8Array {
  return encodeCodes(0x90, version, packetIdentifier, codes);
}

/** 3.1.1 has no codes. */
export function encodeUnsuback(version: 4 | 5, packetIdentifier: number, codes: number[]): Uint8Array {
  return encodeCodes(0xb0, version, packetIdentifier, version === 5 ? codes : []);
}

/** By hand, since clients may come with very many subscriptions. In version 5 without properties. */
function encodeCodes(first: number, version: 4 | 5, packetIdentifier: number, codes: number[]): Uint8Array {
  const remaining = 2 + (version === 5 ? 1 : 0) + codes.length;
  const packet = new Uint8Array(1 + varintLength(remaining) + remaining);
  packet[0] = first;
  let at = writeVarint(packet, 1, remaining);
  packet[at++] = packetIdentifier >> 8;
  packet[at++] = packetIdentifier & 255;
  if (version === 5) packet[at++] = 0;
  for (const code of codes) packet[at++] = code;
  return packet;
}

/** Only version 5 has it from a server. */
export function encodeDisconnect(reason: number, text: string): Uint8Array {
  return mqttPacket.generate(
    { cmd: 'disconnect', reasonCode: reason, properties: text === '' ? {} : { reasonString: text } },
    V5,
  );
}

export function encodeAuth(reason: number, method: string, data: Uint8Array | null): Uint8Array {
  const properties = {
    authenticationMethod: method,
    ...(data === null ? undefined : { authenticationData: Buffer.from(data) }),
  };
  return mqttPacket.generate({ cmd: 'auth', reasonCode: reason, properties }, V5);
}

const V5 = { protocolVersion: 5 };

export const PINGRESP = Uint8Array.of(0xd0, 0);
