/** One message that an uplink owes its far side, and its bytes in the journal. Does no input or output. */

export interface Entry {
  /** Place in the queue; grows by one with every entry. */
  readonly sequence: number;
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
  /** When it was queued, ms since 1970. */
  readonly timeMs: number;
  /** MQTT 5 properties to forward, as bytes in their order, without length; empty: none. */
  readonly properties: Uint8Array;
  /** When nobody wants it any more, ms since 1970; 0: never. */
  readonly expiresAtMs: number;
}

/** f64 time, f64 expiry, u8 flags, u8 zero, u16 topic length, u32 payload length, u32 properties length. */
const HEADER_BYTES = 28;

export function flagsOf({ qos, retain }: Entry): number {
  return qos | (retain ? 4 : 0);
}

/** Null for flags that nobody writes. */
export function qosOf(flags: number): 0 | 1 | 2 | null {
  const qos = flags & 3;
  return qos === 3 ? null : (qos as 0 | 1 | 2);
}

export function entryBytes(entry: Entry): number {
  return HEADER_BYTES + Buffer.byteLength(entry.topic) + entry.payload.length + entry.properties.length;
}

/** Writes an entry without its sequence at `at`; answers where it ends. */
export function writeEntry(into: Buffer, at: number, entry: Entry): number {
  const topicAt = at + HEADER_BYTES;
  const payloadAt = topicAt + into.write(entry.topic, topicAt, 'utf8');
  const propertiesAt = payloadAt + entry.payload.length;
  into.writeDoubleLE(entry.timeMs, at);
  into.writeDoubleLE(entry.expiresAtMs, at + 8);
  into.writeUInt8(flagsOf(entry), at + 16);
  into.writeUInt8(0, at + 17);
  into.writeUInt16LE(payloadAt - topicAt, at + 18);
  into.writeUInt32LE(entry.payload.length, at + 20);
  into.writeUInt32LE(entry.properties.length, at + 24);
  into.set(entry.payload, payloadAt);
  into.set(entry.properties, propertiesAt);
  return propertiesAt + entry.properties.length;
}

/** Reads the entry in bytes[at..end); payload and properties are copies. Null when the bytes do not hold one. */
export function readEntry(bytes: Buffer, at: number, end: number, sequence: number): Entry | null {
  const topicAt = at + HEADER_BYTES;
  if (topicAt > end) return null;
  const payloadAt = topicAt + bytes.readUInt16LE(at + 18);
  const propertiesAt = payloadAt + bytes.readUInt32LE(at + 20);
  const flags = bytes.readUInt8(at + 16);
  const qos = qosOf(flags);
  if (propertiesAt + bytes.readUInt32LE(at + 24) > end || qos === null) return null;
  return {
    sequence,
    topic: bytes.toString('utf8', topicAt, payloadAt),
    payload: copyOf(bytes, payloadAt, propertiesAt),
    qos,
    retain: (flags & 4) !== 0,
    timeMs: bytes.readDoubleLE(at),
    properties: copyOf(bytes, propertiesAt, propertiesAt + bytes.readUInt32LE(at + 24)),
    expiresAtMs: bytes.readDoubleLE(at + 8),
  };
}

const NOTHING = new Uint8Array(0);

function copyOf(bytes: Buffer, start: number, end: number): Uint8Array {
  return start === end ? NOTHING : Uint8Array.prototype.slice.call(bytes, start, end);
}
