/**
 * PUBLISH and the four acknowledgements by hand, into bytes that somebody else owns: sizes first, then one pass of
 * writing. Nothing is allocated. Reading happens by offsets where the frame is. Runs in a browser too.
 */
import { PROPERTY } from './properties.js';

/** A publication as the hot path passes it on: where its parts are. One object is filled again and again. */
export interface Publication {
  topic: Uint8Array;
  topicStart: number;
  topicEnd: number;
  /** MQTT 5 properties to forward, without message expiry and topic alias. */
  properties: Uint8Array;
  propertiesStart: number;
  propertiesEnd: number;
  payload: Uint8Array;
  payloadStart: number;
  payloadEnd: number;
}

/** A publication whose parts are arrays of their own. */
export function wholePublication(
  topic: Uint8Array,
  properties: Uint8Array,
  payload: Uint8Array,
): Publication {
  return {
    topic,
    topicStart: 0,
    topicEnd: topic.length,
    properties,
    propertiesStart: 0,
    propertiesEnd: properties.length,
    payload,
    payloadStart: 0,
    payloadEnd: payload.length,
  };
}

/** Beyond this many bytes the engine's copy beats a loop. */
const LOOP_BYTES = 32;

/** Copies from[start..end) to `to` at `at`; answers where it ends. */
export function copyBytes(to: Uint8Array, at: number, from: Uint8Array, start: number, end: number): number {
  const length = end - start;
  if (length <= LOOP_BYTES) for (let i = 0; i < length; i++) to[at + i] = from[start + i] ?? 0;
  else to.set(start === 0 && end === from.length ? from : viewOf(from, start, end), at);
  return at + length;
}

/** Whose buffer was asked for last: the engine takes longer to tell that than to copy a message, and sources come in runs. */
let asked = new Uint8Array(0);
let askedBuffer = asked.buffer as ArrayBufferLike;
let askedOffset = 0;

/** bytes[start..end) as they are; a plain view costs less than what subarray() of a Buffer does. */
export function viewOf(bytes: Uint8Array, start: number, end: number): Uint8Array {
  if (bytes !== asked) {
    asked = bytes as Uint8Array<ArrayBuffer>;
    askedBuffer = bytes.buffer;
    askedOffset = bytes.byteOffset;
  }
  return new Uint8Array(askedBuffer, askedOffset + start, end - start);
}

/** A copy of bytes[start..end) that shares nothing with them; slice() of a Buffer would. */
export function copyOf(bytes: Uint8Array, start: number, end: number): Uint8Array {
  return new Uint8Array(viewOf(bytes, start, end));
}

export function varintLength(value: number): number {
  return value < 128 ? 1 : value < 16384 ? 2 : value < 2097152 ? 3 : 4;
}

export function writeVarint(to: Uint8Array, at: number, value: number): number {
  let rest = value;
  let next = at;
  while (rest >= 128) {
    to[next++] = (rest & 127) | 128;
    rest = Math.floor(rest / 128);
  }
  to[next++] = rest;
  return next;
}

export function writeUint32(to: Uint8Array, at: number, value: number): number {
  to[at] = value >>> 24;
  to[at + 1] = value >>> 16;
  to[at + 2] = value >>> 8;
  to[at + 3] = value;
  return at + 4;
}

const NO_IDENTIFIERS: readonly number[] = [];

/**
 * How one PUBLISH is to be written: to whom (version), and what each delivery adds. Filled in and passed on; length()
 * first, then write() with the same settings.
 */
export class PublishWriter {
  version: 4 | 5 = 4;
  qos: 0 | 1 | 2 = 0;
  isDuplicate = false;
  retain = false;
  packetIdentifier = 0;
  /** Seconds left; -1: none. */
  expiryS = -1;
  identifiers: readonly number[] = NO_IDENTIFIERS;
  /** Topic alias; 0: none. */
  alias = 0;
  /** The receiver knows the alias, so the topic itself is left out. */
  isAliasKnown = false;
  /** Where the expiry was written, for those who fill it in later; -1: nowhere. */
  expiryAt = -1;
  #properties = 0;
  #remaining = 0;

  /** Back to a plain delivery. */
  reset(version: 4 | 5, qos: 0 | 1 | 2, retain: boolean): void {
    this.version = version;
    this.qos = qos;
    this.retain = retain;
    this.isDuplicate = false;
    this.packetIdentifier = 0;
    this.expiryS = -1;
    this.identifiers = NO_IDENTIFIERS;
    this.alias = 0;
    this.isAliasKnown = false;
  }

  /** Bytes of the whole packet. */
  length(publication: Publication): number {
    const topic = this.isAliasKnown ? 0 : publication.topicEnd - publication.topicStart;
    let remaining = 2 + topic + (this.qos > 0 ? 2 : 0) + publication.payloadEnd - publication.payloadStart;
    if (this.version === 5) {
      let properties = publication.propertiesEnd - publication.propertiesStart;
      if (this.expiryS >= 0) properties += 5;
      if (this.alias > 0) properties += 3;
      for (let i = 0; i < this.identifiers.length; i++)
        properties += 1 + varintLength(this.identifiers[i] ?? 0);
      this.#properties = properties;
      remaining += varintLength(properties) + properties;
    }
    this.#remaining = remaining;
    return 1 + varintLength(remaining) + remaining;
  }

  /** Writes the packet that length() measured at `at`; answers where it ends. */
  write(to: Uint8Array, start: number, publication: Publication): number {
    this.expiryAt = -1;
    to[start] = 0x30 | (this.isDuplicate ? 8 : 0) | (this.qos << 1) | (this.retain ? 1 : 0);
    let at = writeVarint(to, start + 1, this.#remaining);
    const topic = this.isAliasKnown ? 0 : publication.topicEnd - publication.topicStart;
    to[at++] = topic >> 8;
    to[at++] = topic & 255;
    if (topic > 0) at = copyBytes(to, at, publication.topic, publication.topicStart, publication.topicEnd);
    if (this.qos > 0) {
      to[at++] = this.packetIdentifier >> 8;
      to[at++] = this.packetIdentifier & 255;
    }
    if (this.version === 5) at = this.#writeProperties(to, at, publication);
    return copyBytes(to, at, publication.payload, publication.payloadStart, publication.payloadEnd);
  }

  #writeProperties(to: Uint8Array, start: number, publication: Publication): number {
    let at = writeVarint(to, start, this.#properties);
    if (this.expiryS >= 0) {
      to[at++] = PROPERTY.messageExpiry;
      this.expiryAt = at;
      at = writeUint32(to, at, this.expiryS);
    }
    if (this.alias > 0) {
      to[at++] = PROPERTY.topicAlias;
      to[at++] = this.alias >> 8;
      to[at++] = this.alias & 255;
    }
    for (let i = 0; i < this.identifiers.length; i++) {
      to[at++] = PROPERTY.subscriptionIdentifier;
      at = writeVarint(to, at, this.identifiers[i] ?? 0);
    }
    return copyBytes(to, at, publication.properties, publication.propertiesStart, publication.propertiesEnd);
  }
}

export const PUBACK = 0x40;
export const PUBREC = 0x50;
export const PUBREL = 0x62;
export const PUBCOMP = 0x70;

/** Bytes of an acknowledgement: the reason code is left out when it is 0, and for 3.1.1. */
export function acknowledgementLength(version: 4 | 5, reason: number): number {
  return version === 5 && reason !== 0 ? 5 : 4;
}

export function writeAcknowledgement(
  to: Uint8Array,
  at: number,
  first: number,
  packetIdentifier: number,
  version: 4 | 5,
  reason: number,
): number {
  const isLong = version === 5 && reason !== 0;
  to[at] = first;
  to[at + 1] = isLong ? 3 : 2;
  to[at + 2] = packetIdentifier >> 8;
  to[at + 3] = packetIdentifier & 255;
  if (!isLong) return at + 4;
  to[at + 4] = reason;
  return at + 5;
}
