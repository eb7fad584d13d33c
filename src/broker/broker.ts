/**
 * The one door of the broker: connections come in through attach(), the gateway through publish(), publishSample() and subscribe().
 * It owns the sessions.
 */
import type { Message, Sender, Subscriber } from './message.js';

/** A topic the gateway publishes to again and again: found once, kept by the caller. Opaque outside this room. */
export interface TopicHandle {
  readonly topic: string;
}

/** What the rest of the gateway may ask of the broker; implemented by the Broker class of this file. */
export interface BrokerApi {
  /** Recovers sessions and retained messages from the store. */
  open(): Promise<void>;
  publish(message: Message): void;
  handleOf(topic: string): TopicHandle;
  /**
   * The hot path of telemetry: no object a sample. bytes[start..end) is the payload; it is copied before the call
   * returns. Sent at the end of the loop turn. Its retained copy is not stored unless `stored`.
   */
  publishSample(
    handle: TopicHandle,
    bytes: Uint8Array,
    start: number,
    end: number,
    qos: 0 | 1 | 2,
    retain: boolean,
    stored: boolean,
  ): void;
  /** In-process subscription; not bound by access rules. The RETAIN flag is handed on as published. */
  subscribe(filter: string, subscriber: Subscriber): void;
  unsubscribe(filter: string, subscriber: Subscriber): void;
  /** Whether this sender could publish there itself: an answer to a response topic gives nobody a right he has not. */
  mayPublish(sender: Sender, topic: string): boolean;
  /** DISCONNECT 0x8B to v5 clients, commit, close. */
  close(): Promise<void>;
}
