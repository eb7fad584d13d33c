/** A publication on its way to receivers, and a copy of one that outlives the bytes it was read from. */
import { copyOf, type Publication } from './codec.js';

export interface Outgoing extends Publication {
  /** Wall time in ms; 0: never. */
  expiresAtMs: number;
  /** Its position in the store; 0: it is not kept. */
  position: number;
}

/** As a shared subscription keeps it until it is acknowledged. */
export function outgoingOf(publication: Outgoing): Outgoing {
  const { topic, topicStart, topicEnd, payload, payloadStart, payloadEnd } = publication;
  const { properties, propertiesStart, propertiesEnd, expiresAtMs } = publication;
  return {
    topic: copyOf(topic, topicStart, topicEnd),
    topicStart: 0,
    topicEnd: topicEnd - topicStart,
    properties: copyOf(properties, propertiesStart, propertiesEnd),
    propertiesStart: 0,
    propertiesEnd: propertiesEnd - propertiesStart,
    payload: copyOf(payload, payloadStart, payloadEnd),
    payloadStart: 0,
    payloadEnd: payloadEnd - payloadStart,
    expiresAtMs,
    position: 0,
  };
}
