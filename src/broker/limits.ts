/** The limits of the broker. Infinity where nothing limits; the defaults bound memory and refuse no normal client. */
export interface BrokerLimits {
  readonly maxConnections: number;
  readonly maxConnectionsPerAddress: number;
  readonly connectTimeoutMs: number;
  readonly maxPacketBytes: number;
  readonly maxConnectBytes: number;
  readonly maxTopicLevels: number;
  readonly maxSubscriptionsPerClient: number;
  /** Unacknowledged QoS 1 and 2 messages towards one client, and the Receive Maximum announced to it. */
  readonly maxInflight: number;
  readonly maxQueuedMessages: number;
  readonly maxQueuedBytes: number;
  readonly maxRetainedMessages: number;
  readonly maxRetainedBytes: number;
  readonly maxSessions: number;
  readonly maxSessionExpiryS: number;
  readonly maxKeepAliveS: number;
  readonly messagesPerSecond: number;
  readonly bytesPerSecond: number;
  /** Unsent bytes of one connection above which QoS 0 to it is dropped. */
  readonly maxOutboxBytes: number;
  readonly maxMemoryBytes: number;
}

export const DEFAULT_LIMITS: BrokerLimits = {
  maxConnections: 10_000,
  maxConnectionsPerAddress: Infinity,
  connectTimeoutMs: 10_000,
  maxPacketBytes: 256 * 1024,
  maxConnectBytes: 256 * 1024,
  maxTopicLevels: 65_536,
  maxSubscriptionsPerClient: Infinity,
  maxInflight: 100,
  maxQueuedMessages: Infinity,
  maxQueuedBytes: 64 * 1024 * 1024,
  maxRetainedMessages: Infinity,
  maxRetainedBytes: 256 * 1024 * 1024,
  maxSessions: Infinity,
  maxSessionExpiryS: Infinity,
  maxKeepAliveS: 65_535,
  messagesPerSecond: Infinity,
  bytesPerSecond: Infinity,
  maxOutboxBytes: 4 * 1024 * 1024,
  maxMemoryBytes: Infinity,
};
