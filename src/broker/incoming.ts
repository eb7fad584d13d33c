/**
 * A publication as it came in, from a client, the gateway or an uplink: its parts lie where they were read, and one
 * object is filled again and again. Whoever keeps something of it takes a copy here.
 */
import type { PublishedMessage } from '../store/store.js';
import { copyOf, viewOf } from './codec.js';
import type { Message, QoS, Sender } from './message.js';
import type { Outgoing } from './outgoing.js';
import type { Session } from './session.js';

export interface Incoming extends Outgoing {
  qos: QoS;
  retain: boolean;
  /** The session of the client that sent it, or whose will it is; null: it comes from inside this process. */
  from: Session | null;
  /** Whom a publication from inside speaks for, such as an uplink; null: the gateway itself. */
  sender: Sender | null;
  /** Its retained copy is to survive a restart. */
  isStored: boolean;
  /** From inside, and refused where it cannot be kept: whoever sent it has it still, and waits. */
  isAwaited: boolean;
  /** Of the PUBLISH at QoS 1 or 2 that brought it, which is answered; 0: nobody waits for an answer. */
  packetIdentifier: number;
}

const EMPTY = new Uint8Array(0);

/** One to be filled. */
export function emptyIncoming(): Incoming {
  return {
    topic: EMPTY,
    topicStart: 0,
    topicEnd: 0,
    properties: EMPTY,
    propertiesStart: 0,
    propertiesEnd: 0,
    payload: EMPTY,
    payloadStart: 0,
    payloadEnd: 0,
    expiresAtMs: 0,
    position: 0,
    qos: 0,
    retain: false,
    from: null,
    sender: null,
    isStored: true,
    isAwaited: false,
    packetIdentifier: 0,
  };
}

/** One that stands alone, from parts that are whole. */
export function incomingOf(
  topic: Uint8Array,
  payload: Uint8Array,
  properties: Uint8Array,
  rest: Partial<Incoming>,
): Incoming {
  return {
    ...emptyIncoming(),
    topic,
    topicEnd: topic.length,
    properties,
    propertiesEnd: properties.length,
    payload,
    payloadEnd: payload.length,
    ...rest,
  };
}

/** As subscribers inside this process get it, who may keep it. */
export function messageOf(incoming: Incoming, topic: string): Message {
  return {
    topic,
    payload: copyOf(incoming.payload, incoming.payloadStart, incoming.payloadEnd),
    qos: incoming.qos,
    retain: incoming.retain,
    ...(incoming.propertiesStart === incoming.propertiesEnd
      ? undefined
      : { properties: copyOf(incoming.properties, incoming.propertiesStart, incoming.propertiesEnd) }),
    sender: senderOf(incoming),
    ...(incoming.expiresAtMs === 0 ? undefined : { expiresAtMs: incoming.expiresAtMs }),
    stored: incoming.isStored,
  };
}

function senderOf({ from, sender }: Incoming): Sender | null {
  return from === null
    ? sender
    : { clientId: from.clientId, user: from.identity.user, address: from.address || 'unknown' };
}

/** The bytes of its topic as they are. */
export function topicOf({ topic, topicStart, topicEnd }: Incoming): Uint8Array {
  return topicStart === 0 && topicEnd === topic.length ? topic : viewOf(topic, topicStart, topicEnd);
}

/** As the store takes it, which copies what it keeps. */
export function publishedOf(incoming: Incoming): PublishedMessage {
  return {
    topic: topicOf(incoming),
    payload: incoming.payload,
    payloadStart: incoming.payloadStart,
    payloadEnd: incoming.payloadEnd,
    properties:
      incoming.propertiesStart === incoming.propertiesEnd
        ? EMPTY
        : viewOf(incoming.properties, incoming.propertiesStart, incoming.propertiesEnd),
    qos: incoming.qos,
    expiresAtMs: incoming.expiresAtMs,
    publisher: incoming.from?.clientId ?? '',
  };
}
