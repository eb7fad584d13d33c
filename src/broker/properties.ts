/**
 * The MQTT 5 properties (2.2.2): one table of what exists, and the strict walk over a property block by that table.
 * The walk copies nothing; it notes where things are. Runs in a browser too.
 */
import { isText, isTopicName } from './topic.js';

export const MALFORMED = 0x81;
export const PROTOCOL_ERROR = 0x82;

type Kind = 'byte' | 'two' | 'four' | 'varint' | 'text' | 'binary' | 'pair';

/** Bits of the packets a property may be in; WILL stands for the will properties inside CONNECT. */
export const IN = {
  connect: 1,
  connack: 2,
  publish: 4,
  acknowledgement: 8,
  subscribe: 16,
  suback: 32,
  unsubscribe: 64,
  unsuback: 128,
  disconnect: 256,
  auth: 512,
  will: 1024,
} as const;

interface Definition {
  readonly kind: Kind;
  readonly packets: number;
  /** Highest value allowed, of numbers. */
  readonly max?: number;
  /** 0 is a protocol error. */
  readonly isPositive?: boolean;
}

const REASONS = IN.connack | IN.acknowledgement | IN.suback | IN.unsuback | IN.disconnect | IN.auth;
const ALL = (1 << 11) - 1;
const MESSAGE = IN.publish | IN.will;

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
  maximumQos: 0x24,
  retainAvailable: 0x25,
  userProperty: 0x26,
  maximumPacketSize: 0x27,
  wildcardAvailable: 0x28,
  subscriptionIdentifiersAvailable: 0x29,
  sharedAvailable: 0x2a,
} as const;

const TABLE: readonly (Definition | undefined)[] = tableOf([
  [PROPERTY.payloadFormat, { kind: 'byte', packets: MESSAGE, max: 1 }],
  [PROPERTY.messageExpiry, { kind: 'four', packets: MESSAGE }],
  [PROPERTY.contentType, { kind: 'text', packets: MESSAGE }],
  [PROPERTY.responseTopic, { kind: 'text', packets: MESSAGE }],
  [PROPERTY.correlationData, { kind: 'binary', packets: MESSAGE }],
  [PROPERTY.subscriptionIdentifier, { kind: 'varint', packets: IN.publish | IN.subscribe, isPositive: true }],
  [PROPERTY.sessionExpiry, { kind: 'four', packets: IN.connect | IN.connack | IN.disconnect }],
  [PROPERTY.assignedClientIdentifier, { kind: 'text', packets: IN.connack }],
  [PROPERTY.serverKeepAlive, { kind: 'two', packets: IN.connack }],
  [PROPERTY.authenticationMethod, { kind: 'text', packets: IN.connect | IN.connack | IN.auth }],
  [PROPERTY.authenticationData, { kind: 'binary', packets: IN.connect | IN.connack | IN.auth }],
  [PROPERTY.requestProblemInformation, { kind: 'byte', packets: IN.connect, max: 1 }],
  [PROPERTY.willDelay, { kind: 'four', packets: IN.will }],
  [PROPERTY.requestResponseInformation, { kind: 'byte', packets: IN.connect, max: 1 }],
  [PROPERTY.responseInformation, { kind: 'text', packets: IN.connack }],
  [PROPERTY.serverReference, { kind: 'text', packets: IN.connack | IN.disconnect }],
  [PROPERTY.reasonString, { kind: 'text', packets: REASONS }],
  [PROPERTY.receiveMaximum, { kind: 'two', packets: IN.connect | IN.connack, isPositive: true }],
  [PROPERTY.topicAliasMaximum, { kind: 'two', packets: IN.connect | IN.connack }],
  [PROPERTY.topicAlias, { kind: 'two', packets: IN.publish }],
  [PROPERTY.maximumQos, { kind: 'byte', packets: IN.connack, max: 1 }],
  [PROPERTY.retainAvailable, { kind: 'byte', packets: IN.connack, max: 1 }],
  [PROPERTY.userProperty, { kind: 'pair', packets: ALL }],
  [PROPERTY.maximumPacketSize, { kind: 'four', packets: IN.connect | IN.connack, isPositive: true }],
  [PROPERTY.wildcardAvailable, { kind: 'byte', packets: IN.connack, max: 1 }],
  [PROPERTY.subscriptionIdentifiersAvailable, { kind: 'byte', packets: IN.connack, max: 1 }],
  [PROPERTY.sharedAvailable, { kind: 'byte', packets: IN.connack, max: 1 }],
]);

function tableOf(rows: [number, Definition][]): (Definition | undefined)[] {
  const table: (Definition | undefined)[] = Array.from({ length: 0x2b }, () => undefined);
  for (const [id, definition] of rows) table[id] = definition;
  return table;
}

/** A variable byte integer, read. One object serves every call of readVarint. */
export interface Varint {
  value: number;
  /** Where the byte after it is; 0 when it is cut short, too long or not minimal [MQTT-1.5.5-1]. */
  next: number;
}

const varint: Varint = { value: 0, next: 0 };

/** Reads a variable byte integer; the answer is valid until the next call. */
export function readVarint(bytes: Uint8Array, start: number, end: number): Varint {
  let value = 0;
  varint.next = 0;
  for (let at = start, scale = 1; at < end && at < start + 4; at++, scale *= 128) {
    const byte = bytes[at] ?? 0;
    value += (byte & 127) * scale;
    if (byte < 128) {
      if (byte !== 0 || at === start) {
        varint.value = value;
        varint.next = at + 1;
      }
      return varint;
    }
  }
  return varint;
}

/**
 * Walks the property blocks of frames. After walk() answered 0 the values of the last walk are here: numbers in
 * `values` (undefined slots are -1), the place of texts and binaries in `starts` and `ends`.
 */
export class PropertyWalk {
  readonly values = new Float64Array(0x2b);
  readonly starts = new Int32Array(0x2b);
  readonly ends = new Int32Array(0x2b);
  /** First byte after the block. */
  next = 0;
  /** First byte of the properties themselves. */
  start = 0;
  /** Bit 0: some property besides user properties was there; the id of each single one is in seen. */
  count = 0;
  #seenLow = 0;
  #seenHigh = 0;

  has(id: number): boolean {
    return ((id < 32 ? this.#seenLow >>> id : this.#seenHigh >>> (id - 32)) & 1) === 1;
  }

  /** The number of a property, or `otherwise`. */
  numberOf(id: number, otherwise: number): number {
    return this.has(id) ? (this.values[id] ?? otherwise) : otherwise;
  }

  /** Where a block of this packet at `start` is right, 0; otherwise the reason code to refuse it with. */
  walk(bytes: Uint8Array, start: number, end: number, packet: number): number {
    this.#seenLow = 0;
    this.#seenHigh = 0;
    this.count = 0;
    const length = readVarint(bytes, start, end);
    if (length.next === 0 || length.next + length.value > end) return MALFORMED;
    this.start = length.next;
    this.next = length.next + length.value;
    let at = this.start;
    while (at < this.next) {
      // Identifiers are variable byte integers; all that exist take one byte.
      const id = bytes[at] ?? 0;
      const definition = TABLE[id];
      if (definition === undefined) return MALFORMED;
      if ((definition.packets & packet) === 0) return MALFORMED;
      if (definition.kind !== 'pair' && !this.#mark(id)) {
        // Only PUBLISH towards a client may hold it several times.
        if (id !== PROPERTY.subscriptionIdentifier || packet !== IN.publish) return PROTOCOL_ERROR;
      }
      this.count++;
      at = this.#value(bytes, at + 1, id, definition);
      if (at < 0) return -at;
    }
    return 0;
  }

  /** Notes a property that may be there once; false when it was there already. */
  #mark(id: number): boolean {
    const bit = 1 << (id & 31);
    if (id < 32) {
      if ((this.#seenLow & bit) !== 0) return false;
      this.#seenLow |= bit;
    } else {
      if ((this.#seenHigh & bit) !== 0) return false;
      this.#seenHigh |= bit;
    }
    return true;
  }

  /** Reads one value at `at`; answers where the next property begins, or the reason code with a minus. */
  #value(bytes: Uint8Array, at: number, id: number, definition: Definition): number {
    switch (definition.kind) {
      case 'byte':
        return this.#number(at, 1, id, definition, bytes[at] ?? 0);
      case 'two':
        return this.#number(at, 2, id, definition, ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0));
      case 'four':
        return this.#number(at, 4, id, definition, readUint32(bytes, at));
      case 'varint': {
        const number = readVarint(bytes, at, this.next);
        if (number.next === 0) return -MALFORMED;
        return this.#number(at, number.next - at, id, definition, number.value);
      }
      case 'text':
        return this.#string(bytes, at, id, true);
      case 'binary':
        return this.#string(bytes, at, id, false);
      case 'pair': {
        const value = this.#string(bytes, at, id, true);
        return value < 0 ? value : this.#string(bytes, value, id, true);
      }
    }
  }

  #number(at: number, length: number, id: number, definition: Definition, value: number): number {
    if (at + length > this.next) return -MALFORMED;
    if (definition.max !== undefined && value > definition.max) return -PROTOCOL_ERROR;
    if (definition.isPositive === true && value === 0) return -PROTOCOL_ERROR;
    this.values[id] = value;
    return at + length;
  }

  #string(bytes: Uint8Array, at: number, id: number, isUtf8: boolean): number {
    if (at + 2 > this.next) return -MALFORMED;
    const start = at + 2;
    const end = start + (((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0));
    if (end > this.next) return -MALFORMED;
    if (isUtf8 && !isText(bytes, start, end)) return -MALFORMED;
    // A response topic is a topic name [MQTT-3.3.2-14].
    if (id === PROPERTY.responseTopic && !isTopicName(bytes, start, end)) return -PROTOCOL_ERROR;
    this.starts[id] = start;
    this.ends[id] = end;
    return end;
  }
}

export function readUint32(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at] ?? 0) * 0x1000000 +
    (((bytes[at + 1] ?? 0) << 16) | ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0))
  );
}

const NONE = new Uint8Array(0);

/**
 * A copy of the properties in bytes[start..end) without those that concern one hop or are written anew at each
 * delivery: topic alias, message expiry, will delay. The block was walked before.
 */
export function withoutHopProperties(bytes: Uint8Array, start: number, end: number): Uint8Array {
  const copy = new Uint8Array(end - start);
  let length = 0;
  for (let at = start; at < end;) {
    const id = bytes[at] ?? 0;
    const next = at + 1 + valueLength(bytes, at + 1, end, TABLE[id]?.kind ?? 'byte');
    const isHop = id === PROPERTY.topicAlias || id === PROPERTY.messageExpiry || id === PROPERTY.willDelay;
    if (!isHop) {
      copy.set(bytes.subarray(at, next), length);
      length += next - at;
    }
    at = next;
  }
  return length === 0 ? NONE : copy.subarray(0, length);
}

function valueLength(bytes: Uint8Array, at: number, end: number, kind: Kind): number {
  switch (kind) {
    case 'byte':
      return 1;
    case 'two':
      return 2;
    case 'four':
      return 4;
    case 'varint':
      return readVarint(bytes, at, end).next - at;
    case 'text':
    case 'binary':
      return 2 + (((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0));
    case 'pair': {
      const name = valueLength(bytes, at, end, 'text');
      return name + valueLength(bytes, at + name, end, 'text');
    }
  }
}
