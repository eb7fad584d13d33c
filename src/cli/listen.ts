/**
 * A subscriber of a few lines: it connects to a broker on this machine without a password, subscribes with QoS 0 and
 * hands on what comes. What the demo shows has thus gone the whole way that any client's messages go.
 */
import { connect, type Socket } from 'node:net';
import { Framer, SERVER_PACKETS } from '../broker/framer.js';

const MAX_BYTES = 1024 * 1024;
/** CONNECT of MQTT 3.1.1 with clean session, no keep-alive and an empty client identifier. */
const CONNECT = Uint8Array.of(0x10, 12, 0, 4, 0x4d, 0x51, 0x54, 0x54, 4, 2, 0, 0, 0, 0);

export interface Message {
  readonly topic: string;
  readonly payload: string;
  readonly isRetained: boolean;
}

/** Resolves once the subscription is acknowledged; the socket is the caller's to destroy. */
export function listen(
  host: string,
  port: number,
  filter: string,
  onMessage: (message: Message) => void,
): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, host, () => {
      socket.write(CONNECT);
      socket.write(subscribePacket(filter));
    });
    const framer = new Framer(
      {
        frame(bytes, start, body, end) {
          const type = (bytes[start] ?? 0) >> 4;
          if (type === 9) resolve(socket);
          if (type === 3) onMessage(messageIn(bytes, start, body, end));
          return true;
        },
      },
      SERVER_PACKETS,
      MAX_BYTES,
    );
    socket.on('data', (bytes) => framer.push(bytes, 0, bytes.length));
    socket.on('error', reject);
    socket.on('close', () => reject(new Error('the broker closed the connection')));
  });
}

function messageIn(bytes: Uint8Array, start: number, body: number, end: number): Message {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const topicEnd = body + 2 + text.readUInt16BE(body);
  return {
    topic: text.toString('utf8', body + 2, topicEnd),
    payload: text.toString('utf8', topicEnd, end),
    isRetained: ((bytes[start] ?? 0) & 1) === 1,
  };
}

/** For filters of up to a hundred bytes. */
function subscribePacket(filter: string): Uint8Array {
  const bytes = Buffer.from(filter, 'utf8');
  return Uint8Array.of(0x82, bytes.length + 5, 0, 1, 0, bytes.length, ...bytes, 0);
}
