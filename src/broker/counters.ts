/** What the broker counts, and the names under which /metrics shows it. */
import type { Counter, Metrics } from '../metrics.js';

export interface BrokerCounters {
  readonly bytesReceived: Counter;
  readonly bytesSent: Counter;
  readonly packetsReceived: Counter;
  readonly packetsSent: Counter;
  readonly publishReceived: Counter;
  readonly publishSent: Counter;
  readonly publishBytesReceived: Counter;
  readonly publishBytesSent: Counter;
  /** Messages that a receiver did not get: its queue or output was full, or it cannot take their size. */
  readonly dropped: Counter;
  readonly expired: Counter;
  /** Publications refused for want of a right. */
  readonly denied: Counter;
  readonly connections: Counter;
  readonly refused: Counter;
  readonly protocolErrors: Counter;
  /** Times that the loop stood still. */
  readonly stalls: Counter;
}

export function brokerCounters(metrics: Metrics): BrokerCounters {
  const counter = (name: string, help: string): Counter => metrics.counter(`mqtt_${name}`, help);
  return {
    bytesReceived: counter('received_bytes_total', 'Bytes read from clients.'),
    bytesSent: counter('sent_bytes_total', 'Bytes written to clients.'),
    packetsReceived: counter('packets_received_total', 'MQTT packets read from clients.'),
    packetsSent: counter('packets_sent_total', 'MQTT packets other than PUBLISH written to clients.'),
    publishReceived: counter('messages_received_total', 'PUBLISH packets read from clients.'),
    publishSent: counter('messages_sent_total', 'PUBLISH packets written to clients.'),
    publishBytesReceived: counter('payload_received_bytes_total', 'Payload bytes of messages from clients.'),
    publishBytesSent: counter('payload_sent_bytes_total', 'Payload bytes of messages to clients.'),
    dropped: counter('messages_dropped_total', 'Messages that a receiver could not be given.'),
    expired: counter('messages_expired_total', 'Messages whose expiry interval passed while they waited.'),
    denied: counter('publications_denied_total', 'Publications refused for want of a right.'),
    connections: counter('connections_total', 'Connections accepted.'),
    refused: counter('connections_refused_total', 'Connections refused at CONNECT or before.'),
    stalls: counter('loop_stalls_total', 'Times that the loop stood still for longer than it should.'),
    protocolErrors: counter(
      'protocol_errors_total',
      'Connections closed for a malformed or misplaced packet.',
    ),
  };
}
