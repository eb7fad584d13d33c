/**
 * MQTT packets as bytes, written by hand from the two specifications and sharing no code with the broker: the encoder
 * lets a test build what the rules forbid, the decoder refuses whatever a server must not send.
 */
import assert from 'node:assert/strict';

/** The protocol level of CONNECT: 4 is MQTT 3.1.1. */
export type Version = 4 | 5;

export const TYPES = [
  'RESERVED', 'CONNECT', 'CONNACK', 'PUBLISH', 'PUBACK', 'PUBREC', 'PUBREL', 'PUBCOMP',
  'SUBSCRIBE', 'SUBACK', 'UNSUBSCRIBE', 'UNSUBACK', 'PINGREQ', 'PINGRESP', 'DISCONNECT', 'AUTH',
] as const; // prettier-ignore
export type Type = (typeof TYPES)[number];

export const PROPERTY = {
  payloadFormat: 0x01,
  messageExpiry: 0x02,
  contentType: 0x03,
  responseTopic: 0x08,
  correlationData: 0x09,
  subscriptionIdentifier: 0x0b,
  sessionExpiry: 0x11,
  assignedClientIdentifier: 0x12,
  serverKeepAlive: 0x13,
  authenticationMethod: 0x15,
  authenticationData: 0x16,
  requestProblemInformation: 0x17,
  willDelay: 0x18,
  requestResponseInformation: 0x19,
  responseInformation: 0x1a,
  serverReference: 0x1c,
  reasonString: 0x1f,
  receiveMaximum: 0x21,
  topicAliasMaximum: 0x22,
  topicAlias: 0x23,
  maximumQoS: 0x24,
  retainAvailable: 0x25,
  user: 0x26,
  maximumPacketSize: 0x27,
  wildcardAvailable: 0x28,
  identifiersAvailable: 0x29,
  sharedAvailable: 0x2a,
} as const;

type Shape = 'byte' | 'two' | 'four' | 'variable' | 'string' | 'binary' | 'pair';

/** Shape of each property, and the packets in which a server may send it. */
const SHAPES: Readonly<Record<number, readonly [Shape, string]>> = {
  0x01: ['byte', 'PUBLISH'],
  0x02: ['four', 'PUBLISH'],
  0x03: ['string', 'PUBLISH'],
  0x08: ['string', 'PUBLISH'],
  0x09: ['binary', 'PUBLISH'],
  0x0b: ['variable', 'PUBLISH'],
  0x11: ['four', 'CONNACK'],
  0x12: ['string', 'CONNACK'],
  0x13: ['two', 'CONNACK'],
  0x15: ['string', 'CONNACK AUTH'],
  0x16: ['binary', 'CONNACK AUTH'],
  0x17: ['byte', ''],
  0x18: ['four', ''],
  0x19: ['byte', ''],
  0x1a: ['string', 'CONNACK'],
  0x1c: ['string', 'CONNACK DISCONNECT'],
  0x1f: ['string', 'CONNACK PUBACK PUBREC PUBREL PUBCOMP SUBACK UNSUBACK DISCONNECT AUTH'],
  0x21: ['two', 'CONNACK'],
  0x22: ['two', 'CONNACK'],
  0x23: ['two', 'PUBLISH'],
  0x24: ['byte', 'CONNACK'],
  0x25: ['byte', 'CONNACK'],
  0x26: ['pair', 'CONNACK PUBLISH PUBACK PUBREC PUBREL PUBCOMP SUBACK UNSUBACK DISCONNECT AUTH'],
  0x27: ['four', 'CONNACK'],
  0x28: ['byte', 'CONNACK'],
  0x29: ['byte', 'CONNACK'],
  0x2a: ['byte', 'CONNACK'],
};

/** Reason codes a server may send, by packet (MQTT 5, tables 2-6 and those of chapter 3). */
const CODES: Readonly<Partial<Record<Type, readonly number[]>>> = {
  CONNACK: [0, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8c, 0x90, 0x95, 0x97, 0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9f], // prettier-ignore
  PUBACK: [0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99],
  PUBREC: [0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99],
  PUBREL: [0, 0x92],
  PUBCOMP: [0, 0x92],
  SUBACK: [0, 1, 2, 0x80, 0x83, 0x87, 0x8f, 0x91, 0x97, 0x9e, 0xa1, 0xa2],
  UNSUBACK: [0, 0x11, 0x80, 0x83, 0x87, 0x8f, 0x91],
  DISCONNECT: [0, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8b, 0x8d, 0x8e, 0x8f, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9e, 0x9f, 0xa0, 0xa1, 0xa2], // prettier-ignore
  AUTH: [0, 0x18],
};

/** Text or, where a test needs ill-formed UTF-8, bytes. */
export type Text = string | Uint8Array;
export type PropertyValue = number | Text | readonly [Text, Text];
export type Property = readonly [identifier: number, value: PropertyValue];

/** What a server sent; fields that a packet type does not have keep their empty value. */
export interface Packet {
  readonly type: Type;
  readonly bytes: Buffer;
  readonly dup: boolean;
  readonly qos: number;
  readonly retain: boolean;
  readonly topic: string;
  readonly payload: Buffer;
  readonly id: number;
  readonly sessionPresent: boolean;
  /** Reason or return codes; one for all but SUBACK and UNSUBACK. */
  readonly codes: readonly number[];
  readonly properties: readonly Property[];
}

export function u8(...values: number[]): Buffer {
  return Buffer.from(values);
}

export function u16(value: number): Buffer {
  return u8((value >> 8) & 255, value & 255);
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

export function variable(value: number): Buffer {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.from([...bytes, rest]);
    bytes.push((rest % 128) + 128);
  }
}

/** Length-prefixed text or data. */
export function field(value: Text): Buffer {
  const bytes = typeof value === 'string' ? Buffer.from(value) : value;
  return Buffer.concat([u16(bytes.length), bytes]);
}

/** Any packet: the first byte, and the remaining length over the given parts. */
export function frame(firstByte: number, ...parts: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(parts);
  return Buffer.concat([u8(firstByte), variable(body.length), body]);
}

export function encodeProperty([identifier, value]: Property): Buffer {
  const shape = SHAPES[identifier]?.[0] ?? 'byte';
  if (typeof value === 'number') return Buffer.concat([variable(identifier), encodeNumber(shape, value)]);
  if (typeof value === 'string' || value instanceof Uint8Array)
    return Buffer.concat([variable(identifier), field(value)]);
  return Buffer.concat([variable(identifier), field(value[0]), field(value[1])]);
}

function encodeNumber(shape: Shape, value: number): Buffer {
  if (shape === 'two') return u16(value);
  if (shape === 'four') return u32(value);
  return shape === 'variable' ? variable(value) : u8(value);
}

export function encodeProperties(properties: readonly Property[] = []): Buffer {
  const bytes = Buffer.concat(properties.map(encodeProperty));
  return Buffer.concat([variable(bytes.length), bytes]);
}

export interface Will {
  readonly topic: Text;
  readonly payload?: Text;
  readonly qos?: number;
  readonly retain?: boolean;
  readonly properties?: readonly Property[];
}

export interface ConnectOptions {
  readonly version?: Version;
  readonly clientId?: Text;
  /** Clean Start or CleanSession; true unless said otherwise. */
  readonly clean?: boolean;
  readonly keepAliveS?: number;
  readonly will?: Will;
  readonly username?: Text;
  readonly password?: Text;
  readonly properties?: readonly Property[];
  /** Replaces what would be right. */
  readonly protocolName?: Text;
  readonly level?: number;
  readonly flags?: number;
}

export function connect(options: ConnectOptions): Buffer {
  const { version = 5, will, username, password } = options;
  const flags =
    ((options.clean ?? true) ? 2 : 0) |
    (will === undefined ? 0 : 4 | ((will.qos ?? 0) << 3) | (will.retain === true ? 32 : 0)) |
    (password === undefined ? 0 : 64) |
    (username === undefined ? 0 : 128);
  const willParts =
    will === undefined
      ? []
      : [
          ...(version === 5 ? [encodeProperties(will.properties)] : []),
          field(will.topic),
          field(will.payload ?? ''),
        ];
  return frame(
    0x10,
    field(options.protocolName ?? 'MQTT'),
    u8(options.level ?? version, options.flags ?? flags),
    u16(options.keepAliveS ?? 0),
    ...(version === 5 ? [encodeProperties(options.properties)] : []),
    field(options.clientId ?? ''),
    ...willParts,
    ...(username === undefined ? [] : [field(username)]),
    ...(password === undefined ? [] : [field(password)]),
  );
}

export interface PublishOptions {
  readonly topic: Text;
  readonly payload?: Text;
  readonly qos?: number;
  readonly retain?: boolean;
  readonly dup?: boolean;
  readonly id?: number;
  readonly properties?: readonly Property[];
}

export function publish(version: Version, options: PublishOptions): Buffer {
  const { topic, payload = '', qos = 0, retain = false, dup = false, id, properties } = options;
  return frame(
    0x30 | (dup ? 8 : 0) | (qos << 1) | (retain ? 1 : 0),
    field(topic),
    ...(qos === 0 ? [] : [u16(id ?? 1)]),
    ...(version === 5 ? [encodeProperties(properties)] : []),
    typeof payload === 'string' ? Buffer.from(payload) : payload,
  );
}

/** PUBACK, PUBREC, PUBREL or PUBCOMP; without a code in its short form. */
export function acknowledge(
  type: 'PUBACK' | 'PUBREC' | 'PUBREL' | 'PUBCOMP',
  id: number,
  code?: number,
  properties?: readonly Property[],
): Buffer {
  return frame(
    (TYPES.indexOf(type) << 4) | (type === 'PUBREL' ? 2 : 0),
    u16(id),
    ...(code === undefined ? [] : [u8(code)]),
    ...(properties === undefined ? [] : [encodeProperties(properties)]),
  );
}

/** A filter with the options byte: QoS, and in MQTT 5 no local 4, retain as published 8, retain handling 16 and 32. */
export type Filter = readonly [filter: Text, options: number];

export function subscribe(
  version: Version,
  id: number,
  filters: readonly Filter[],
  properties?: readonly Property[],
): Buffer {
  const entries = filters.flatMap(([filter, options]) => [field(filter), u8(options)]);
  return frame(0x82, u16(id), ...(version === 5 ? [encodeProperties(properties)] : []), ...entries);
}

export function unsubscribe(
  version: Version,
  id: number,
  filters: readonly Text[],
  properties?: readonly Property[],
): Buffer {
  return frame(
    0xa2,
    u16(id),
    ...(version === 5 ? [encodeProperties(properties)] : []),
    ...filters.map((filter) => field(filter)),
  );
}

export const PINGREQ = u8(0xc0, 0);

export function disconnect(version: Version, code = 0, properties: readonly Property[] = []): Buffer {
  if (version === 4 || (code === 0 && properties.length === 0)) return u8(0xe0, 0);
  return frame(0xe0, u8(code), ...(properties.length === 0 ? [] : [encodeProperties(properties)]));
}

export function auth(code: number, properties: readonly Property[] = []): Buffer {
  return frame(0xf0, u8(code), encodeProperties(properties));
}

/** Length of the first packet in the bytes with its header's length, or undefined when they do not hold all of it. */
export function packetLength(bytes: Buffer): { readonly header: number; readonly total: number } | undefined {
  let length = 0;
  for (let at = 1; at <= 4; at++) {
    const byte = bytes[at];
    if (byte === undefined) return undefined;
    length += (byte & 127) * 128 ** (at - 1);
    if (byte < 128) {
      assert.ok(at === 1 || byte !== 0, 'remaining length is not in its shortest form [MQTT-1.5.5-1]');
      return bytes.length < at + 1 + length ? undefined : { header: at + 1, total: at + 1 + length };
    }
  }
  throw new assert.AssertionError({ message: 'remaining length of more than four bytes' });
}

/** Reads one packet's fields in order; every read past its end is the server's fault. */
class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  take(length: number): Buffer {
    assert.ok(length <= this.left, `packet ends ${length - this.left} bytes too early`);
    return this.#bytes.subarray(this.#at, (this.#at += length));
  }

  number(length: number): number {
    return this.take(length).readUIntBE(0, length);
  }

  variable(): number {
    let value = 0;
    for (let index = 0; index < 4; index++) {
      const byte = this.number(1);
      value += (byte & 127) * 128 ** index;
      if (byte < 128) return value;
    }
    throw new assert.AssertionError({ message: 'variable byte integer of more than four bytes' });
  }

  data(): Buffer {
    return this.take(this.number(2));
  }

  text(): string {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(this.data());
  }

  properties(type: Type): Property[] {
    const length = this.variable();
    const block = new Reader(this.take(length));
    const properties: Property[] = [];
    while (block.left > 0) properties.push(block.#property(type));
    for (const identifier of new Set(properties.map(([identifier]) => identifier))) {
      const isSingle = identifier !== PROPERTY.user && identifier !== PROPERTY.subscriptionIdentifier;
      if (isSingle)
        assert.equal(properties.filter(([other]) => other === identifier).length, 1, `property ${identifier} twice`); // prettier-ignore
    }
    return properties;
  }

  #property(type: Type): Property {
    const identifier = this.variable();
    const [shape, packets] = SHAPES[identifier] ?? assert.fail(`unknown property ${identifier}`);
    assert.ok(packets.split(' ').includes(type), `property ${identifier} has no place in ${type}`);
    switch (shape) {
      case 'byte':
        return [identifier, this.number(1)];
      case 'two':
        return [identifier, this.number(2)];
      case 'four':
        return [identifier, this.number(4)];
      case 'variable':
        return [identifier, this.variable()];
      case 'string':
        return [identifier, this.text()];
      case 'binary':
        return [identifier, this.data()];
      case 'pair':
        return [identifier, [this.text(), this.text()]];
    }
  }
}

/** One whole packet of a server; throws an assertion when a server may not send it so. */
export function decode(version: Version, bytes: Buffer, header: number): Packet {
  const type = TYPES[(bytes[0] ?? 0) >> 4] ?? 'RESERVED';
  const flags = (bytes[0] ?? 0) & 15;
  const reader = new Reader(bytes.subarray(header));
  if (type !== 'PUBLISH') assert.equal(flags, type === 'PUBREL' ? 2 : 0, `${type} with flags ${flags} [MQTT-2.1.3-1]`); // prettier-ignore
  const packet = { ...EMPTY, type, bytes, ...fields(version, type, flags, reader) };
  assert.equal(reader.left, 0, `${type} has ${reader.left} bytes too many`);
  for (const code of packet.codes) {
    const allowed = version === 5 ? CODES[type] : type === 'CONNACK' ? [0, 1, 2, 3, 4, 5] : [0, 1, 2, 0x80];
    assert.ok(allowed?.includes(code), `${type} with code ${code}`);
  }
  return packet;
}

const EMPTY = { dup: false, qos: 0, retain: false, topic: '', payload: Buffer.alloc(0), id: 0, sessionPresent: false, codes: [], properties: [] } satisfies Partial<Packet>; // prettier-ignore

function fields(version: Version, type: Type, flags: number, reader: Reader): Partial<Packet> {
  switch (type) {
    case 'CONNACK': {
      const acknowledgeFlags = reader.number(1);
      assert.ok(acknowledgeFlags < 2, 'reserved bits in CONNACK flags [MQTT-3.2.2-1]');
      const codes = [reader.number(1)];
      return { sessionPresent: acknowledgeFlags === 1, codes, properties: version === 5 ? reader.properties(type) : [] }; // prettier-ignore
    }
    case 'PUBLISH':
      return publication(version, flags, reader);
    case 'PUBACK':
    case 'PUBREC':
    case 'PUBREL':
    case 'PUBCOMP': {
      const id = reader.number(2);
      if (version === 4) return { id };
      const codes = [reader.left > 0 ? reader.number(1) : 0];
      return { id, codes, properties: reader.left > 0 ? reader.properties(type) : [] };
    }
    case 'SUBACK':
    case 'UNSUBACK': {
      const id = reader.number(2);
      const properties = version === 5 ? reader.properties(type) : [];
      return { id, properties, codes: [...reader.take(reader.left)] };
    }
    case 'PINGRESP':
      return {};
    case 'DISCONNECT':
    case 'AUTH': {
      assert.equal(version, 5, `${type} from a server of MQTT 3.1.1`);
      const codes = [reader.left > 0 ? reader.number(1) : 0];
      return { codes, properties: reader.left > 0 ? reader.properties(type) : [] };
    }
    case 'RESERVED':
    case 'CONNECT':
    case 'SUBSCRIBE':
    case 'UNSUBSCRIBE':
    case 'PINGREQ':
      return assert.fail(`${type} from a server`);
  }
}

function publication(version: Version, flags: number, reader: Reader): Partial<Packet> {
  const qos = (flags >> 1) & 3;
  assert.notEqual(qos, 3, 'PUBLISH with QoS 3 [MQTT-3.3.1-4]');
  const dup = flags >= 8;
  assert.ok(!dup || qos > 0, 'DUP with QoS 0 [MQTT-3.3.1-2]');
  const topic = reader.text();
  assert.doesNotMatch(topic, /[+#\0]/, 'topic name with a wildcard or U+0000 [MQTT-3.3.2-2]');
  const id = qos > 0 ? reader.number(2) : 0;
  assert.ok(qos === 0 || id > 0, 'packet identifier 0');
  const properties = version === 5 ? reader.properties('PUBLISH') : [];
  return { dup, qos, retain: (flags & 1) === 1, topic, id, properties, payload: reader.take(reader.left) };
}

/** Value of a property that may be there once. */
export function propertyOf(packet: Packet, identifier: number): PropertyValue | undefined {
  return packet.properties.find(([other]) => other === identifier)?.[1];
}

export function propertiesOf(packet: Packet, identifier: number): PropertyValue[] {
  return packet.properties.filter(([other]) => other === identifier).map(([, value]) => value);
}
