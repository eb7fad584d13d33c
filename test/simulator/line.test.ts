/** The line in virtual time: exact, and what each fault puts on it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readRtu, rtuFrame, type Frame } from '../../src/modbus/framing.js';
import { Line } from '../../src/simulator/line.js';
import { ANSWER_FAULTS, type AnswerFault, type FaultSpec } from '../../src/simulator/spec.js';
import { Station } from '../../src/simulator/station.js';
import { ManualClock } from '../support/clock.js';

const CHARACTER_MS = 10 / 9.6;
const SILENCE_MS = 3.5 * CHARACTER_MS;
const REQUEST = rtuFrame(7, Uint8Array.of(3, 0, 0, 0, 2));
const RIGHT = rtuFrame(7, Uint8Array.of(3, 4, 0x12, 0x34, 0x56, 0x78));

function lineWith(faults: FaultSpec[]): {
  clock: ManualClock;
  line: Line;
  station: Station;
  heard: { atMs: number; bytes: number[] }[];
} {
  const clock = new ManualClock();
  const station = new Station(
    {
      name: 'line',
      link: { kind: 'rtu' },
      units: [
        {
          unitId: 7,
          turnaroundMs: 3,
          faults,
          values: [{ table: 'holding-register', address: 0, quantity: 2, script: 'fixed', hex: '12345678' }],
        },
      ],
    },
    5,
    clock,
    0,
  );
  const heard: { atMs: number; bytes: number[] }[] = [];
  const line = new Line(station, 'rtu', { baud: 9600 }, clock, {
    heard: (bytes) => heard.push({ atMs: clock.monotonicMs(), bytes: [...bytes] }),
    ended: () => {},
  });
  return { clock, line, station, heard };
}

/** What a master hears in answer to one read, in ten seconds. */
function answerUnder(fault: FaultSpec): { bytes: Uint8Array; frame: Frame | null; lastAtMs: number } {
  const { clock, line, heard } = lineWith([fault]);
  clock.advance(10);
  line.receive(REQUEST);
  clock.advance(10_000);
  const bytes = Uint8Array.from(heard.flatMap((piece) => piece.bytes));
  return { bytes, frame: readRtu(bytes), lastAtMs: (heard.at(-1)?.atMs ?? 0) - 10 };
}

const near = (a: number, b: number): boolean => Math.abs(a - b) < 1e-6;
const END_MS = 8 * CHARACTER_MS + SILENCE_MS + 3 + 9 * CHARACTER_MS;

test('without a fault the answer ends when its last character has passed', () => {
  const { clock, line, heard } = lineWith([]);
  clock.advance(10);
  line.receive(REQUEST);
  clock.advance(1000);
  assert.deepEqual(heard.flatMap(({ bytes }) => bytes), [...RIGHT]); // prettier-ignore
  assert.ok(near((heard.at(-1)?.atMs ?? 0) - 10, END_MS));
});

/** For each fault, what is seen of it on a serial line. Those of TCP alone have no say there. */
const SHOWN: Readonly<Record<AnswerFault, (seen: ReturnType<typeof answerUnder>) => boolean>> = {
  slow: ({ bytes, lastAtMs }) => isRight(bytes) && near(lastAtMs, END_MS + 100),
  late: ({ bytes, lastAtMs }) => isRight(bytes) && near(lastAtMs, END_MS + 1500),
  silent: ({ bytes }) => bytes.length === 0,
  dead: ({ bytes }) => bytes.length === 0,
  busy: ({ frame }) => frame?.pdu[0] === 0x83 && frame.pdu[1] === 6,
  exception: ({ frame }) => frame?.pdu[0] === 0x83 && frame.pdu[1] === 4,
  'bad-crc': ({ bytes, frame }) => bytes.length === RIGHT.length && frame === null,
  truncated: ({ bytes }) => bytes.length < RIGHT.length && isRight(bytes, bytes.length),
  'over-long': ({ bytes }) => bytes.length > RIGHT.length && isRight(bytes.subarray(0, RIGHT.length)),
  split: ({ bytes, lastAtMs }) => isRight(bytes) && lastAtMs > END_MS + 4,
  'garbage-prefix': ({ bytes }) => bytes.length > RIGHT.length && isRight(bytes.subarray(-RIGHT.length)),
  duplicate: ({ bytes }) =>
    bytes.length === 2 * RIGHT.length &&
    isRight(bytes.subarray(0, RIGHT.length)) &&
    isRight(bytes.subarray(RIGHT.length)),
  'wrong-unit': ({ frame }) => frame?.unitId === 8 && frame.pdu[2] !== 0x12,
  'wrong-function': ({ frame }) => frame?.pdu[0] === 4 && frame.pdu[2] !== 0x12,
  'wrong-tid': ({ frame }) => frame !== null,
  'wrong-protocol-id': ({ frame }) => frame !== null,
  'wrong-count': ({ frame }) => frame !== null && frame.pdu[1] !== 4 && frame.pdu[1] === frame.pdu.length - 2,
  cut: ({ bytes }) => bytes.length < RIGHT.length,
  rst: ({ bytes }) => bytes.length === 0,
  close: ({ bytes }) => isRight(bytes),
};

for (const name of ANSWER_FAULTS) {
  test(`the fault ${name} is seen on the line`, () => {
    assert.ok(SHOWN[name](answerUnder({ name })), JSON.stringify(answerUnder({ name })));
  });
}

test('a fault strikes as often as its probability says, and the same seed gives the same faults', () => {
  const strikes = (): string => {
    const { clock, line, station } = lineWith([{ name: 'silent', probability: 0.3 }]);
    for (let round = 0; round < 1000; round++) {
      clock.advance(100);
      line.receive(REQUEST);
    }
    clock.advance(1000);
    return station.transcript.since().map(({ fault }) => (fault === '' ? '.' : 'x')).join(''); // prettier-ignore
  };
  const first = strikes();
  const share = first.replaceAll('.', '').length / 1000;
  assert.ok(share > 0.25 && share < 0.35, `${share}`);
  assert.equal(strikes(), first);
});

test('busy and dead units do not carry a write out, a silent one does', () => {
  for (const [name, isWritten] of [
    ['busy', false],
    ['dead', false],
    ['silent', true],
  ] as const) {
    // prettier-ignore
    const { clock, line, station } = lineWith([{ name }]);
    clock.advance(10);
    line.receive(rtuFrame(7, Uint8Array.of(6, 0, 40, 0, 9)));
    clock.advance(1000);
    assert.equal(station.units.get(7)?.peek('holding-register', 40, 1)[1] === 9, isWritten, name);
  }
});

test('a broadcast reaches every unit and nobody answers', () => {
  const { clock, line, station, heard } = lineWith([]);
  clock.advance(10);
  line.receive(rtuFrame(0, Uint8Array.of(6, 0, 40, 0, 9)));
  clock.advance(1000);
  assert.deepEqual(heard, []);
  assert.equal(station.units.get(7)?.peek('holding-register', 40, 1)[1], 9);
});

function isRight(bytes: Uint8Array, length = RIGHT.length): boolean {
  return Buffer.compare(bytes, RIGHT.subarray(0, length)) === 0;
}
