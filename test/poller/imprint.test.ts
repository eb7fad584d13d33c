import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isLeftBy } from '../../src/poller/imprint.js';

test('registers are left by a write that ordered them, wherever the read of them begins', () => {
  const registers = Uint8Array.of(1, 2, 3, 4);
  const write = { kind: 'write-registers', unitId: 1, address: 10, registers, functionCode: 16 } as const;
  assert.ok(isLeftBy(write, Uint8Array.of(1, 2, 3, 4), 10));
  assert.ok(isLeftBy(write, Uint8Array.of(9, 9, 1, 2, 3, 4, 9, 9), 9));
  assert.ok(!isLeftBy(write, Uint8Array.of(1, 2, 3, 5), 10));
  assert.ok(!isLeftBy(write, Uint8Array.of(1, 2), 10));
});

test('of a mask write only the bits that it changes count', () => {
  const write = { kind: 'mask-write', unitId: 1, address: 3, andMask: 0xff0f, orMask: 0x0050 } as const;
  assert.ok(isLeftBy(write, Uint8Array.of(0xab, 0x5c), 3));
  assert.ok(isLeftBy(write, Uint8Array.of(0, 0, 0x12, 0x53), 2));
  assert.ok(!isLeftBy(write, Uint8Array.of(0xab, 0x4c), 3));
});

test('coils are left by a write that ordered them', () => {
  const bits = [true, false, true];
  const write = { kind: 'write-bits', unitId: 1, address: 6, bits, functionCode: 15 } as const;
  assert.ok(isLeftBy(write, Uint8Array.of(0b101), 6));
  assert.ok(isLeftBy(write, Uint8Array.of(0b0100_0000, 0b1), 0));
  assert.ok(!isLeftBy(write, Uint8Array.of(0b111), 6));
});
