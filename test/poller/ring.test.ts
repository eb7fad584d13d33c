import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { Ring, ringMemory } from '../../src/poller/ring.js';

test('each buffer is with one side at a time, and who found none is told when there is one', () => {
  const memory = ringMemory(2, 64);
  const [filler, reader] = [new Ring(memory), new Ring(memory)];
  assert.deepEqual([filler.take(), filler.take()], [0, 1]);
  assert.ok(!reader.give(1), 'nobody waits');
  assert.equal(filler.take(), 1);
  assert.equal(filler.take(), -1);
  assert.ok(reader.give(0), 'told once');
  assert.ok(!reader.give(1));
  assert.deepEqual([filler.take(), filler.take()], [0, 1]);
});

test('what is posted is read in its order, and the count of posts may wrap', () => {
  const memory = ringMemory(3, 8);
  // As after four thousand million posts, less two.
  new Int32Array(memory.states)[4] = -2;
  const [filler, reader] = [new Ring(memory), new Ring(memory)];
  for (let i = 0; i < 10; i++) {
    const [one, other] = [filler.take(), filler.take()];
    filler.post(one);
    filler.post(other);
    assert.deepEqual([reader.read(), reader.read(), reader.read()], [one, other, -1]);
    reader.give(one);
    reader.give(other);
  }
});

test('two threads that fill and read as fast as they can lose nothing and never wait for ever', async () => {
  const ROUNDS = 50_000;
  const memory = ringMemory(3, 8);
  const ring = new Ring(memory);
  const worker = new Worker(
    `const { parentPort, workerData } = require('node:worker_threads');
     import(workerData.ring).then(({ Ring }) => {
       const ring = new Ring(workerData.memory);
       let sent = 0;
       const fill = () => {
         while (sent < ${ROUNDS}) {
           const index = ring.take();
           if (index < 0) return;
           new Uint32Array(ring.bufferAt(index))[0] = sent++;
           ring.post(index);
           ring.wake();
         }
         parentPort.close();
       };
       parentPort.on('message', fill);
       fill();
     });`,
    { eval: true, workerData: { memory, ring: new URL('../../src/poller/ring.js', import.meta.url).href } },
  );
  let next = 0;
  const read = (): void => {
    for (let index = ring.read(); index >= 0; index = ring.read()) {
      assert.equal(new Uint32Array(ring.bufferAt(index))[0], next++);
      if (ring.give(index)) worker.postMessage('released');
    }
  };
  ring.onPosted(read);
  await once(worker, 'exit');
  read();
  ring.close();
  assert.equal(next, ROUNDS);
});
