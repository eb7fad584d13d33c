/**
 * The bytes of each StoreRecord, and of the messages read back. Numbers are varints, since most are small. Decoding
 * trusts the frame's checksum but checks every length all the same: a record that does not fit decodes to null.
 */
import type { PublishedMessage, Receiver, StoredMessage, StoreRecord } from './store.js';

/** On-disk numbers of the record types; never reused. */
export const RECORD_TYPE = {
  SessionOpened: 1,
  SessionChanged: 2,
  SessionEnded: 3,
  Subscribed: 4,
  Unsubscribed: 5,
  Published: 6,
  RetainedCleared: 7,
  Released: 8,
  Sent: 9,
  Received: 10,
  Completed: 11,
  Dropped: 12,
  WillPending: 13,
  WillCleared: 14,
  /** A Published copied to a newer segment, so that an old one can go; it changes nothing but the place. */
  Moved: 15,
  /** See NO_SESSION. */
  ClockRead: 2,
} as const;

export type PublishedRecord = Extract<StoreRecord, { type: 'Published' }>;

/** A Published as it is found on disk. */
export interface Publication extends PublishedRecord {
  /** When it was stored, for retained messages. */
  storedAtMs: number;
}

/** A ClockRead is written as a change of this session, which there never is: versions that do not know it pass it over. */
const NO_SESSION = 0;
const NO_IDENTIFIERS: readonly number[] = [];
const VARINT_MAX = 8;
/** Up to so many bytes a loop copies faster than the engine does, which needs a view of them. */
const LOOP_BYTES = 96;
const FLAG_RETAINED = 4;
const FLAG_FROM = 8;
const FLAG_PUBLISHER = 16;
const FLAG_EXPIRES = 32;
/** Behind the receivers comes the share of each. */
const FLAG_SHARED = 64;

/** Writes varints, bytes and texts into a buffer that is large enough. */
export class Writer {
  bytes: Buffer = Buffer.alloc(0);
  at = 0;
  /** The text written last: the messages of a client come in runs. */
  #text = '';
  #textBytes = Buffer.alloc(0);
  #textLength = 0;

  number(value: number): void {
    this.at = putNumber(this.bytes, this.at, value);
  }

  blob(value: Uint8Array): void {
    this.at = putBlob(this.bytes, this.at, value, 0, value.length);
  }

  text(value: string): void {
    if (value !== this.#text) this.#encode(value);
    this.at = putBlob(this.bytes, this.at, this.#textBytes, 0, this.#textLength);
  }

  #encode(text: string): void {
    if (this.#textBytes.length < 3 * text.length) this.#textBytes = Buffer.allocUnsafeSlow(3 * text.length);
    this.#textLength = this.#textBytes.write(text, 'utf8');
    this.#text = text;
  }
}

/** Writes a varint at `at`; answers where it ends. */
function putNumber(bytes: Buffer, at: number, value: number): number {
  if (!(value >= 0 && value <= Number.MAX_SAFE_INTEGER)) value = value > 0 ? Number.MAX_SAFE_INTEGER : 0;
  while (value >= 128) {
    bytes[at++] = (value % 128) | 128;
    value = value < 2 ** 31 ? value >>> 7 : Math.floor(value / 128);
  }
  bytes[at] = value;
  return at + 1;
}

/** Writes from[start..end) and, before it, its length; answers where it ends. */
function putBlob(bytes: Buffer, at: number, from: Uint8Array, start: number, end: number): number {
  const length = end - start;
  at = putNumber(bytes, at, length);
  if (length > LOOP_BYTES) bytes.set(new Uint8Array(from.buffer, from.byteOffset + start, length), at);
  else for (let i = 0; i < length; i++) bytes[at + i] = from[start + i] as number; // before its end
  return at + length;
}

/** Reads what Writer wrote; `isSound` turns false, for good, when something does not fit. */
export class Reader {
  readonly bytes: Buffer;
  at: number;
  readonly end: number;
  isSound = true;
  skipped = 0;

  constructor(bytes: Buffer, start: number, end: number) {
    this.bytes = bytes;
    this.at = start;
    this.end = end;
  }

  number(): number {
    let value = 0;
    let scale = 1;
    for (let index = 0; index < VARINT_MAX; index++) {
      if (this.at >= this.end) return this.#fail();
      const byte = this.bytes[this.at++] as number; // before end
      value += (byte & 127) * scale;
      if (byte < 128) return value;
      scale *= 128;
    }
    return this.#fail();
  }

  blob(): Buffer {
    const length = this.number();
    if (length > this.end - this.at) {
      this.#fail();
      return Buffer.alloc(0);
    }
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  /** Passes a blob over: where it ends; `skipped` is its length. */
  skip(): number {
    const length = this.number();
    if (length > this.end - this.at) this.#fail();
    else this.at += length;
    this.skipped = this.isSound ? length : 0;
    return this.at;
  }

  text(): string {
    const bytes = this.blob();
    return bytes.toString('utf8');
  }

  #fail(): number {
    this.isSound = false;
    this.at = this.end;
    return 0;
  }
}

/** A bound of the encoded size. */
export function payloadMaxOf(record: StoreRecord): number {
  switch (record.type) {
    case 'SessionOpened':
      return 64 + 3 * (record.clientId.length + record.owner.length);
    case 'Subscribed':
    case 'Unsubscribed':
      return 64 + 3 * record.filter.length;
    case 'RetainedCleared':
      return 64 + record.topic.length;
    case 'Published': {
      let receivers = 0;
      for (const { identifiers, share = '' } of record.receivers)
        receivers += 28 + 8 * identifiers.length + 3 * share.length;
      return 64 + messageMaxOf(record.message) + receivers;
    }
    case 'WillPending':
      return 64 + messageMaxOf(record.message);
    case 'SessionChanged':
    case 'SessionEnded':
    case 'Released':
    case 'Sent':
    case 'Received':
    case 'Completed':
    case 'Dropped':
    case 'WillCleared':
    case 'ClockRead':
      return 64;
  }
}

export function messageMaxOf(message: PublishedMessage): number {
  return 64 + sizeOf(message) + 3 * message.publisher.length;
}

/** What a message weighs in queue limits. */
export function sizeOf({ topic, payload, payloadStart, payloadEnd, properties }: PublishedMessage): number {
  return topic.length + (payloadEnd ?? payload.length) - (payloadStart ?? 0) + properties.length;
}

/** Writes a record's payload. `qos` is that of the message a Sent is about. */
export function encodeRecord(writer: Writer, record: OtherRecord, qos: number): void {
  switch (record.type) {
    case 'RetainedCleared':
      return writer.blob(record.topic);
    case 'SessionOpened':
      writer.number(record.session);
      writer.number(record.protocolVersion);
      writer.number(record.expiryS);
      writer.text(record.clientId);
      return writer.text(record.owner);
    case 'SessionChanged':
      writer.number(record.session);
      writer.number(record.expiryS);
      return writer.number(record.disconnectedAtMs);
    case 'SessionEnded':
    case 'WillCleared':
      return writer.number(record.session);
    case 'Subscribed':
      writer.number(record.session);
      writer.number(record.options);
      writer.number(record.identifier);
      return writer.text(record.filter);
    case 'Unsubscribed':
      writer.number(record.session);
      return writer.text(record.filter);
    case 'Released':
    case 'Received':
    case 'Completed':
      writer.number(record.session);
      return writer.number(record.packetIdentifier);
    case 'Sent':
      writer.number(record.session);
      writer.number(record.position);
      writer.number(record.packetIdentifier);
      return writer.number(qos);
    case 'Dropped':
      writer.number(record.session);
      return writer.number(record.position);
    case 'WillPending':
      writer.number(record.session);
      writer.number(record.dueAtMs);
      writer.number(record.delayS * 2 + (record.retain ? 1 : 0));
      return encodeMessage(writer, record.message);
    case 'ClockRead':
      writer.number(NO_SESSION);
      writer.number(record.nowMs);
      return writer.number(record.wallMs);
  }
}

/** `nowMs` is the time a retained message is stored. */
export function encodePublished(writer: Writer, record: PublishedRecord, nowMs: number): void {
  const { receivers, from } = record;
  const isShared = receivers.some(({ share }) => share !== undefined);
  const flags =
    (record.retained ? FLAG_RETAINED : 0) +
    (from !== undefined ? FLAG_FROM : 0) +
    (isShared ? FLAG_SHARED : 0);
  writer.number(record.position);
  encodeMessage(writer, record.message, flags);
  const { bytes } = writer;
  let { at } = writer;
  if (record.retained) at = putNumber(bytes, at, nowMs);
  if (from !== undefined) {
    at = putNumber(bytes, at, from.session);
    at = putNumber(bytes, at, from.packetIdentifier);
  }
  at = putNumber(bytes, at, receivers.length);
  for (const { session, qos, retain, identifiers } of receivers) {
    at = putNumber(bytes, at, session);
    at = putNumber(bytes, at, qos + (retain ? 4 : 0) + identifiers.length * 8);
    for (const identifier of identifiers) at = putNumber(bytes, at, identifier);
  }
  writer.at = at;
  if (isShared) for (const { share = '' } of receivers) writer.text(share);
}

/** `more`: flags of what follows the message. */
export function encodeMessage(writer: Writer, message: PublishedMessage, more = 0): void {
  const { topic, payload, payloadStart, payloadEnd, properties, publisher, expiresAtMs } = message;
  const flags =
    message.qos + more + (publisher !== '' ? FLAG_PUBLISHER : 0) + (expiresAtMs !== 0 ? FLAG_EXPIRES : 0);
  const { bytes } = writer;
  let at = putNumber(bytes, writer.at, flags);
  at = putBlob(bytes, at, topic, 0, topic.length);
  at = putBlob(bytes, at, payload, payloadStart ?? 0, payloadEnd ?? payload.length);
  at = putBlob(bytes, at, properties, 0, properties.length);
  writer.at = at;
  if (publisher !== '') writer.text(publisher);
  if (expiresAtMs !== 0) writer.number(expiresAtMs);
}

export function decodeMessage(reader: Reader): { message: PublishedMessage; flags: number } {
  const flags = reader.number();
  const topic = reader.blob();
  const payload = reader.blob();
  const properties = reader.blob();
  const publisher = flags & FLAG_PUBLISHER ? reader.text() : '';
  const expiresAtMs = flags & FLAG_EXPIRES ? reader.number() : 0;
  return { message: { topic, payload, properties, qos: qosOf(flags), expiresAtMs, publisher }, flags };
}

/** The message's bytes are views into the given buffer. */
export function decodePublished(bytes: Buffer, start: number, end: number): Publication | null {
  const reader = new Reader(bytes, start, end);
  const position = reader.number();
  const { message, flags } = decodeMessage(reader);
  const storedAtMs = flags & FLAG_RETAINED ? reader.number() : 0;
  const from =
    flags & FLAG_FROM ? { session: reader.number(), packetIdentifier: reader.number() } : undefined;
  const count = reader.number();
  const receivers: Receiver[] = [];
  for (let index = 0; index < count && reader.isSound; index++) receivers.push(decodeReceiver(reader));
  if (flags & FLAG_SHARED)
    for (const receiver of receivers) {
      const share = reader.text();
      if (share !== '') receiver.share = share;
    }
  if (!reader.isSound) return null;
  return {
    type: 'Published',
    position,
    message,
    receivers,
    retained: (flags & FLAG_RETAINED) !== 0,
    storedAtMs,
    ...(from === undefined ? {} : { from }),
  };
}

/** What a Published says to one of its receivers; null: nothing. Its bytes stay where they are. */
export function decodeStored(
  bytes: Buffer,
  start: number,
  end: number,
  session: number,
): StoredMessage | null {
  const reader = new Reader(bytes, start, end);
  const position = reader.number();
  const flags = reader.number();
  const topicEnd = reader.skip();
  const topicStart = topicEnd - reader.skipped;
  const payloadEnd = reader.skip();
  const payloadStart = payloadEnd - reader.skipped;
  const propertiesEnd = reader.skip();
  const propertiesStart = propertiesEnd - reader.skipped;
  if (flags & FLAG_PUBLISHER) reader.skip();
  const expiresAtMs = flags & FLAG_EXPIRES ? reader.number() : 0;
  if (flags & FLAG_RETAINED) reader.number();
  if (flags & FLAG_FROM) {
    reader.number();
    reader.number();
  }
  const count = reader.number();
  for (let index = 0; index < count && reader.isSound; index++) {
    const receiver = decodeReceiver(reader);
    if (receiver.session !== session || !reader.isSound) continue;
    const { qos, retain, identifiers } = receiver;
    return {
      position,
      topic: bytes,
      topicStart,
      topicEnd,
      payload: bytes,
      payloadStart,
      payloadEnd,
      properties: bytes,
      propertiesStart,
      propertiesEnd,
      expiresAtMs,
      qos,
      retain,
      identifiers: identifiers.length === 0 ? NO_IDENTIFIERS : identifiers,
      share: flags & FLAG_SHARED ? decodeShare(reader, index, count) : '',
    };
  }
  return null;
}

/** The share of one of so many receivers; the reader stands behind what else is said of it. */
function decodeShare(reader: Reader, index: number, count: number): string {
  for (let left = count - index - 1; left > 0 && reader.isSound; left--) decodeReceiver(reader);
  for (let left = index; left > 0 && reader.isSound; left--) reader.skip();
  return reader.text();
}

function decodeReceiver(reader: Reader): Receiver {
  const session = reader.number();
  const options = reader.number();
  const identifiers: number[] = [];
  for (let left = Math.floor(options / 8); left > 0 && reader.isSound; left--) {
    identifiers.push(reader.number());
  }
  return { session, qos: qosOf(options), retain: (options & 4) !== 0, identifiers };
}

export type OtherRecord = Exclude<StoreRecord, { type: 'Published' }>;

/** Any record but Published and Moved; `qos` is set for Sent. Null: not one of ours, or it does not fit. */
export function decodeRecord(
  type: number,
  bytes: Buffer,
  start: number,
  end: number,
): { record: OtherRecord; qos: 0 | 1 | 2 } | null {
  const reader = new Reader(bytes, start, end);
  const record = decodeOther(type, reader);
  const qos = type === RECORD_TYPE.Sent ? qosOf(reader.number()) : 0;
  return record === null || !reader.isSound ? null : { record, qos };
}

function decodeOther(type: number, reader: Reader): OtherRecord | null {
  if (type === RECORD_TYPE.RetainedCleared) return { type: 'RetainedCleared', topic: reader.blob() };
  const session = reader.number();
  switch (type) {
    case RECORD_TYPE.SessionOpened: {
      const protocolVersion = reader.number() === 5 ? 5 : 4;
      const expiryS = reader.number();
      return {
        type: 'SessionOpened',
        session,
        protocolVersion,
        expiryS,
        clientId: reader.text(),
        owner: reader.text(),
      };
    }
    case RECORD_TYPE.SessionChanged:
      if (session === NO_SESSION)
        return { type: 'ClockRead', nowMs: reader.number(), wallMs: reader.number() };
      return { type: 'SessionChanged', session, expiryS: reader.number(), disconnectedAtMs: reader.number() };
    case RECORD_TYPE.SessionEnded:
      return { type: 'SessionEnded', session };
    case RECORD_TYPE.Subscribed: {
      const options = reader.number();
      return { type: 'Subscribed', session, options, identifier: reader.number(), filter: reader.text() };
    }
    case RECORD_TYPE.Unsubscribed:
      return { type: 'Unsubscribed', session, filter: reader.text() };
    case RECORD_TYPE.Released:
      return { type: 'Released', session, packetIdentifier: reader.number() };
    case RECORD_TYPE.Sent:
      return { type: 'Sent', session, position: reader.number(), packetIdentifier: reader.number() };
    case RECORD_TYPE.Received:
      return { type: 'Received', session, packetIdentifier: reader.number(), position: 0 };
    case RECORD_TYPE.Completed:
      return { type: 'Completed', session, packetIdentifier: reader.number(), position: 0 };
    case RECORD_TYPE.Dropped:
      return { type: 'Dropped', session, position: reader.number() };
    case RECORD_TYPE.WillPending: {
      const dueAtMs = reader.number();
      const word = reader.number();
      const { message } = decodeMessage(reader);
      return {
        type: 'WillPending',
        session,
        dueAtMs,
        retain: word % 2 === 1,
        delayS: Math.floor(word / 2),
        message,
      };
    }
    case RECORD_TYPE.WillCleared:
      return { type: 'WillCleared', session };
    default:
      return null;
  }
}

function qosOf(value: number): 0 | 1 | 2 {
  const qos = value & 3;
  return qos === 2 ? 2 : qos === 1 ? 1 : 0;
}
