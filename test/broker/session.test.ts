import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import mqttPacket, { type Packet } from 'mqtt-packet';
import type { Owed } from '../../src/broker/commits.js';
import { Core } from '../../src/broker/core.js';
import { brokerCounters } from '../../src/broker/counters.js';
import { incomingOf } from '../../src/broker/incoming.js';
import { DEFAULT_LIMITS, type BrokerLimits } from '../../src/broker/limits.js';
import type { Link } from '../../src/broker/link.js';
import { Outbox } from '../../src/broker/outbox.js';
import type { Session } from '../../src/broker/session.js';
import { entryOf } from '../../src/broker/subscriptions.js';
import { steadyClock } from '../../src/clock.js';
import { silentLog } from '../../src/log.js';
import { Metrics } from '../../src/metrics.js';
import { MemoryStore } from '../../src/store/memory.js';
import { startBroker } from '../support/broker.js';
import { ManualClock } from '../support/clock.js';
import { MqttClient } from '../support/mqttclient.js';
import { acknowledge, PROPERTY, propertyOf } from '../support/wire.js';

const encoder = new TextEncoder();

function coreOf(limits: Partial<BrokerLimits> = {}): Core {
  const core = new Core({
    clock: steadyClock(new ManualClock()),
    log: silentLog,
    store: new MemoryStore(),
    counters: brokerCounters(new Metrics()),
    limits: { ...DEFAULT_LIMITS, ...limits },
    neverRetained: [],
    onOverflow: () => {},
  });
  core.restore({ sessions: [], retained: [], nextPosition: 1, nextSession: 1, clock: null });
  return core;
}

/** The connection of a test: what the session sends is taken apart and handed over. */
class TestLink implements Link {
  readonly version = 4;
  readonly outbox: Outbox;
  isFull = false;
  readonly maxPacketBytes: number;
  readonly receiveMaximum: number;
  readonly #session: Session;

  constructor(
    core: Core,
    session: Session,
    receiveMaximum: number,
    seen: (packet: Packet) => void,
    maxPacketBytes = Infinity,
  ) {
    this.receiveMaximum = receiveMaximum;
    this.maxPacketBytes = maxPacketBytes;
    this.#session = session;
    const parser = mqttPacket.parser({ protocolVersion: 4 });
    parser.on('packet', seen);
    const transport = {
      pendingBytes: 0,
      write: (bytes: Uint8Array) => (parser.parse(Buffer.from(bytes)), true),
      pause: () => {},
      resume: () => {},
      end: () => {},
      destroy: () => {},
    };
    this.outbox = new Outbox(transport, core.turns.arena, {
      becameDirty: (outbox) => core.turns.markDirty(outbox),
      beforeFlush: () => {
        if (session.link === this) session.pump();
      },
      wrote: () => {},
    });
  }

  aliasOf(): number {
    return 0;
  }

  noteAlias(): void {}

  settle(owed: Owed): boolean {
    if (this.#session.link !== this) return false;
    if (typeof owed === 'function') owed(true);
    else if (typeof owed !== 'number') {
      this.outbox.append(owed, 0, owed.length);
      this.#session.sendSettled();
    }
    return false;
  }
}

function publish(core: Core, topic: string, payload: string, qos: 0 | 1 | 2, expiresAtMs = 0): void {
  const bytes = encoder.encode(topic);
  const content = encoder.encode(payload);
  const route = core.routing.find(bytes, 0, bytes.length) ?? assert.fail(topic);
  const incoming = incomingOf(bytes, content, new Uint8Array(0), { expiresAtMs, qos });
  core.delivery.publish(incoming, route);
}

/** Lets commits and slices come in until nothing moves any more. */
async function settle(core: Core): Promise<void> {
  for (let i = 0; i < 8; i++) {
    core.turns.flush();
    await Promise.resolve();
    await Promise.resolve();
    await Promise.resolve();
  }
}

function kept(core: Core, expiryS: number): Session {
  const session = core.lifecycle.open('c', { user: '', groups: [], clientId: 'c' }, 4, expiryS);
  core.lifecycle.subscribe(session, 't', entryOf(session, { share: '', filter: 't' }, 2, 0));
  return session;
}

/** A client as the specification wants it: counts what is unacknowledged, knows duplicates of QoS 2. */
class Receiver {
  readonly got: { number: number; qos: number; dup: boolean }[] = [];
  /** Identifier -> number of the message, in order of arrival, on this connection. */
  readonly open = new Map<number, { number: number; state: 'publish' | 'released' }>();
  /** QoS 2 identifiers received and not released, over connections. */
  readonly known = new Map<number, number>();
  readonly sentAs = new Map<number, number>();
  receiveMaximum = 0;

  take(packet: Packet): void {
    if (packet.cmd === 'pubrel') {
      const id = packet.messageId ?? 0;
      this.open.set(id, { number: this.known.get(id) ?? -1, state: 'released' });
      return;
    }
    if (packet.cmd !== 'publish') return;
    const id = packet.messageId ?? 0;
    const number = Number(packet.payload.toString());
    assert.ok(!this.open.has(id), `identifier ${id} is in use`);
    const before = this.sentAs.get(number);
    if (before !== undefined)
      assert.ok(packet.dup && before === id, 'sent again under the same identifier, marked DUP');
    this.sentAs.set(number, id);
    this.open.set(id, { number, state: 'publish' });
    assert.ok(
      this.open.size <= this.receiveMaximum,
      `${this.open.size} in flight, ${this.receiveMaximum} allowed`,
    );
    if (packet.qos === 2) {
      if (this.known.has(id))
        return assert.equal(this.known.get(id), number, 'a duplicate is the same message');
      this.known.set(id, number);
    }
    this.got.push({ number, qos: packet.qos, dup: packet.dup });
  }

  /** Acknowledges one open exchange, in whatever state it is. */
  answer(session: Session, which: number): void {
    const ids = [...this.open.keys()];
    const id = ids[which % Math.max(1, ids.length)];
    if (id === undefined) return;
    const open = this.open.get(id) ?? assert.fail();
    if (open.state === 'released') {
      this.open.delete(id);
      this.known.delete(id);
      session.completed(id);
    } else if (this.known.has(id)) {
      assert.equal(session.received(id, 0), 0);
      this.open.set(id, { number: open.number, state: 'released' });
    } else {
      this.open.delete(id);
      session.acknowledged(id);
    }
  }
}

type Step =
  | { do: 'publish'; qos: 1 | 2 }
  | { do: 'connect'; receiveMaximum: number }
  | { do: 'cut' }
  | { do: 'answer'; which: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('publish' as const),
      qos: fc.constantFrom(1 as const, 2 as const),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('connect' as const),
      receiveMaximum: fc.constantFrom(1, 2, 5, 100),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('cut' as const) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('answer' as const), which: fc.nat(20) }) },
);

describe('a kept session', () => {
  test('delivers QoS 1 at least once and QoS 2 exactly once, in order, whatever is cut when', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 80 }), fc.array(fc.boolean()), async (steps, pauses) => {
        const core = coreOf();
        const session = kept(core, 1000);
        const receiver = new Receiver();
        const qosOf: number[] = [];
        const cut = (): void => {
          if (session.link !== null) core.lifecycle.leave(session);
          receiver.open.clear();
        };
        const connect = (receiveMaximum: number): void => {
          cut();
          receiver.receiveMaximum = receiveMaximum;
          core.lifecycle.resume(session, session.identity, 4, 1000);
          const link: TestLink = new TestLink(core, session, receiveMaximum, (packet) => {
            if (session.link === link) receiver.take(packet);
          });
          session.attach(link);
        };
        let index = 0;
        for (const one of steps) {
          if (one.do === 'publish') publish(core, 't', String(qosOf.push(one.qos) - 1), one.qos);
          else if (one.do === 'connect') connect(one.receiveMaximum);
          else if (one.do === 'cut') cut();
          else if (session.link !== null) receiver.answer(session, one.which);
          if (pauses[index++ % Math.max(1, pauses.length)] !== true) await settle(core);
        }
        connect(3);
        for (let i = 0; i < 2000; i++) {
          await settle(core);
          if (receiver.open.size === 0 && session.queuedMessages === 0 && session.inFlight.count === 0) break;
          receiver.answer(session, i);
        }
        const firsts = [...new Set(receiver.got.map(({ number }) => number))];
        assert.deepEqual(firsts, qosOf.map((_, number) => number), 'all of them, in order'); // prettier-ignore
        qosOf.forEach((qos, number) => {
          if (qos === 2) assert.equal(receiver.got.filter((one) => one.number === number).length, 1);
        });
        core.stop();
      }),
      { numRuns: 150 },
    );
  });

  test('drops the oldest beyond its limit, and nothing that is in flight', async () => {
    const core = coreOf({ maxQueuedMessages: 3 });
    const session = kept(core, 1000);
    for (let i = 0; i < 10; i++) publish(core, 't', String(i), 1);
    await settle(core);
    const got: string[] = [];
    session.attach(
      new TestLink(
        core,
        session,
        100,
        (packet) => packet.cmd === 'publish' && got.push(packet.payload.toString()),
      ),
    );
    await settle(core);
    assert.deepEqual(got, ['7', '8', '9']);
    assert.equal(session.droppedCount, 7);
    core.stop();
  });

  test('what is too large for the client or has expired gives its place in the window to the next', async () => {
    for (const expiryS of [0, 1000]) {
      const core = coreOf();
      const session = kept(core, expiryS);
      const got: string[] = [];
      const link = new TestLink(
        core,
        session,
        1,
        (packet) => packet.cmd === 'publish' && got.push(packet.payload.toString()),
        40,
      );
      session.attach(link);
      publish(core, 't', '1', 1);
      publish(core, 't', 'x'.repeat(100), 1);
      publish(core, 't', 'expired', 2, core.clock.nowMs() - 1);
      publish(core, 't', '2', 1);
      await settle(core);
      assert.deepEqual(got, ['1']);
      session.acknowledged(1);
      await settle(core);
      assert.deepEqual(got, ['1', '2']);
      core.stop();
    }
  });
});

describe('a session that is not kept', () => {
  test('an acknowledgement asks for the end of a turn only where something waits for its place', () => {
    const core = coreOf();
    const session = core.lifecycle.open('c', { user: '', groups: [], clientId: 'c' }, 4, 0);
    core.lifecycle.subscribe(session, 't', entryOf(session, { share: '', filter: 't' }, 1, 0));
    const seen: Packet[] = [];
    const link = new TestLink(core, session, 1, (packet) => seen.push(packet));
    session.attach(link);
    publish(core, 't', '1', 1);
    publish(core, 't', '2', 1);
    core.turns.flush();
    const flushes = (): boolean => {
      let isAsked = false;
      const { markDirty } = core.turns;
      core.turns.markDirty = (outbox) => {
        isAsked = true;
        markDirty.call(core.turns, outbox);
      };
      session.acknowledged(seen.length);
      core.turns.flush();
      core.turns.markDirty = markDirty;
      return isAsked;
    };
    assert.equal(flushes(), true, 'the second waits');
    assert.equal(seen.length, 2);
    assert.equal(flushes(), false);
    core.turns.stop();
  });

  test('tells how much of its time is left to what waited in memory, and drops what has none', async (context) => {
    const clock = new ManualClock();
    const { mqtt, close } = await startBroker({ clock, systemIntervalMs: 0 });
    context.after(close);
    const client = await MqttClient.open(mqtt, 5);
    context.after(() => client.socket.destroy());
    await client.handshake({ clientId: 'c', properties: [[PROPERTY.receiveMaximum, 1]] });
    await client.subscribe('t', 1);
    for (const [payload, seconds] of [
      ['now', 60],
      ['late', 2],
      ['soon', 10],
    ] as const)
      // prettier-ignore
      await client.publish('t', payload, { qos: 1, properties: [[PROPERTY.messageExpiry, seconds]] });
    const now = await client.next('PUBLISH');
    assert.equal(now.payload.toString(), 'now');
    clock.advance(2500);
    client.send(acknowledge('PUBACK', now.id));
    const soon = await client.receive();
    assert.equal(soon.payload.toString(), 'soon');
    assert.equal(propertyOf(soon, PROPERTY.messageExpiry), 8);
    await client.quiet();
  });

  test('queues in memory beyond the window and drops the oldest beyond its limit', async () => {
    const core = coreOf({ maxQueuedMessages: 3 });
    const session = kept(core, 0);
    const got: string[] = [];
    session.attach(
      new TestLink(
        core,
        session,
        2,
        (packet) => packet.cmd === 'publish' && got.push(packet.payload.toString()),
      ),
    );
    for (let i = 0; i < 10; i++) publish(core, 't', String(i), 1);
    for (let id = 1; id <= 5; id++) {
      await settle(core);
      session.acknowledged(id);
    }
    await settle(core);
    assert.deepEqual(got, ['0', '1', '7', '8', '9']);
    assert.equal(session.droppedCount, 5);
    core.stop();
  });
});
