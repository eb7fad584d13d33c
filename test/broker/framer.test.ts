import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  CLIENT_PACKETS,
  CONNECT_ONLY,
  Framer,
  type FrameSink,
  SERVER_PACKETS,
} from '../../src/broker/framer.js';

interface Seen {
  bytes: number[];
  body: number;
}

/** Collects frames; stops after each frame whose number is in `stops`. */
function collect(stops: ReadonlySet<number> = new Set()): { frames: Seen[]; sink: FrameSink } {
  const frames: Seen[] = [];
  return {
    frames,
    sink: {
      frame(bytes, start, body, end) {
        frames.push({ bytes: [...bytes.subarray(start, end)], body: body - start });
        return !stops.has(frames.length);
      },
    },
  };
}

function frameOf(first: number, body: Uint8Array): Uint8Array {
  const header = [first];
  let rest = body.length;
  do {
    header.push((rest & 127) | (rest > 127 ? 128 : 0));
    rest >>= 7;
  } while (rest > 0);
  return Uint8Array.from([...header, ...body]);
}

const packet = fc
  .tuple(
    fc.constantFrom(0x30, 0x31, 0x32, 0x3d, 0x40, 0x62, 0x82, 0xc0, 0xe0),
    fc.uint8Array({ maxLength: 300 }),
  )
  .map(([first, body]) => frameOf(first, body));

describe('framer', () => {
  test('hands over the same frames however the stream is cut', () => {
    const cuts = fc.array(fc.nat(2000), { maxLength: 30 });
    fc.assert(
      fc.property(fc.array(packet, { maxLength: 12 }), cuts, fc.boolean(), (packets, places, isByByte) => {
        const stream = Buffer.concat(packets);
        const { frames, sink } = collect();
        const framer = new Framer(sink, CLIENT_PACKETS, 1000);
        const ends = isByByte ? stream.map((_, i) => i) : places.map((place) => place % (stream.length + 1));
        let from = 0;
        for (const to of [...new Set([...ends, stream.length])].sort((a, b) => a - b)) {
          // What was read is overwritten, as a shared read buffer is.
          const chunk = Uint8Array.from(stream.subarray(from, to));
          assert.equal(framer.push(chunk, 0, chunk.length), 0);
          chunk.fill(0xee);
          from = to;
        }
        assert.deepEqual(frames.map(({ bytes }) => bytes), packets.map((one) => [...one])); // prettier-ignore
        assert.equal(framer.hasPart, false);
        for (const { bytes, body } of frames) assert.equal(body, bytes.length < 130 ? 2 : 3);
      }),
      { numRuns: 300 },
    );
  });

  test('keeps everything behind a stop and goes on where it stopped', () => {
    fc.assert(
      fc.property(
        fc.array(packet, { minLength: 1, maxLength: 8 }),
        fc.array(fc.nat(8)),
        fc.nat(400),
        (packets, stops, size) => {
          const { frames, sink } = collect(new Set(stops));
          const framer = new Framer(sink, CLIENT_PACKETS, 1000);
          const stream = Buffer.concat(packets);
          for (let at = 0; at < stream.length; at += size + 1) {
            const chunk = stream.subarray(at, at + size + 1);
            assert.equal(framer.push(chunk, 0, chunk.length), 0);
          }
          while (framer.isStopped) assert.equal(framer.resume(), 0);
          assert.deepEqual(frames.map(({ bytes }) => bytes), packets.map((one) => [...one])); // prettier-ignore
        },
      ),
      { numRuns: 300 },
    );
  });

  test('refuses a length beyond the limit before anything of it is kept', () => {
    for (const pieces of [[[0x30, 0xff, 0xff, 0xff, 0x7f]], [[0x30], [0xff], [0xff], [0xff], [0x7f]]]) {
      const framer = new Framer(collect().sink, CLIENT_PACKETS, 1000);
      const answers = pieces.map((piece) => framer.push(Uint8Array.from(piece), 0, piece.length));
      assert.equal(answers.at(-1), 0x95);
    }
  });

  test('refuses lengths of more than four bytes, and in version 5 those that are not minimal', () => {
    const push = (bytes: number[], isMinimal: boolean): number => {
      const framer = new Framer(collect().sink, CLIENT_PACKETS, 1000);
      framer.isMinimal = isMinimal;
      return framer.push(Uint8Array.from(bytes), 0, bytes.length);
    };
    assert.equal(push([0x30, 0x80, 0x80, 0x80, 0x80, 0x01], false), 0x81);
    assert.equal(push([0xc0, 0x80, 0x00], true), 0x81);
    assert.equal(push([0xc0, 0x80, 0x00], false), 0);
  });

  test('knows the header flags of every packet, and who may send it [MQTT-2.1.3-1]', () => {
    for (let first = 0; first < 256; first++) {
      const type = first >> 4;
      const flags = first & 15;
      const isRight =
        type === 3
          ? (flags & 6) !== 6 && !((flags & 6) === 0 && (flags & 8) !== 0)
          : flags === ([6, 8, 10].includes(type) ? 2 : 0);
      const expected = type === 0 || !isRight ? 0x81 : [2, 9, 11, 13].includes(type) ? 0x82 : 0;
      assert.equal(CLIENT_PACKETS[first], expected, first.toString(16));
      if (isRight && type > 0) assert.equal(SERVER_PACKETS[first] === 0, ![1, 8, 10, 12].includes(type));
      assert.equal(CONNECT_ONLY[first] === 0, first === 0x10);
    }
  });
});
