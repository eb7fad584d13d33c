/** One message that an uplink owes its far side, and its bytes in memory and in the journal. Does no input or output. */

/** What is queued. */
export interface Queued {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
  /** MQTT 5 properties to forward, as bytes in their order, without length; empty: none. */
  readonly properties: Uint8Array;
  /** When nobody wants it any more, as wall time of the moment it is queued; 0: never. */
  readonly expiresAtMs: number;
}

export interface Entry extends Queued {
  /** Place in the queue; grows by one with every entry. */
  readonly sequence: number;
  /** When it was queued, ms since 1970. */
  readonly timeMs: number;
}

/** f64 time, f64 expiry, u32 payload length, u32 properties length, u16 topic length, u8 flags, u8 zero. */
const HEADER_BYTES = 28;

/** The fields of an entry's header at `at`. */
export const field = {
  timeMs: (bytes: Buffer, at: number): number => bytes.readDoubleLE(at),
  expiresAtMs: (bytes: Buffer, at: number): number => bytes.readDoubleLE(at + 8),
  payloadLength: (bytes: Buffer, at: number): number => bytes.readUInt32LE(at + 16),
  propertiesLength: (bytes: Buffer, at: number): number => bytes.readUInt32LE(at + 20),
  topicLength: (bytes: Buffer, at: number): number => bytes.readUInt16LE(at + 24),
  flags: (bytes: Buffer, at: number): number => bytes.readUInt8(at + 26),
};

/** Where topic, payload and properties of the entry at `at` begin, and where it ends. */
export function placesIn(bytes: Buffer, at: number) {
  const topic = at + HEADER_BYTES;
  const payload = topic + field.topicLength(bytes, at);
  const properties = payload + field.payloadLength(bytes, at);
  return { topic, payload, properties, end: properties + field.propertiesLength(bytes, at) };
}

/** Null for flags that nobody writes. */
export function qosOf(flags: number): 0 | 1 | 2 | null {
  const qos = flags & 3;
  return qos === 3 ? null : (qos as 0 | 1 | 2);
}

export function isRetained(flags: number): boolean {
  return (flags & 4) !== 0;
}

export function entryBytes({ topic, payload, properties }: Queued): number {
  return HEADER_BYTES + Buffer.byteLength(topic) + payload.length + properties.length;
}

/** Writes an entry without its sequence at `at`; answers where it ends. */
export function writeEntry(into: Buffer, at: number, message: Queued, timeMs: number): number {
  const { topic, payload, properties, qos, retain, expiresAtMs } = message;
  const topicLength = into.write(topic, at + HEADER_BYTES, 'utf8');
  into.writeDoubleLE(timeMs, at);
  into.writeDoubleLE(expiresAtMs, at + 8);
  into.writeUInt32LE(payload.length, at + 16);
  into.writeUInt32LE(properties.length, at + 20);
  into.writeUInt16LE(topicLength, at + 24);
  into.writeUInt8(qos | (retain ? 4 : 0), at + 26);
  into.writeUInt8(0, at + 27);
  const places = placesIn(into, at);
  into.set(payload, places.payload);
  into.set(properties, places.properties);
  return places.end;
}

/** Whether bytes[at..end) hold an entry. */
export function isEntry(bytes: Buffer, at: number, end: number): boolean {
  return at + HEADER_BYTES <= end && placesIn(bytes, at).end <= end && qosOf(field.flags(bytes, at)) !== null;
}

/** The entry at `at`, which isEntry() has seen; what it holds is copied. */
export function readEntry(bytes: Buffer, at: number, sequence: number): Entry {
  const places = placesIn(bytes, at);
  const flags = field.flags(bytes, at);
  return {
    sequence,
    topic: bytes.toString('utf8', places.topic, places.payload),
    payload: Buffer.from(bytes.subarray(places.payload, places.properties)),
    qos: qosOf(flags) ?? 0,
    retain: isRetained(flags),
    timeMs: field.timeMs(bytes, at),
    properties: Buffer.from(bytes.subarray(places.properties, places.end)),
    expiresAtMs: field.expiresAtMs(bytes, at),
  };
}
