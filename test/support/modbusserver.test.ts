import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mbpoll, ModbusServer } from './modbusserver.js';

for (const maker of ['pymodbus', 'libmodbus'] as const) {
  test(`the ${maker} server serves what it was given, and the same again on the same port`, async () => {
    const server = new ModbusServer(maker, { kind: 'tcp' }, 7, {
      'holding-register': { 100: [1, 65535] },
      'input-register': { 0: [77] },
      coil: { 3: [1] },
      'discrete-input': { 9: [0, 1] },
    });
    try {
      await server.start();
      for (const again of [false, true]) {
        if (again) {
          const { port } = server;
          await server.kill();
          await server.start();
          assert.equal(server.port, port);
        }
        assert.deepEqual(mbpoll(server.port, 7, 'holding-register', 100, 2), [1, 65535]);
        assert.deepEqual(mbpoll(server.port, 7, 'input-register', 0), [77]);
        assert.deepEqual(mbpoll(server.port, 7, 'coil', 2, 3), [0, 1, 0]);
        assert.deepEqual(mbpoll(server.port, 7, 'discrete-input', 9, 2), [0, 1]);
      }
    } finally {
      await server.kill();
    }
  });
}
