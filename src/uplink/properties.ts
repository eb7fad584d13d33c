/**
 * The MQTT 5 properties of a message on its way from one broker to another: our broker's bytes to MQTT.js's object and
 * back. One user property names the gateways that a message came through, so that a loop is seen.
 */
import { PROPERTY, readVarint } from '../broker/properties.js';
import { isTopicName, TOPIC_BYTES_MAX as TEXT_BYTES_MAX } from '../broker/topic.js';

/** User property that names the gateways a message came through. */
export const VIA = 'holdfast-via';

/** As MQTT.js has them, of a PUBLISH. */
export interface MessageProperties {
  payloadFormatIndicator?: boolean;
  contentType?: string;
  responseTopic?: string;
  correlationData?: Buffer;
  messageExpiryInterval?: number;
  userProperties?: Record<string, string | string[]>;
}

/** Bytes that our broker has walked before. */
export function decodeProperties(bytes: Uint8Array): MessageProperties {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const found: MessageProperties = {};
  for (let at = 0; at < buffer.length;) {
    const id = buffer[at++];
    const length = at + 2 <= buffer.length ? buffer.readUInt16BE(at) : 0;
    const text = (): string => buffer.toString('utf8', at + 2, at + 2 + length);
    switch (id) {
      case PROPERTY.payloadFormat:
        found.payloadFormatIndicator = buffer[at] === 1;
        at += 1;
        break;
      case PROPERTY.messageExpiry:
        at += 4;
        break;
      case PROPERTY.contentType:
        found.contentType = text();
        at += 2 + length;
        break;
      case PROPERTY.responseTopic:
        found.responseTopic = text();
        at += 2 + length;
        break;
      case PROPERTY.correlationData:
        found.correlationData = buffer.subarray(at + 2, at + 2 + length);
        at += 2 + length;
        break;
      case PROPERTY.subscriptionIdentifier:
        at = readVarint(buffer, at, buffer.length).next || buffer.length;
        break;
      case PROPERTY.userProperty: {
        const name = text();
        at += 2 + length;
        const valueLength = at + 2 <= buffer.length ? buffer.readUInt16BE(at) : 0;
        add((found.userProperties ??= Object.create(null) as Record<string, string | string[]>), name, [
          buffer.toString('utf8', at + 2, at + 2 + valueLength),
        ]);
        at += 2 + valueLength;
        break;
      }
      default:
        return found;
    }
  }
  return found;
}

/**
 * Whether clients here may be sent what came from the far side: its texts are some, and its response topic is a topic. The
 * library takes any bytes for a text, and one that is none grows by that.
 */
export function isSound({
  contentType = '',
  responseTopic,
  userProperties = {},
}: MessageProperties): boolean {
  if (responseTopic !== undefined) {
    const bytes = Buffer.from(responseTopic);
    if (!isTopicName(bytes, 0, bytes.length)) return false;
  }
  return isSoundText(contentType) && Object.entries(userProperties).flat(2).every(isSoundText);
}

function isSoundText(text: string): boolean {
  return (
    !text.includes('\0') && (text.length * 3 <= TEXT_BYTES_MAX || Buffer.byteLength(text) <= TEXT_BYTES_MAX)
  );
}

/** What came from the far side, as our broker keeps it; subscription identifiers and the expiry stay behind. */
export function encodeProperties(properties: MessageProperties): Uint8Array {
  const parts: Buffer[] = [];
  const put = (id: number, ...values: Buffer[]): void => {
    parts.push(Buffer.from([id]));
    for (const value of values) {
      const length = Buffer.alloc(2);
      length.writeUInt16BE(value.length);
      parts.push(length, value);
    }
  };
  const { payloadFormatIndicator, contentType, responseTopic, correlationData } = properties;
  if (payloadFormatIndicator !== undefined)
    parts.push(Buffer.from([PROPERTY.payloadFormat, payloadFormatIndicator ? 1 : 0]));
  if (contentType !== undefined) put(PROPERTY.contentType, Buffer.from(contentType));
  if (responseTopic !== undefined) put(PROPERTY.responseTopic, Buffer.from(responseTopic));
  if (correlationData !== undefined) put(PROPERTY.correlationData, correlationData);
  for (const [name, values] of Object.entries(properties.userProperties ?? {}))
    for (const value of [values].flat()) put(PROPERTY.userProperty, Buffer.from(name), Buffer.from(value));
  return parts.length === 0 ? NONE : Buffer.concat(parts);
}

const NONE = new Uint8Array(0);
const VIA_BYTES = Buffer.from(VIA);

/** The gateways that a message came through; cheap where it came through none. */
export function viaOf(bytes: Uint8Array): string[] {
  if (bytes.length === 0 || Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).indexOf(VIA_BYTES) < 0)
    return [];
  return [decodeProperties(bytes).userProperties?.[VIA] ?? []].flat();
}

/** Bytes of the user property that names a gateway as one that the message came through. */
export function viaBytes(gateway: string): Uint8Array {
  return encodeProperties({ userProperties: { [VIA]: gateway } });
}

function add(into: Record<string, string | string[]>, name: string, values: readonly string[]): void {
  const known = into[name];
  const all = [...(known === undefined ? [] : [known].flat()), ...values];
  into[name] = all.length === 1 ? (all[0] ?? '') : all;
}
