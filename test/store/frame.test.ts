import assert from 'node:assert/strict';
import { test } from 'node:test';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { checksum } from '../../src/store/frame.js';

test('the checksum is that of zlib, whatever the length, the place and what it is continued from', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 600 }),
      fc.nat(20),
      fc.integer({ min: 0, max: 0xffffffff }),
      (content, start, from) => {
        const bytes = Buffer.concat([Buffer.alloc(start, 0x5a), content]);
        const expected = crc32(content, from);
        assert.equal(checksum(bytes, start, bytes.length, from), expected);
      },
    ),
    { examples: Array.from({ length: 260 }, (_, length) => [new Uint8Array(length).fill(length), 3, 1]) },
  );
});
