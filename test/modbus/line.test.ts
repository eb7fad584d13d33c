import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Exchange } from '../../src/modbus/exchange.js';
import type { ModbusError } from '../../src/modbus/exchange.js';
import { Line } from '../../src/modbus/line.js';
import type { LineSettings } from '../../src/modbus/line.js';
import { AsciiFraming } from '../../src/modbus/ascii.js';
import { RtuFraming } from '../../src/modbus/rtu.js';
import { ManualClock } from '../support/clock.js';
import { adu, FAULTS, VirtualLine, seeded } from '../support/virtualline.js';
import type { Fault, LinePhysics } from '../support/virtualline.js';

const CHARACTER_MS = 10 / 115.2;
const TIMEOUT_MS = 100;
const SETTINGS: LineSettings = {
  characterMs: CHARACTER_MS,
  silenceMs: 1.75,
  paceMs: 0,
  turnaroundMs: 20,
  hasEcho: false,
  lateMs: 500,
  listenMs: 500,
};

interface Outcome {
  readonly data: Uint8Array | null;
  readonly error: ModbusError | null;
  readonly sentAtMs: number;
  readonly atMs: number;
}

/** A line, a bus full of units, and a master that asks them. */
class Rig {
  readonly clock = new ManualClock();
  readonly random: () => number;
  readonly units: VirtualLine;
  readonly line: Line;

  constructor(seed: number, settings: Partial<LineSettings> = {}, physics: Partial<LinePhysics> = {}) {
    const random = seeded(seed);
    this.random = random;
    this.units = new VirtualLine(this.clock, {
      characterMs: CHARACTER_MS,
      silenceMs: 1.75,
      turnaroundMs: 2,
      lateByMs: () => TIMEOUT_MS + 10 + random() * 200,
      pieceBytes: () => 300,
      random,
      ...physics,
    });
    this.line = new Line(new RtuFraming(), { ...SETTINGS, ...settings }, this.clock, this.units);
    this.units.line = this.line;
    this.line.connected(false);
  }

  /** Asks, and moves time until it is settled. */
  ask(unitId: number, pdu: readonly number[], timeoutMs = TIMEOUT_MS, isBroadcast = false): Outcome {
    let outcome: Outcome | null = null;
    const settle = (exchange: Exchange, data: Uint8Array | null, error: ModbusError | null, atMs: number) => {
      assert.equal(outcome, null, 'settled twice');
      outcome = { data, error, sentAtMs: exchange.sentAtMs, atMs };
    };
    const owner = {
      answered: (exchange: Exchange, bytes: Uint8Array, start: number, end: number, atMs: number) => {
        const pdu = bytes.slice(start, end);
        const [code = 0, exception = 0] = pdu;
        if (code < 0x80) settle(exchange, pdu, null, atMs);
        else settle(exchange, null, { kind: 'exception', exception, text: '' }, atMs);
      },
      failed: (exchange: Exchange, error: ModbusError, atMs: number) => settle(exchange, null, error, atMs),
    };
    this.line.submit(new Exchange(owner, unitId, Uint8Array.from(pdu), timeoutMs, isBroadcast));
    for (let waited = 0; outcome === null; waited += 1) {
      assert.ok(waited < 20_000, 'not settled in time');
      this.clock.advance(0.5);
    }
    return outcome;
  }

  read(unitId: number, address: number, quantity: number): Outcome {
    return this.ask(unitId, [3, address >> 8, address & 0xff, 0, quantity]);
  }
}

function once(fault: Fault): () => Fault | null {
  let isDone = false;
  return () => {
    if (isDone) return null;
    isDone = true;
    return fault;
  };
}

test('an answer is taken whole, in pieces and byte by byte', () => {
  for (const piece of [1, 2, 7, 300]) {
    const rig = new Rig(1, {}, { pieceBytes: () => piece });
    const { data } = rig.read(1, 0, 20);
    assert.deepEqual(data?.subarray(2), rig.units.answers.get(1));
  }
});

test('silence is kept before every request, from the last byte in either direction', () => {
  const rig = new Rig(2);
  for (let count = 0; count < 50; count += 1) rig.read(1 + (count % 3), 0, 1 + (count % 20));
  assert.equal(rig.units.violationCount, 0);
  // 13 + 2n characters, silence twice, and the unit's two milliseconds: nothing else.
  const started = rig.clock.monotonicMs();
  for (let count = 0; count < 100; count += 1) rig.read(1, 0, 10);
  const tookMs = (rig.clock.monotonicMs() - started) / 100;
  const physicsMs = 33 * CHARACTER_MS + 2 * 1.75 + 2;
  // The test itself looks every half millisecond.
  assert.ok(tookMs < physicsMs + 0.6, `${tookMs} ms a request instead of ${physicsMs}`);
});

test('after a timeout the late answer is never the next one of the same shape, whatever its address', () => {
  const rig = new Rig(3);
  rig.units.nextFault = once('late');
  assert.equal(rig.read(1, 0, 20).error?.kind, 'timeout');
  const next = rig.read(1, 200, 20);
  assert.deepEqual(next.data?.subarray(2), rig.units.answers.get(2));
  assert.ok((rig.units.discardedReasons.get('late') ?? 0) > 0);
});

test('a unit that answers when that was not to be expected any more is waited for so long after the next timeout', () => {
  for (const isLineIdle of [true, false]) {
    const rig = new Rig(16, {}, { lateByMs: () => 900 });
    rig.units.nextFault = once('late');
    assert.equal(rig.read(1, 0, 20).error?.kind, 'timeout');
    // The answer comes when nobody is asked, or while another is, whose answer it cannot be.
    rig.units.nextFault = () => null;
    if (isLineIdle) rig.clock.advance(1000);
    else for (let count = 0; count < 150; count += 1) assert.ok(rig.read(2, count, 30).data !== null);
    rig.units.nextFault = once('late');
    const second = rig.read(1, 0, 20);
    assert.equal(second.error?.kind, 'timeout');
    const heldMs = rig.line.heldUntilMs(1, Uint8Array.of(3, 0, 200, 0, 20)) - second.sentAtMs;
    assert.ok(heldMs > 900 && heldMs < 1500, `held for ${heldMs} ms`);
    const next = rig.read(1, 200, 20);
    assert.deepEqual(next.data?.subarray(2), rig.units.answers.get(rig.units.requestCount));
    const other = rig.read(2, 0, 20);
    assert.ok(other.data !== null);
  }
});

test('other units and other shapes go on at once after a timeout', () => {
  const rig = new Rig(4);
  rig.units.nextFault = once('silent');
  const silent = rig.read(1, 0, 20);
  assert.equal(silent.error?.kind, 'timeout');
  const pdu = Uint8Array.of(3, 0, 200, 0, 20);
  assert.ok(rig.line.heldUntilMs(1, pdu) > rig.clock.monotonicMs() + 300);
  assert.equal(rig.line.heldUntilMs(2, pdu), 0);
  assert.equal(rig.line.heldUntilMs(1, Uint8Array.of(3, 0, 200, 0, 19)), 0);
  const other = rig.read(2, 0, 20);
  assert.ok(other.data !== null && other.sentAtMs - silent.atMs < 5);
  assert.ok(rig.read(1, 0, 19).data !== null);
});

test('a request that is held lets those behind it pass', () => {
  const rig = new Rig(5);
  rig.units.nextFault = once('silent');
  rig.read(1, 0, 20);
  const order: number[] = [];
  const owner = {
    answered: (exchange: Exchange) => void order.push(exchange.unitId),
    failed: () => assert.fail('both are answered'),
  };
  for (const unitId of [1, 2])
    rig.line.submit(new Exchange(owner, unitId, Uint8Array.of(3, 0, 0, 0, 20), TIMEOUT_MS, false));
  rig.clock.advance(2000);
  assert.deepEqual(order, [2, 1]);
});

test('an exception that may be the late one is not believed while the request can still be answered', () => {
  const rig = new Rig(6);
  rig.units.nextFault = once('silent');
  rig.read(1, 0, 20);
  rig.units.nextFault = once('exception');
  const doubtful = rig.read(1, 0, 19);
  assert.equal(doubtful.error?.kind, 'exception');
  assert.ok(doubtful.atMs - doubtful.sentAtMs >= TIMEOUT_MS);
  rig.clock.advance(SETTINGS.lateMs);
  rig.units.nextFault = once('exception');
  const sure = rig.read(1, 0, 18);
  assert.ok(sure.atMs - sure.sentAtMs < 20);
});

test('of a unit that is known the right answer is awaited as long as it usually takes, then a doubtful exception is believed', () => {
  const rig = new Rig(16);
  for (let count = 0; count < 5; count += 1) rig.read(1, 0, 20);
  rig.units.nextFault = once('silent');
  rig.read(1, 0, 20);
  rig.units.nextFault = once('exception');
  const { error, atMs, sentAtMs } = rig.read(1, 0, 19);
  assert.equal(error?.kind, 'exception');
  assert.ok(atMs - sentAtMs < 20, `${atMs - sentAtMs} ms`);
  // The exception may have been that of the read before: its own answer may still come.
  assert.ok(rig.line.heldUntilMs(1, Uint8Array.of(3, 0, 50, 0, 19)) > atMs + TIMEOUT_MS / 2);
});

test('an answer that was garbled is not awaited to the end of its time', () => {
  const rig = new Rig(17);
  for (let count = 0; count < 5; count += 1) rig.read(1, 0, 20);
  rig.units.nextFault = once('noise');
  const { error, atMs, sentAtMs } = rig.ask(1, [3, 0, 0, 0, 20], 1000);
  assert.ok(error !== null && atMs - sentAtMs < 150, `${error?.kind} ${atMs - sentAtMs} ms`);
});

for (const [fault, kinds] of [
  ['truncated', ['framing', 'timeout', 'crc']],
  ['long-count', ['mismatch']],
  ['short-count', ['mismatch']],
  ['foreign-unit', ['mismatch']],
  ['foreign-function', ['mismatch']],
  ['noise', ['timeout', 'framing', 'crc']],
  ['crc', ['crc', 'framing', 'timeout', 'mismatch']],
] as const) {
  test(`an answer with the fault ${fault} is no value, and the next is right`, () => {
    for (let seed = 0; seed < 20; seed += 1) {
      const rig = new Rig(seed);
      rig.units.nextFault = once(fault);
      const { error } = rig.read(1, 0, 20);
      assert.ok(error !== null && (kinds as readonly string[]).includes(error.kind), JSON.stringify(error));
      assert.deepEqual(rig.read(1, 40, 20).data?.subarray(2), rig.units.answers.get(2));
    }
  });
}

for (const fault of ['garbage-before', 'split', 'duplicate', 'overlong'] as const) {
  test(`with the fault ${fault} the right answer is still found, and the next is its own`, () => {
    for (let seed = 0; seed < 20; seed += 1) {
      const rig = new Rig(seed);
      rig.units.nextFault = once(fault);
      assert.deepEqual(rig.read(1, 0, 20).data?.subarray(2), rig.units.answers.get(1));
      assert.deepEqual(rig.read(1, 40, 20).data?.subarray(2), rig.units.answers.get(2));
    }
  });
}

test('a broken answer ends its request soon, not at the timeout', () => {
  const rig = new Rig(7);
  rig.units.nextFault = once('foreign-unit');
  const { atMs, sentAtMs } = rig.ask(1, [3, 0, 0, 0, 20], 1000);
  assert.ok(atMs - sentAtMs < 80, `${atMs - sentAtMs} ms`);
});

test('an answer that has begun is waited for beyond the timeout', () => {
  const rig = new Rig(8, { characterMs: 10 / 9.6 }, { characterMs: 10 / 9.6, pieceBytes: () => 5 });
  const { data } = rig.ask(1, [3, 0, 0, 0, 100], 20);
  assert.deepEqual(data?.subarray(2), rig.units.answers.get(1));
});

test('behind a converter an answer may pause while it has time, and come as slowly as a slow line brings it; on a line of its own not', () => {
  const registers = Array.from({ length: 100 }, (_, index) => index);
  const answer = adu(1, [3, 200, ...registers.flatMap((word) => [0, word])]);
  /** Pieces of the answer, each so long after the one before it. */
  const ask = (characterMs: number, pieceBytes: number, pauseMs: number): Outcome => {
    const rig = new Rig(17, { characterMs, silenceMs: 4.1 });
    rig.units.nextFault = once('silent');
    for (let at = 0, ms = 20; at < answer.length; at += pieceBytes, ms += pauseMs) {
      const piece = answer.slice(at, at + pieceBytes);
      rig.clock.after(ms, () => {
        const nowMs = rig.clock.monotonicMs();
        rig.line.received(piece, nowMs, nowMs);
      });
    }
    return rig.ask(1, [3, 0, 0, 0, 100], 1000);
  };
  assert.deepEqual(ask(0, 120, 700).data, answer.subarray(1, -2));
  assert.deepEqual(ask(0, 8, 72).data, answer.subarray(1, -2));
  assert.equal(ask(CHARACTER_MS, 120, 700).error?.kind, 'framing');
  // What is cut off costs no more than its time.
  const cut = ask(0, 120, 5000);
  assert.equal(cut.error?.kind, 'framing');
  assert.ok(cut.atMs - cut.sentAtMs < 1003);
});

test('an echo is removed when it is configured, and noticed when it is not', () => {
  for (const hasEcho of [true, false]) {
    const rig = new Rig(9, { hasEcho }, { isEchoing: () => true });
    for (let count = 1; count <= 10; count += 1) {
      assert.deepEqual(rig.read(1, count, 5).data?.subarray(2), rig.units.answers.get(count));
    }
  }
});

test('the echo of a write is not its confirmation', () => {
  const rig = new Rig(10, { hasEcho: true }, { isEchoing: () => true });
  rig.units.nextFault = once('silent');
  assert.equal(rig.ask(1, [6, 0, 1, 0, 7]).error?.kind, 'timeout');
});

test('that nothing but a write came back is told, however it comes, and its confirmation behind it is taken', () => {
  const pdu = [16, 0, 10, 0, 2, 4, 0, 1, 0, 2];
  for (const size of [1, 3, 8, 300]) {
    for (const isConfirmed of [false, true]) {
      const rig = new Rig(10);
      rig.units.nextFault = once('silent');
      const bytes = [...adu(1, pdu), ...(isConfirmed ? adu(1, pdu.slice(0, 5)) : [])];
      for (let at = 0; at < bytes.length; at += size) {
        const piece = Uint8Array.from(bytes.slice(at, at + size));
        rig.clock.after(30 + at, () => {
          const nowMs = rig.clock.monotonicMs();
          rig.line.received(piece, nowMs, nowMs);
        });
      }
      const { data, error } = rig.ask(1, pdu);
      if (isConfirmed) assert.deepEqual(data, Uint8Array.from(pdu.slice(0, 5)), `${size} at once`);
      else assert.equal(error?.text, 'nothing but the request came back', `${size} at once`);
    }
  }
});

test('writes of the same registers, which are all answered alike, are confirmed however soon they follow each other', () => {
  const rig = new Rig(1);
  const startedMs = rig.clock.monotonicMs();
  for (let value = 0; value < 10; value += 1) {
    const outcome = rig.ask(1, [16, 0, 10, 0, 2, 4, 0, 1, 0, value]);
    assert.equal(outcome.error, null, `${value}: ${outcome.error?.text}`);
  }
  assert.ok(rig.clock.monotonicMs() - startedMs < 150);
});

test('a request that came back once is no reason to take the answers to later writes for echoes', () => {
  const write = [6, 0, 1, 0, 7];
  const rig = new Rig(11, {}, { isEchoing: () => isEchoing });
  let isEchoing = true;
  assert.ok(rig.read(1, 0, 5).data !== null);
  isEchoing = false;
  assert.ok(rig.ask(1, write).data !== null);
  // Learnt from several, it is forgotten when a read is answered without, and when the line is made anew.
  const learn = (): void => {
    isEchoing = true;
    for (let count = 0; count < 5; count += 1) rig.read(1, 0, 5);
    rig.units.nextFault = once('silent');
    assert.equal(rig.ask(1, write).error?.kind, 'timeout');
    rig.clock.advance(1000);
    isEchoing = false;
  };
  learn();
  assert.ok(rig.read(1, 0, 5).data !== null);
  assert.ok(rig.ask(1, write).data !== null);
  learn();
  rig.line.disconnected({ kind: 'closed', exception: 0, text: 'unplugged' });
  rig.line.connected(false);
  assert.ok(rig.ask(1, write).data !== null);
});

test('who wants the line cuts short what waits longer than usual, and nothing else', () => {
  for (const [hurryMs, yieldMs, endMs] of [
    [3, 10, 10],
    [50, 10, 50],
    [50, TIMEOUT_MS, TIMEOUT_MS],
  ] as const) {
    const rig = new Rig(15, { characterMs: 0 });
    rig.units.nextFault = once('silent');
    let failedAtMs = 0;
    const owner = {
      answered: () => assert.fail('nobody answers'),
      failed: (_exchange: Exchange, _error: ModbusError, atMs: number) => void (failedAtMs = atMs),
    };
    rig.clock.advance(5);
    const sentAtMs = rig.clock.monotonicMs();
    rig.line.submit(new Exchange(owner, 1, Uint8Array.of(3, 0, 0, 0, 2), TIMEOUT_MS, false, yieldMs));
    rig.clock.advance(hurryMs);
    rig.line.hurry();
    rig.clock.advance(TIMEOUT_MS);
    assert.ok(Math.abs(failedAtMs - sentAtMs - endMs) < 2, `${failedAtMs - sentAtMs} ms`);
  }
});

test('what waited for the line until it was too late is not sent, and does not hold up what is behind it', () => {
  const rig = new Rig(21);
  rig.units.nextFault = once('silent');
  const outcomes: string[] = [];
  const submit = (name: string, unitId: number, sendByMs: number): void => {
    const owner = {
      answered: () => void outcomes.push(name),
      failed: (_exchange: Exchange, error: ModbusError) => void outcomes.push(`${name}: ${error.kind}`),
    };
    const exchange = new Exchange(owner, unitId, Uint8Array.of(6, 0, 5, 0, 9), TIMEOUT_MS, false);
    exchange.sendByMs = sendByMs;
    rig.line.submit(exchange);
  };
  submit('first', 1, Infinity);
  submit('in time', 2, rig.clock.monotonicMs() + TIMEOUT_MS + 50);
  submit('too late', 2, rig.clock.monotonicMs() + TIMEOUT_MS - 50);
  submit('behind', 3, Infinity);
  rig.clock.advance(TIMEOUT_MS + 100);
  assert.deepEqual(outcomes, ['first: timeout', 'in time', 'too late: closed', 'behind']);
  assert.equal(rig.units.requestCount, 3);
});

test('a broadcast takes its turnaround and no answer', () => {
  const rig = new Rig(11);
  rig.units.nextFault = () => 'silent';
  const { data, error, atMs, sentAtMs } = rig.ask(0, [6, 0, 1, 0, 7], TIMEOUT_MS, true);
  assert.equal(error, null);
  assert.equal(data?.length, 0);
  const expectedMs = 8 * CHARACTER_MS + SETTINGS.turnaroundMs;
  assert.ok(Math.abs(atMs - sentAtMs - expectedMs) < 0.1);
});

test('a line that is never silent fails a request instead of keeping it', () => {
  const rig = new Rig(12);
  let isBabbling = true;
  const babble = (): void => {
    rig.line.received(Uint8Array.of(0x55), rig.clock.monotonicMs(), rig.clock.monotonicMs());
    if (isBabbling) rig.clock.after(1, babble);
  };
  babble();
  assert.equal(rig.read(1, 0, 5).error?.kind, 'timeout');
  isBabbling = false;
  rig.clock.advance(5);
  assert.ok(rig.read(1, 0, 5).data !== null);
});

test('the answer to what was asked by whoever had the line before is nobody’s', () => {
  const rig = new Rig(12);
  rig.line.disconnected({ kind: 'closed', exception: 0, text: 'reload' });
  rig.line.connected(true);
  const openedAtMs = rig.clock.monotonicMs();
  rig.clock.after(300, () => {
    const nowMs = rig.clock.monotonicMs();
    rig.line.received(adu(1, [3, 4, 0, 66, 0, 66]), nowMs, nowMs);
  });
  const { data, sentAtMs } = rig.read(1, 0, 2);
  assert.deepEqual(data?.subarray(2), rig.units.answers.get(1));
  assert.ok(
    sentAtMs - openedAtMs >= 300 && sentAtMs - openedAtMs < 1000,
    `asked after ${sentAtMs - openedAtMs} ms`,
  );
  // A line that was lost for a moment was nobody else's: its own requests are known, and there is nothing to wait for.
  rig.line.disconnected({ kind: 'closed', exception: 0, text: 'unplugged' });
  rig.line.connected(false);
  const againAtMs = rig.clock.monotonicMs();
  assert.ok(rig.read(1, 0, 2).sentAtMs - againAtMs < 10);
});

test('what was not answered before the line changes hands is no answer to its next owner', () => {
  const before = new Rig(12);
  before.units.nextFault = once('silent');
  assert.equal(before.read(1, 0, 2).error?.kind, 'timeout');
  before.line.disconnected({ kind: 'closed', exception: 0, text: 'reload' });
  const { line, clock } = new Rig(12);
  line.owe(before.line.owed);
  assert.ok(line.heldUntilMs(1, Uint8Array.of(3, 0, 9, 0, 2)) > SETTINGS.lateMs);
  assert.equal(line.heldUntilMs(1, Uint8Array.of(3, 0, 9, 0, 3)), 0);
  line.received(adu(1, [3, 4, 0, 66, 0, 66]), clock.monotonicMs(), clock.monotonicMs());
  assert.equal(line.heldUntilMs(1, Uint8Array.of(3, 0, 9, 0, 2)), 0);
});

test('what another master asks and is answered is no answer to us, though it is as long', () => {
  const rig = new Rig(12);
  const { clock, line, units } = rig;
  const hear = (bytes: Uint8Array): void => line.received(bytes, clock.monotonicMs(), clock.monotonicMs());
  const [question, answer] = [adu(1, [3, 1, 244, 0, 2]), adu(1, [3, 4, 0, 66, 0, 66])];
  // Before we ask: his answer passes first.
  hear(question);
  clock.after(40, () => hear(answer));
  const askedAtMs = clock.monotonicMs();
  const { data, sentAtMs } = rig.read(1, 0, 2);
  assert.deepEqual(data?.subarray(2), units.answers.get(1));
  assert.ok(sentAtMs - askedAtMs >= 40 && sentAtMs - askedAtMs < 50, `${sentAtMs - askedAtMs} ms`);
  // At the same time: the unit heard him and not us.
  units.nextFault = once('silent');
  clock.after(4, () => hear(question));
  clock.after(8, () => hear(answer));
  assert.equal(rig.read(1, 0, 2).error?.kind, 'timeout');
  assert.equal(units.discardedReasons.get('foreign'), 2 * question.length + answer.length);
  // A unit that he asks in vain holds nobody up for long.
  hear(adu(7, [3, 1, 244, 0, 2]));
  const vainAtMs = clock.monotonicMs();
  assert.ok(rig.read(2, 0, 2).sentAtMs - vainAtMs <= SETTINGS.listenMs + 1);
});

test('what waits for the answer to another master goes right behind it where frames need no silence between them', () => {
  const clock = new ManualClock();
  const framing = new AsciiFraming();
  let sentCount = 0;
  const host = {
    write: () => void (sentCount += 1),
    fault: () => assert.fail(),
    discarded: () => {},
    isOneAtATime: () => {},
    frame: null,
  };
  const line = new Line(framing, { ...SETTINGS, silenceMs: 0 }, clock, host);
  const hear = (unitId: number, pdu: readonly number[]): void =>
    line.received(framing.encode(unitId, Uint8Array.from(pdu)), clock.monotonicMs(), clock.monotonicMs());
  line.connected(false);
  for (let count = 1; count <= 3; count += 1) {
    hear(7, [3, 1, 244, 0, 2]);
    let answer: Uint8Array | null = null;
    const owner = {
      answered: (_: Exchange, bytes: Uint8Array, start: number, end: number) =>
        void (answer = bytes.slice(start, end)),
      failed: (_: Exchange, error: ModbusError) => assert.fail(error.text),
    };
    line.submit(new Exchange(owner, 1, Uint8Array.of(3, 0, 0, 0, 1), TIMEOUT_MS, false));
    assert.equal(sentCount, count - 1);
    hear(7, [3, 4, 0, 66, 0, 66]);
    assert.equal(sentCount, count);
    clock.advance(10);
    hear(1, [3, 2, 0, count]);
    assert.deepEqual(answer, Uint8Array.of(3, 2, 0, count));
    clock.advance(10);
  }
});

test('another master who lost one answer and asks for as much again and again starves nobody of his turn', () => {
  const rig = new Rig(18);
  const { clock, line } = rig;
  const hear = (bytes: Uint8Array): void => line.received(bytes, clock.monotonicMs(), clock.monotonicMs());
  const question = adu(1, [3, 1, 244, 0, 2]);
  hear(question);
  for (let ms = 100; ms < 10_000; ms += 100) {
    clock.after(ms, () => hear(question));
    clock.after(ms + 15, () => hear(adu(1, [3, 4, 0, 66, 0, 66])));
  }
  clock.advance(50);
  const askedAtMs = clock.monotonicMs();
  const { data, sentAtMs } = rig.read(1, 0, 2);
  assert.deepEqual(data?.subarray(2), rig.units.answers.get(1));
  assert.ok(sentAtMs - askedAtMs <= SETTINGS.lateMs, `after ${sentAtMs - askedAtMs} ms`);
});

test('our own request that comes back unannounced is nobody else’s', () => {
  const rig = new Rig(12, {}, { isEchoing: () => true });
  assert.ok(rig.ask(1, [16, 0, 5, 0, 1, 2, 0, 9]).data !== null);
  assert.ok(rig.read(1, 0, 2).data !== null);
});

test('requests are told from answers, in RTU and in ASCII', () => {
  const cases: [pdu: number[], isRequest: boolean][] = [
    [[3, 1, 244, 0, 2], true],
    [[1, 0, 0, 7, 208], true],
    [[16, 0, 5, 0, 1, 2, 0, 9], true],
    [[3, 4, 0, 66, 0, 66], false],
    [[3, 1, 244, 0, 200], false],
    [[6, 0, 5, 0, 9], false],
    [[0x83, 2], false],
  ];
  for (const framing of [new RtuFraming(), new AsciiFraming()]) {
    for (const [pdu, isRequest] of cases) {
      const frame = framing.encode(1, Uint8Array.from(pdu));
      assert.equal(framing.findRequest(frame, 0, frame.length), isRequest ? frame.length : 0, String(pdu));
    }
  }
});

test('when the port goes, everything fails at once', () => {
  const rig = new Rig(13);
  const kinds: string[] = [];
  const owner = {
    answered: () => assert.fail('nothing answers'),
    failed: (_exchange: Exchange, error: ModbusError) => void kinds.push(error.kind),
  };
  for (let count = 0; count < 3; count += 1)
    rig.line.submit(new Exchange(owner, 1, Uint8Array.of(3, 0, 0, 0, 2), TIMEOUT_MS, false));
  rig.line.disconnected({ kind: 'closed', exception: 0, text: 'unplugged' });
  assert.deepEqual(kinds, ['closed', 'closed', 'closed']);
  rig.line.connected(false);
  rig.clock.advance(1000);
  assert.ok(rig.read(1, 0, 2).data !== null);
});

test('after an answer that may have come once more the line is kept free until its own has come, whatever shape that has', () => {
  const rig = new Rig(14, { characterMs: 0, silenceMs: 0 });
  rig.units.nextFault = () => 'silent';
  const given: number[][] = [];
  const owner = {
    answered: (_exchange: Exchange, bytes: Uint8Array, start: number, end: number) =>
      void given.push([...bytes.subarray(start + 2, end)]),
    failed: (_exchange: Exchange, error: ModbusError) => assert.fail(error.text),
  };
  const ask = (address: number, quantity: number): void =>
    rig.line.submit(new Exchange(owner, 1, Uint8Array.of(3, 0, address, 0, quantity), TIMEOUT_MS, false));
  const answer = (afterMs: number, ...data: number[]): void => {
    rig.clock.advance(afterMs);
    const nowMs = rig.clock.monotonicMs();
    rig.line.received(adu(1, [3, data.length, ...data]), nowMs, nowMs);
  };
  for (const value of [1, 2, 3]) {
    ask(0, 2);
    answer(3, 0, value, 0, value);
  }
  answer(1, 0, 3, 0, 3);
  // The same request, settled by one more repetition: its own answer, in a wrong shape, comes after that.
  ask(0, 2);
  answer(1, 0, 3, 0, 3);
  assert.equal(given.length, 4);
  const { requestCount } = rig.units;
  ask(50, 3);
  answer(2, 9, 9, 9, 9, 9, 9);
  assert.equal(given.length, 4);
  assert.equal(rig.units.requestCount, requestCount, 'the line is kept free');
  rig.clock.advance(5);
  assert.equal(rig.units.requestCount, requestCount + 1);
  answer(3, 0, 7, 0, 7, 0, 7);
  assert.deepEqual(given.at(-1), [0, 7, 0, 7, 0, 7]);
});

test('what another request was given a moment ago is not taken for the answer to its like: that follows, or none came', () => {
  const rig = new Rig(20, { characterMs: 0, silenceMs: 0 });
  rig.units.nextFault = () => 'silent';
  const outcomes: (readonly number[] | string)[] = [];
  const owner = {
    answered: (_exchange: Exchange, bytes: Uint8Array, start: number, end: number) =>
      void outcomes.push([...bytes.subarray(start + 2, end)]),
    failed: (_exchange: Exchange, error: ModbusError) => void outcomes.push(error.kind),
  };
  const ask = (address: number): void =>
    rig.line.submit(new Exchange(owner, 1, Uint8Array.of(3, 0, address, 0, 2), TIMEOUT_MS, false));
  const answer = (...data: number[]): void => {
    rig.clock.advance(5);
    const nowMs = rig.clock.monotonicMs();
    rig.line.received(adu(1, [3, data.length, ...data]), nowMs, nowMs);
  };
  ask(0);
  answer(0, 1, 0, 2);
  ask(50);
  answer(0, 1, 0, 2);
  assert.equal(outcomes.length, 1);
  answer(0, 7, 0, 8);
  rig.clock.advance(2000);
  ask(50);
  answer(0, 7, 0, 9);
  ask(100);
  answer(0, 7, 0, 9);
  rig.clock.advance(TIMEOUT_MS + 1);
  assert.deepEqual(outcomes, [[0, 1, 0, 2], [0, 7, 0, 8], [0, 7, 0, 9], 'mismatch']); // prettier-ignore
  assert.equal(rig.units.discardedReasons.get('late'), 2 * adu(1, [3, 4, 0, 0, 0, 0]).length);
});

test('after a unit that answers twice the line is left alone until a second answer would have been heard of', () => {
  const rig = new Rig(19);
  const pauseAfter = (unitId: number): number => {
    const { atMs } = rig.read(unitId, 0, 20);
    return rig.read(3, 0, 20).sentAtMs - atMs;
  };
  const usualMs = pauseAfter(1);
  rig.units.nextFault = once('duplicate');
  rig.read(1, 0, 20);
  rig.clock.advance(20);
  assert.ok(pauseAfter(1) >= usualMs + 16 * CHARACTER_MS);
  assert.ok(pauseAfter(2) < usualMs + 1);
});

test('a pseudo-terminal without a line behind it, on which answers come at once and are the same again and again, costs next to no time-outs', () => {
  for (const [delays, most] of [
    [() => 0.2, 0],
    // About as long as the request would take on a line, now before and now after its end.
    [(random: number) => 5 + 7 * random, 8],
  ] as const) {
    const clock = new ManualClock();
    const random = seeded(18);
    const settings = { ...SETTINGS, characterMs: 10 / 9.6, silenceMs: 3.65 };
    const line: Line = new Line(new RtuFraming(), settings, clock, {
      frame: null,
      fault: () => assert.fail('a line has no stream'),
      discarded: () => {},
      isOneAtATime: () => {},
      write: ([unitId = 0]) =>
        void clock.after(delays(random()), () => {
          const nowMs = clock.monotonicMs();
          line.received(adu(unitId, [3, 4, 0, 7, 0, unitId]), nowMs, nowMs);
        }),
    });
    line.connected(false);
    let failedCount = 0;
    const owner = { answered: () => {}, failed: () => void (failedCount += 1) };
    for (let count = 0; count < 400; count += 1) {
      line.submit(new Exchange(owner, 1 + (count % 2), Uint8Array.of(3, 0, 0, 0, 2), TIMEOUT_MS, false));
      clock.advance(20);
      while (line.pendingCount > 0) clock.advance(1);
    }
    assert.ok(failedCount <= most, `${failedCount} of 400`);
  }
});

/** Units answer with any fault at any time; every value that comes out is the one given for that very request. */
function storm(
  seed: number,
  transactions: number,
  settings: Partial<LineSettings> = {},
): { faults: number; right: number; failed: number } {
  const pieces = seeded(seed);
  const rig = new Rig(seed, settings, { pieceBytes: () => 1 + Math.floor(pieces() * 60) });
  let isFaulty = true;
  rig.units.nextFault = () => {
    if (!isFaulty || rig.random() < 0.5) return null;
    return FAULTS[Math.floor(rig.random() * FAULTS.length)] ?? null;
  };
  let right = 0;
  let failed = 0;
  for (let count = 1; count <= transactions; count += 1) {
    const unitId = 1 + Math.floor(rig.random() * 4);
    const address = Math.floor(rig.random() * 10) * 20;
    const quantity = rig.random() < 0.7 ? 20 : 1 + Math.floor(rig.random() * 30);
    const { data, error } = rig.read(unitId, address, quantity);
    if (data === null) {
      failed += 1;
      assert.ok(error !== null);
      continue;
    }
    assert.deepEqual(
      data.subarray(2),
      rig.units.answers.get(rig.units.requestCount),
      `seed ${seed}, ${count}`,
    );
    rig.units.answers.clear();
    right += 1;
  }
  isFaulty = false;
  rig.clock.advance(1000);
  for (let unitId = 1; unitId <= 4; unitId += 1) assert.ok(rig.read(unitId, 0, 20).data !== null);
  return { faults: rig.units.faultCount, right, failed };
}

test('under every mix of faults no value is another answer, and all is right when they are over', () => {
  let total = 0;
  for (let seed = 1; seed <= 20; seed += 1) {
    const { faults, right, failed } = storm(seed, 300);
    total += right;
    assert.ok(faults > 50 && right > 50 && failed > 50);
  }
  assert.ok(total > 2000);
});

test('behind a converter, where the character time is not known, it is the same', () => {
  for (let seed = 1; seed <= 10; seed += 1) storm(seed, 300, { characterMs: 0, silenceMs: 4.1 });
});
