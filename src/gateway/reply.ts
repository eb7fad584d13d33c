/**
 * Where the answer to a command or request goes: the MQTT 5 response topic with its correlation data when the message
 * names one and its sender may use it, else the topic that the gateway has for answers.
 */
import type { Message, Sender } from '../broker/message.js';

export interface Reply {
  readonly topic: string;
  readonly properties?: Uint8Array;
}

/** Whether a client could have published there itself; answers give nobody a right that he has not. */
export type MayPublish = (sender: Sender, topic: string) => boolean;

const RESPONSE_TOPIC = 0x08;
const CORRELATION_DATA = 0x09;
const USER_PROPERTY = 0x26;
/** Bytes of the values that have a fixed size, by property: payload format, message expiry. */
const FIXED_BYTES: Readonly<Record<number, number>> = { 0x01: 1, 0x02: 4 };

const utf8 = new TextDecoder();

export function replyOf(message: Message, fallback: string, mayPublish: MayPublish): Reply {
  const { properties, sender } = message;
  if (properties === undefined || properties.length === 0) return { topic: fallback };
  let topic: string | null = null;
  let correlation: Uint8Array | null = null;
  // The broker has checked every length here when the packet came.
  for (let at = 0; at < properties.length;) {
    const start = at;
    const identifier = properties[at] ?? 0;
    const fixed = FIXED_BYTES[identifier];
    at += 1 + (fixed ?? 2 + length16(properties, at + 1));
    if (identifier === USER_PROPERTY) at += 2 + length16(properties, at);
    if (identifier === RESPONSE_TOPIC) topic = utf8.decode(properties.subarray(start + 3, at));
    if (identifier === CORRELATION_DATA) correlation = properties.slice(start, at);
  }
  // Only the gateway itself has no sender, and it never asks: whoever has no name has no rights either.
  const isAllowed = topic !== null && sender !== null && mayPublish(sender, topic);
  return {
    topic: topic !== null && isAllowed ? topic : fallback,
    ...(correlation === null ? {} : { properties: correlation }),
  };
}

function length16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}
