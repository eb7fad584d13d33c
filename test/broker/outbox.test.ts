import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Arena, giveBack, Outbox, type Piece } from '../../src/broker/outbox.js';

test('everything appended in a turn leaves in order, slices of the arena too, whether the kernel takes it or not', () => {
  const operation = fc.record({
    to: fc.nat(2),
    bytes: fc.uint8Array({ minLength: 1, maxLength: 3000 }),
    isSlice: fc.boolean(),
    everyone: fc.boolean(),
  });
  const turns = fc.array(
    fc.tuple(
      fc.array(operation, { maxLength: 20 }),
      fc.array(fc.boolean(), { minLength: 3, maxLength: 3 }),
      fc.boolean(),
    ),
    { maxLength: 6 },
  );
  fc.assert(
    fc.property(turns, (list) => {
      const arena = new Arena();
      const written: Uint8Array[][] = [[], [], []];
      const expected: number[][] = [[], [], []];
      let takes = [true, true, true];
      /** What the kernel has not taken yet. */
      const late: { list: Uint8Array[]; at: number; lent: Piece | null }[] = [];
      const boxes = [0, 1, 2].map(
        (index) =>
          new Outbox(
            {
              pendingBytes: 0,
              // What is not taken stays a view until it is, so that bytes that are used before would show.
              write: (bytes, lent) => {
                const isTaken = takes[index] === true;
                const list = written[index] ?? [];
                list.push(isTaken ? Uint8Array.from(bytes) : bytes);
                if (!isTaken) late.push({ list, at: list.length - 1, lent });
                return isTaken;
              },
              pause: () => {},
              resume: () => {},
              end: () => {},
              destroy: () => {},
            },
            arena,
            { becameDirty: () => {}, beforeFlush: () => {}, wrote: () => {} },
          ),
      );
      for (const [operations, taken, catchesUp] of list) {
        takes = taken;
        for (const { to, bytes, isSlice, everyone } of operations) {
          const targets = everyone ? [0, 1, 2] : [to];
          let at = 0;
          if (isSlice) {
            at = arena.reserve(bytes.length);
            arena.buffer.set(bytes, at);
          }
          for (const target of targets) {
            if (isSlice) boxes[target]?.appendSlice(arena.buffer, at, at + bytes.length);
            else boxes[target]?.append(bytes, 0, bytes.length);
            expected[target]?.push(...bytes);
          }
        }
        for (const box of boxes) box.flush();
        arena.endTurn();
        if (!catchesUp) continue;
        for (const { list: pieces, at, lent } of late.splice(0)) {
          pieces[at] = Uint8Array.from(pieces[at] ?? []);
          if (lent !== null) giveBack(lent);
        }
      }
      written.forEach((pieces, index) => assert.deepEqual([...Buffer.concat(pieces)], expected[index]));
    }),
    { numRuns: 100 },
  );
});

test('two hundred connections that each write a little, turn after turn, write the same bytes again', () => {
  const views = new Set<Uint8Array>();
  const boxes = Array.from({ length: 200 }, () => {
    const transport = {
      pendingBytes: 0,
      write: (bytes: Uint8Array) => (views.add(bytes), true),
      pause: () => {},
      resume: () => {},
      end: () => {},
      destroy: () => {},
    };
    return new Outbox(transport, new Arena(), {
      becameDirty: () => {},
      beforeFlush: () => {},
      wrote: () => {},
    });
  });
  const acknowledgement = Uint8Array.of(0x40, 2, 0, 1);
  const message = new Uint8Array(80);
  const turn = (): void => {
    boxes.forEach((box, index) => {
      const packet = index % 2 === 0 ? acknowledgement : message;
      box.append(packet, 0, packet.length);
    });
    for (const box of boxes) box.flush();
  };
  turn();
  const { size } = views;
  for (let i = 0; i < 20; i++) turn();
  assert.equal(views.size, size, 'nothing was allocated for the writes of a later turn');
});
