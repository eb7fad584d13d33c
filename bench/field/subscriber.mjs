import { connect } from 'node:net';
import { nowMs } from './report.mjs';

/** The least that an MQTT 3.1.1 client can be: it subscribes with QoS 0 and publishes with QoS 0. */
export async function client(port, filter, onMessage) {
  const socket = connect(port, '127.0.0.1');
  const text = (value) =>
    Buffer.concat([Buffer.from([value.length >> 8, value.length & 255]), Buffer.from(value)]);
  const packet = (type, body) => {
    const length = [];
    for (let left = body.length; ; left >>= 7) {
      if (left < 128) {
        length.push(left);
        break;
      }
      length.push((left & 127) | 128);
    }
    return Buffer.concat([Buffer.from([type, ...length]), body]);
  };
  await new Promise((resolve) => socket.once('connect', resolve));
  socket.setNoDelay(true);
  const id = `bench-${Math.random().toString(36).slice(2)}`;
  socket.write(packet(0x10, Buffer.concat([text('MQTT'), Buffer.from([4, 2, 0, 0]), text(id)])));
  if (filter !== null) {
    socket.write(packet(0x82, Buffer.concat([Buffer.from([0, 1]), text(filter), Buffer.from([0])])));
  }
  let pending = Buffer.alloc(0);
  const ready = new Promise((resolve) => {
    socket.on('data', (chunk) => {
      const atMs = nowMs();
      pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
      let at = 0;
      while (pending.length - at >= 2) {
        let length = 0;
        let head = 1;
        for (let shift = 0; ; shift += 7) {
          const byte = pending[at + head];
          if (byte === undefined) break;
          head += 1;
          length |= (byte & 127) << shift;
          if (byte < 128) break;
        }
        if (at + head + length > pending.length) break;
        const type = pending[at] >> 4;
        if (type === 3) {
          const start = at + head;
          const size = pending.readUInt16BE(start);
          onMessage?.(
            pending,
            start + 2,
            start + 2 + size,
            at + head + length,
            atMs,
            (pending[at] & 1) === 1,
          );
        }
        if (type === (filter === null ? 2 : 9)) resolve();
        at += head + length;
      }
      pending = pending.subarray(at);
    });
  });
  await ready;
  return {
    publish: (topic, payload) =>
      socket.write(packet(0x30, Buffer.concat([text(topic), Buffer.from(payload)]))),
    close: () => socket.destroy(),
  };
}
