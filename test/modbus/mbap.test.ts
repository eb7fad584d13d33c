import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Exchange } from '../../src/modbus/exchange.js';
import type { ModbusError } from '../../src/modbus/exchange.js';
import { MbapTransport } from '../../src/modbus/mbap.js';
import type { MbapSettings } from '../../src/modbus/mbap.js';
import { ManualClock } from '../support/clock.js';

const TIMEOUT_MS = 100;
const RESET: ModbusError = { kind: 'closed', exception: 0, text: 'ECONNRESET' };

type Outcome = Uint8Array | ModbusError;

class Rig {
  readonly clock = new ManualClock();
  readonly sent: Uint8Array[] = [];
  readonly faults: ModbusError[] = [];
  readonly discards: string[] = [];
  /** Whose words those were. */
  readonly speakers: (number | undefined)[] = [];
  oneAtATimeCount = 0;
  readonly transport: MbapTransport;

  constructor(settings: Partial<MbapSettings> = {}) {
    this.transport = new MbapTransport({ window: 1, paceMs: 0, isDatagram: false, ...settings }, this.clock, {
      frame: null,
      write: (bytes) => void this.sent.push(bytes),
      fault: (error) => {
        this.faults.push(error);
        this.transport.disconnected(error, false);
      },
      discarded: (reason, _bytes, unitId) => {
        this.discards.push(reason);
        this.speakers.push(unitId);
      },
      isOneAtATime: () => void (this.oneAtATimeCount += 1),
    });
    this.transport.connected();
  }

  /** Submits a read; the outcome appears in the list that is returned. */
  read(address: number, quantity = 2, unitId = 1, timeoutMs = TIMEOUT_MS): Outcome[] {
    const outcomes: Outcome[] = [];
    const owner = {
      answered: (_exchange: Exchange, bytes: Uint8Array, start: number, end: number) =>
        void outcomes.push(bytes.slice(start, end)),
      failed: (_exchange: Exchange, error: ModbusError) => void outcomes.push(error),
    };
    const pdu = Uint8Array.of(3, address >> 8, address & 0xff, 0, quantity);
    this.transport.submit(new Exchange(owner, unitId, pdu, timeoutMs, false));
    return outcomes;
  }

  receive(...pieces: readonly Uint8Array[]): void {
    const nowMs = this.clock.monotonicMs();
    for (const piece of pieces) this.transport.received(piece, nowMs, nowMs);
  }

  /** The right answer to the request that was sent as this one; registers hold its transaction identifier. */
  answer(index: number, change: (frame: Uint8Array) => Uint8Array = (frame) => frame): Uint8Array {
    const request = this.sent[index] ?? new Uint8Array(12);
    const [high = 0, low = 0] = request;
    const quantity = request[11] ?? 0;
    const data = Array.from({ length: 2 * quantity }, (_, at) => (at % 2 === 0 ? high : low));
    const unitId = request[6] ?? 0;
    return change(Uint8Array.of(high, low, 0, 0, 0, 3 + data.length, unitId, 3, data.length, ...data));
  }
}

function kindOf(outcomes: readonly Outcome[]): string {
  const [outcome] = outcomes;
  assert.ok(outcomes.length <= 1, 'settled twice');
  if (outcome === undefined) return 'pending';
  return outcome instanceof Uint8Array ? 'answer' : outcome.kind;
}

test('answers find their requests by transaction identifier, in any order and any pieces', () => {
  const order = fc.shuffledSubarray([0, 1, 2, 3, 4, 5, 6, 7], { minLength: 8 });
  fc.assert(
    fc.property(
      order,
      fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 20 }),
      (turns, cuts) => {
        const rig = new Rig({ window: 8 });
        const all = turns.map((_, index) => rig.read(index * 10, 1 + index));
        const stream = Uint8Array.from(turns.flatMap((index) => [...rig.answer(index)]));
        for (let at = 0, turn = 0; at < stream.length; turn += 1) {
          const size = cuts[turn % cuts.length] ?? 1;
          rig.receive(stream.subarray(at, at + size));
          at += size;
        }
        all.forEach((outcomes, index) => {
          const expected = rig.answer(index).subarray(7);
          assert.deepEqual(outcomes, [expected]);
        });
        assert.deepEqual(rig.faults, []);
      },
    ),
    { numRuns: 200 },
  );
});

test('no more requests are under way than the window allows', () => {
  const rig = new Rig({ window: 2 });
  for (let count = 0; count < 5; count += 1) rig.read(count);
  assert.equal(rig.sent.length, 2);
  rig.receive(rig.answer(1));
  assert.equal(rig.sent.length, 3);
});

test('a pause is kept between the end of one exchange and the start of the next', () => {
  const rig = new Rig({ paceMs: 50 });
  rig.read(0);
  rig.read(1);
  rig.receive(rig.answer(0));
  rig.clock.advance(49);
  assert.equal(rig.sent.length, 1);
  rig.clock.advance(2);
  assert.equal(rig.sent.length, 2);
});

test('a late answer is dropped, by one, by 256 and by 65536 requests', () => {
  for (const behind of [1, 256, 65_536]) {
    const rig = new Rig();
    const first = rig.read(0);
    const late = rig.answer(0);
    rig.clock.advance(TIMEOUT_MS + 1);
    assert.equal(kindOf(first), 'timeout');
    for (let count = 1; count < behind; count += 1) {
      rig.read(count & 0xfff);
      rig.receive(rig.answer(count));
    }
    const next = rig.read(7);
    rig.receive(late);
    assert.equal(kindOf(next), 'pending', `behind by ${behind}`);
    assert.equal(rig.discards.at(-1), 'late');
    rig.receive(rig.answer(behind));
    assert.equal(kindOf(next), 'answer');
  }
});

test('what a gateway says late of a unit that it does not reach is not told as words of that unit', () => {
  for (const code of [2, 10, 11]) {
    const rig = new Rig();
    rig.read(0);
    const late = rig.answer(0, ([high = 0, low = 0]) => Uint8Array.of(high, low, 0, 0, 0, 3, 1, 0x83, code));
    rig.clock.advance(TIMEOUT_MS + 1);
    rig.receive(late);
    assert.deepEqual([rig.discards, rig.speakers], [['late'], [code === 2 ? 1 : undefined]]);
  }
});

test('an identifier that was not answered is not used again on the connection', () => {
  const rig = new Rig();
  rig.read(0);
  const unanswered = ((rig.sent[0]?.[0] ?? 0) << 8) | (rig.sent[0]?.[1] ?? 0);
  rig.clock.advance(TIMEOUT_MS + 1);
  for (let count = 1; count < 66_000; count += 1) {
    rig.read(0);
    const frame = rig.sent.pop();
    assert.notEqual(((frame?.[0] ?? 0) << 8) | (frame?.[1] ?? 0), unanswered);
    if (frame !== undefined) rig.sent[1] = frame;
    rig.receive(rig.answer(1));
  }
});

test('an answer repeated is no answer to anything', () => {
  const rig = new Rig();
  const first = rig.read(0);
  rig.receive(rig.answer(0), rig.answer(0));
  const second = rig.read(20);
  rig.receive(rig.answer(0));
  assert.equal(kindOf(second), 'pending');
  rig.receive(rig.answer(1));
  assert.equal(kindOf(first), 'answer');
  assert.deepEqual(second, [rig.answer(1).subarray(7)]);
});

const set = (at: number, byte: number) => (frame: Uint8Array) => {
  frame[at] = byte;
  return frame;
};

for (const [name, change] of [
  ['another unit', set(6, 9)],
  ['another function', set(7, 4)],
  ['a smaller byte count', (frame: Uint8Array) => Uint8Array.of(...frame.slice(0, 5), 5, 1, 3, 2, 1, 1)],
  ['a byte count that is not true', set(8, 2)],
  [
    'a larger byte count',
    (frame: Uint8Array) => Uint8Array.of(...frame.slice(0, 5), 9, 1, 3, 6, 1, 1, 1, 1, 1, 1),
  ],
  [
    'an exception that is too long',
    (frame: Uint8Array) => Uint8Array.of(...frame.slice(0, 5), 4, 1, 0x83, 2, 2),
  ],
] as const) {
  test(`an answer with ${name} is a mismatch, and the connection goes on`, () => {
    const rig = new Rig();
    const outcomes = rig.read(0);
    rig.receive(rig.answer(0, change));
    assert.equal(kindOf(outcomes), 'mismatch');
    assert.deepEqual(rig.faults, []);
    const next = rig.read(1);
    rig.receive(rig.answer(1));
    assert.equal(kindOf(next), 'answer');
  });
}

for (const [name, bytes] of [
  ['another protocol identifier', (frame: Uint8Array) => set(3, 1)(frame)],
  ['a length of 65535', (frame: Uint8Array) => set(5, 0xff)(set(4, 0xff)(frame))],
  ['a length of 1', (frame: Uint8Array) => set(5, 1)(frame)],
  ['a length of 255', (frame: Uint8Array) => set(5, 255)(frame)],
  ['garbage before it', (frame: Uint8Array) => Uint8Array.of(0xde, 0xad, 0xbe, 0xef, ...frame)],
] as const) {
  test(`a frame with ${name} ends the connection and all that is under way`, () => {
    for (const piece of [1, 300]) {
      const rig = new Rig({ window: 2 });
      const outcomes = [rig.read(0), rig.read(1)];
      const frame = rig.answer(0, bytes);
      for (let at = 0; at < frame.length && rig.faults.length === 0; at += piece)
        rig.receive(frame.subarray(at, at + piece));
      assert.equal(rig.faults.length, 1);
      assert.deepEqual(outcomes.map(kindOf), ['framing', 'framing']);
    }
  });
}

test('bytes behind an answer, when nothing is awaited, swallow nothing and end no connection', () => {
  for (const extra of [[0x55], [0x55, 0x55], [0, 0], [0xde, 0xad, 0xbe, 0xef, 1, 2], [0, 0, 0, 0, 0, 6, 1]]) {
    for (const isBehind of [true, false]) {
      const rig = new Rig();
      for (let address = 0; address < 3; address += 1) {
        const outcomes = rig.read(address);
        const answer = rig.answer(address);
        if (isBehind) rig.receive(Uint8Array.of(...answer, ...extra));
        else rig.receive(answer, Uint8Array.from(extra));
        assert.equal(kindOf(outcomes), 'answer');
      }
      assert.deepEqual([rig.faults, rig.discards], [[], ['noise', 'noise', 'noise']]);
    }
  }
});

/** What devices send behind their answers: a checksum, padding. */
const STRAY = [[0x55], [0x12, 0x34], [0, 0], [0, 0, 0, 0, 0], [0xde, 0xad, 0xbe, 0xef, 1, 2]];

test('bytes behind an answer, when the next is awaited already, swallow nothing and end no connection', () => {
  for (const stray of STRAY) {
    for (const size of [1, 4, 300]) {
      const rig = new Rig({ window: 4 });
      for (let address = 0; address < 3; address += 1) {
        const outcomes = rig.read(address);
        rig.receive(...piecesOf(Uint8Array.from(stray), size));
        rig.receive(...piecesOf(rig.answer(address), size));
        assert.deepEqual(outcomes, [rig.answer(address).subarray(7)], `${stray.join(' ')} by ${size}`);
      }
      assert.deepEqual(rig.faults, []);
      assert.ok(rig.discards.every((reason) => reason === 'noise'));
    }
  }
});

test('where a late answer may come bytes that begin none end the connection', () => {
  const rig = new Rig();
  rig.read(0);
  rig.clock.advance(TIMEOUT_MS + 1);
  rig.read(1);
  rig.receive(Uint8Array.of(0xde, 0xad, 0xbe, 0xef));
  assert.equal(rig.faults.length, 1);
});

test('a frame that is cut off ends the connection with its request', () => {
  const rig = new Rig();
  const outcomes = rig.read(0);
  rig.receive(rig.answer(0).subarray(0, 10));
  rig.clock.advance(TIMEOUT_MS + 1);
  assert.equal(kindOf(outcomes), 'timeout');
  assert.equal(rig.faults.length, 1);
});

test('a frame that is cut off is not filled up with the beginning of the next', () => {
  for (let missing = 1; missing <= 12; missing += 1) {
    for (const waitMs of [0, 60]) {
      const rig = new Rig({ window: 2 });
      const outcomes = [rig.read(0), rig.read(1)];
      const whole = rig.answer(0);
      rig.receive(whole.subarray(0, whole.length - missing));
      rig.clock.advance(waitMs);
      rig.receive(rig.answer(1));
      rig.clock.advance(TIMEOUT_MS + 60);
      for (const one of outcomes) assert.notEqual(kindOf(one), 'answer', `${missing} missing, ${waitMs} ms`);
      assert.equal(rig.faults.length, 1);
    }
  }
});

/** As many bytes at once. */
function piecesOf(bytes: Uint8Array, size: number): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += size) pieces.push(bytes.subarray(at, at + size));
  return pieces;
}

test('an answer whose last bytes were lost is not filled up with the first bytes of the next, however they come', () => {
  for (let missing = 1; missing <= 12; missing += 1) {
    for (const size of [1, 2, 3, 5, 7, 300]) {
      for (const waitMs of [0, 60]) {
        const rig = new Rig({ window: 2 });
        const outcomes = [rig.read(0, 8), rig.read(1)];
        const [first, second] = [rig.answer(0), rig.answer(1)];
        const filled = Uint8Array.of(
          ...first.subarray(0, first.length - missing),
          ...second.subarray(0, missing),
        );
        rig.receive(...piecesOf(filled, size));
        rig.clock.advance(waitMs);
        for (const piece of piecesOf(second.subarray(missing), size)) {
          if (rig.faults.length === 0) rig.receive(piece);
        }
        rig.clock.advance(TIMEOUT_MS + 60);
        const about = `${missing} missing, ${size} at once, ${waitMs} ms`;
        assert.notEqual(kindOf(outcomes[0] ?? []), 'answer', about);
        assert.equal(rig.faults.length, 1, about);
      }
    }
  }
});

/** An answer whose data ends with the first bytes of the answer to that request. */
function endingLike(rig: Rig, index: number, other: number, count: number): Uint8Array {
  return rig.answer(index, (frame) => {
    frame.set(rig.answer(other).subarray(0, count), frame.length - count);
    return frame;
  });
}

test('an answer that ends with what may begin another waits for the next one, and is told with its own time', () => {
  for (let count = 1; count <= 7; count += 1) {
    for (const size of [1, 4, 300]) {
      const rig = new Rig({ window: 2 });
      const outcomes = [rig.read(0, 8), rig.read(1)];
      const first = endingLike(rig, 0, 1, count);
      rig.receive(...piecesOf(first, size));
      assert.deepEqual(outcomes.map(kindOf), ['pending', 'pending']);
      rig.clock.advance(90);
      rig.receive(...piecesOf(rig.answer(1), size));
      assert.deepEqual(outcomes, [[first.subarray(7)], [rig.answer(1).subarray(7)]]);
      assert.deepEqual(rig.faults, []);
    }
  }
});

test('while one waits for the next another request may go', () => {
  const rig = new Rig({ window: 2 });
  const outcomes = [rig.read(0, 8), rig.read(1), rig.read(2), rig.read(3)];
  rig.receive(endingLike(rig, 0, 1, 2));
  assert.equal(rig.sent.length, 3);
  rig.receive(Uint8Array.of(...rig.answer(1), ...rig.answer(2)));
  assert.deepEqual(outcomes.map(kindOf), ['answer', 'answer', 'answer', 'pending']);
});

test('behind one that waits in vain the connection is made anew', () => {
  const rig = new Rig({ window: 2 });
  const outcomes = [rig.read(0, 8), rig.read(1)];
  rig.receive(endingLike(rig, 0, 1, 1));
  rig.clock.advance(TIMEOUT_MS + 5);
  assert.deepEqual(outcomes.map(kindOf), ['timeout', 'timeout']);
  assert.equal(rig.faults.length, 1);
});

test('where one request is under way and all others were answered no answer waits', () => {
  const rig = new Rig();
  const first = rig.read(0);
  rig.receive(rig.answer(0));
  const second = rig.read(1, 8);
  rig.receive(endingLike(rig, 1, 0, 2));
  assert.deepEqual([first, second].map(kindOf), ['answer', 'answer']);
});

test('an answer that ends like a late one is told when nothing comes behind it, and nobody hangs up', () => {
  for (const count of [1, 2, 7]) {
    for (const waitMs of [0, TIMEOUT_MS - 1]) {
      const rig = new Rig();
      const silent = rig.read(0, 8, 2);
      rig.clock.advance(TIMEOUT_MS + 5);
      const outcomes = rig.read(1, 8);
      rig.clock.advance(waitMs);
      const answer = endingLike(rig, 1, 0, count);
      rig.receive(answer);
      assert.equal(kindOf(outcomes), 'pending');
      rig.clock.advance(10);
      assert.deepEqual([kindOf(silent), outcomes], ['timeout', [answer.subarray(7)]]);
      assert.deepEqual(rig.faults, []);
    }
  }
});

test('an answer that lost its end to a late one is none', () => {
  const rig = new Rig();
  rig.read(0, 2, 2);
  rig.clock.advance(TIMEOUT_MS + 5);
  const outcomes = rig.read(1, 8);
  const late = rig.answer(0);
  rig.receive(endingLike(rig, 1, 0, 1));
  rig.clock.advance(2);
  rig.receive(late.subarray(1));
  rig.clock.advance(TIMEOUT_MS + 5);
  assert.notEqual(kindOf(outcomes), 'answer');
  assert.equal(rig.faults.length, 1);
});

test('a unit that has been silent for hours costs those behind the same address neither connections nor time', () => {
  const rig = new Rig();
  for (let count = 0; count < 5000; count += 1) {
    rig.read(0, 2, 2);
    rig.clock.advance(TIMEOUT_MS + 5);
  }
  assert.deepEqual(rig.faults, []);
  const silent = rig.sent.splice(0);
  rig.clock.advance(10_000);
  const first = rig.read(0);
  rig.receive(rig.answer(0, (frame) => frame.with(-1, silent[0]?.[0] ?? 0)));
  const second = rig.read(1);
  rig.receive(rig.answer(1, (frame) => (frame.set(silent.at(-1)?.subarray(0, 2) ?? [], 11), frame)));
  assert.deepEqual([first, second].map(kindOf), ['answer', 'answer']);
});

test('an exception is one, however its device counts its bytes', () => {
  for (const isDatagram of [false, true]) {
    for (const length of [2, 3, 4]) {
      for (const size of [1, 2, 300]) {
        if (isDatagram && size < 300) continue;
        const rig = new Rig({ isDatagram });
        const outcomes = rig.read(0);
        const [high = 0, low = 0] = rig.sent[0] ?? [];
        rig.receive(...piecesOf(Uint8Array.of(high, low, 0, 0, 0, length, 1, 0x83, 2), size));
        assert.deepEqual(outcomes, [Uint8Array.of(0x83, 2)], `${length} bytes, ${size} at once`);
        const next = rig.read(1);
        rig.receive(...piecesOf(rig.answer(1), size));
        assert.equal(kindOf(next), 'answer');
        assert.deepEqual([rig.faults, rig.discards], [[], []]);
      }
    }
  }
});

test('data that holds an identifier and zeros is no header', () => {
  const rig = new Rig({ window: 4 });
  const outcomes = [rig.read(0, 20), rig.read(1), rig.read(2), rig.read(3)];
  rig.receive(
    rig.answer(0, (frame) => {
      // 32-bit values, one of them in the thousands and others small.
      frame.fill(0, 9);
      frame.set(rig.answer(1).subarray(0, 2), 20);
      frame[25] = 100;
      frame[29] = 3;
      return frame;
    }),
  );
  rig.receive(rig.answer(1), rig.answer(2), rig.answer(3));
  assert.deepEqual(outcomes.map(kindOf), ['answer', 'answer', 'answer', 'answer']);
  assert.deepEqual(rig.faults, []);
});

test('each request has its own deadline', () => {
  const rig = new Rig({ window: 3 });
  const first = rig.read(0);
  rig.clock.advance(40);
  const second = rig.read(1);
  rig.clock.advance(61);
  assert.deepEqual([first, second].map(kindOf), ['timeout', 'pending']);
  rig.clock.advance(40);
  assert.equal(kindOf(second), 'timeout');
});

test('a short deadline is kept after a long one that was answered early', () => {
  const rig = new Rig();
  rig.read(0, 2, 1, 5000);
  rig.receive(rig.answer(0));
  const outcomes = rig.read(1, 2, 1, 50);
  rig.clock.advance(51);
  assert.equal(kindOf(outcomes), 'timeout');
});

test('a datagram that is no frame is dropped, and nothing else happens', () => {
  const rig = new Rig({ isDatagram: true });
  const outcomes = rig.read(0);
  rig.receive(Uint8Array.of(1, 2, 3), rig.answer(0).subarray(0, 9), Uint8Array.of(...rig.answer(0), 0));
  assert.equal(kindOf(outcomes), 'pending');
  rig.receive(rig.answer(0));
  assert.equal(kindOf(outcomes), 'answer');
  assert.deepEqual(rig.faults, []);
});

test('whatever bytes come, nothing throws and no wrong value comes out', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 8 }), fc.nat(6), (pieces, keep) => {
      const rig = new Rig({ window: 4 });
      const all = [rig.read(0), rig.read(1), rig.read(2)];
      // Behind a whole header any bytes would do: nothing but the header tells what an answer is.
      rig.receive(rig.answer(0).subarray(0, keep));
      for (const piece of pieces) {
        if (rig.faults.length > 0) break;
        rig.receive(piece);
      }
      rig.clock.advance(TIMEOUT_MS + 1);
      all.forEach((outcomes, index) => {
        assert.equal(outcomes.length, 1);
        if (outcomes[0] instanceof Uint8Array) assert.deepEqual(outcomes[0], rig.answer(index).subarray(7));
      });
    }),
    { numRuns: 500 },
  );
});

test('a datagram that comes twice is no reason to ask one thing at a time', () => {
  const rig = new Rig({ window: 2, isDatagram: true });
  rig.read(0);
  rig.receive(rig.answer(0), rig.answer(0));
  rig.read(1);
  rig.read(2);
  assert.equal(rig.sent.length, 3);
  assert.deepEqual(rig.discards, ['transaction']);
});

test('a peer that answers in disorder is asked one thing at a time for a while, longer if it goes on', () => {
  const rig = new Rig({ window: 4 });
  /** How many requests are under way when four want to go. */
  const underWay = (): number => {
    const from = rig.sent.length;
    for (let address = 0; address < 4; address += 1) rig.read(address);
    const count = rig.sent.length - from;
    for (let index = from; index < rig.sent.length; index += 1) rig.receive(rig.answer(index));
    return count;
  };
  assert.equal(underWay(), 4);
  rig.read(0);
  rig.receive(rig.answer(rig.sent.length - 1, set(6, 9)));
  assert.equal(underWay(), 1);
  rig.clock.advance(4900);
  assert.equal(underWay(), 1);
  rig.clock.advance(200);
  assert.equal(underWay(), 4);
  rig.receive(set(0, 0x11)(rig.answer(0)));
  rig.clock.advance(5100);
  assert.equal(underWay(), 1);
  rig.clock.advance(5000);
  assert.equal(underWay(), 4);
});

test('a peer that hangs up on a second request gets one at a time when it is back', () => {
  const rig = new Rig({ window: 4 });
  rig.read(0);
  rig.read(1);
  rig.transport.disconnected(RESET, true);
  rig.transport.connected();
  const from = rig.sent.length;
  for (let address = 0; address < 4; address += 1) rig.read(address);
  assert.equal(rig.sent.length - from, 1);
});

/** How many of four requests go at once; they are answered one after the other. */
function underWay(rig: Rig): number {
  let from = rig.sent.length;
  for (let address = 0; address < 4; address += 1) rig.read(address);
  const count = rig.sent.length - from;
  for (; from < rig.sent.length; from += 1) rig.receive(rig.answer(from));
  return count;
}

test('one that hung up on the first two together and then answers single ones gets them one at a time for good', () => {
  const rig = new Rig({ window: 4 });
  rig.read(0);
  rig.read(1);
  rig.transport.disconnected(RESET, true);
  assert.equal(rig.oneAtATimeCount, 0, 'perhaps it does not stand single ones either');
  rig.transport.connected();
  for (let minute = 0; minute < 20; minute += 1) {
    assert.equal(underWay(rig), 1);
    rig.clock.advance(60_000);
  }
  assert.equal(rig.oneAtATimeCount, 1);
});

test('who hangs up on single requests too, or stood many together before, or from whom we parted, is asked several again', () => {
  const parts: readonly ((rig: Rig) => void)[] = [
    (rig) => {
      rig.transport.disconnected(RESET, true);
      rig.transport.connected();
      rig.read(0);
      rig.transport.disconnected(RESET, true);
    },
    (rig) => {
      // One of the two is never answered, alone or not: what the other one was says nothing.
      rig.transport.disconnected(RESET, true);
      rig.transport.connected();
      rig.read(1);
      rig.receive(rig.answer(rig.sent.length - 1));
      rig.read(0);
      rig.transport.disconnected(RESET, true);
    },
    (rig) => rig.transport.disconnected(RESET, false),
    (rig) => {
      rig.clock.advance(2000);
      rig.transport.disconnected(RESET, true);
    },
  ];
  for (const [index, part] of parts.entries()) {
    const rig = new Rig({ window: 4 });
    for (const address of [0, 1]) rig.read(address, 2, 1, 5000);
    part(rig);
    rig.transport.connected();
    assert.equal(underWay(rig), 1, `${index}`);
    rig.clock.advance(61_000);
    assert.equal(underWay(rig), 4, `${index}`);
    assert.equal(rig.oneAtATimeCount, 0);
  }
  const rig = new Rig({ window: 4 });
  for (let round = 0; round < 8; round += 1) assert.equal(underWay(rig), 4);
  rig.read(0);
  rig.read(1);
  rig.transport.disconnected(RESET, true);
  rig.transport.connected();
  assert.equal(underWay(rig), 1);
  assert.equal(rig.oneAtATimeCount, 0);
});

test('what is known beforehand to be asked one at a time is', () => {
  const rig = new Rig({ window: 4 });
  rig.transport.oneAtATime();
  assert.equal(underWay(rig), 1);
});

test('bytes that stand where the end of an answer was lost, and the next one behind them, are no answer', () => {
  const rig = new Rig({ window: 4 });
  // The peer has shown before that it sends what nobody asked for.
  rig.receive(set(0, 0x11)(rig.answer(0)));
  rig.clock.advance(5100);
  const outcomes = [rig.read(0), rig.read(1)];
  const whole = rig.answer(0);
  rig.receive(whole.subarray(0, whole.length - 3), Uint8Array.of(7, 7, 7, ...rig.answer(1)));
  assert.deepEqual(outcomes.map(kindOf), ['mismatch', 'answer']);
});

test('an identifier that was given up on one connection is nobody the next one waits for', () => {
  const rig = new Rig();
  const outcomes = rig.read(0);
  rig.clock.advance(TIMEOUT_MS + 10);
  assert.equal(kindOf(outcomes), 'timeout');
  const late = rig.answer(0);
  rig.transport.disconnected(RESET, true);
  rig.transport.connected();
  rig.read(5);
  rig.receive(late);
  assert.deepEqual(rig.discards, ['transaction']);
});
