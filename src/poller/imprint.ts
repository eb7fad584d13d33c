/** What a write leaves in a device, and whether a device holds it: for writes whose answer does not say how they went. */
import { bitAt, wordAt } from '../modbus/bytes.js';
import type { Request } from '../modbus/client.js';

/** data: as a read answers it, its first register or coil being the one at `from`. */
export function isLeftBy(request: Request, data: Uint8Array, from: number): boolean {
  switch (request.kind) {
    case 'write-bits': {
      const { address, bits } = request;
      return bits.every((bit, at) => bitAt(data, address - from + at) === bit);
    }
    case 'write-registers': {
      const { address, registers } = request;
      const start = 2 * (address - from);
      return Buffer.compare(data.subarray(start, start + registers.length), registers) === 0;
    }
    case 'mask-write': {
      const { address, andMask, orMask } = request;
      return ((wordAt(data, 2 * (address - from)) ^ orMask) & ~andMask & 0xffff) === 0;
    }
    case 'read':
    case 'read-write':
    case 'raw':
      return false;
  }
}

/** Registers or bits that a request changes; null: none, or nobody knows which. */
export function writtenSpan(
  request: Request,
): { readonly table: 'coil' | 'holding-register'; readonly address: number; readonly end: number } | null {
  switch (request.kind) {
    case 'read':
    case 'raw':
      return null;
    case 'write-bits': {
      const { address, bits } = request;
      return { table: 'coil', address, end: address + bits.length };
    }
    case 'write-registers': {
      const { address, registers } = request;
      return { table: 'holding-register', address, end: address + registers.length / 2 };
    }
    case 'mask-write':
      return { table: 'holding-register', address: request.address, end: request.address + 1 };
    case 'read-write': {
      const { writeAddress, registers } = request;
      return { table: 'holding-register', address: writeAddress, end: writeAddress + registers.length / 2 };
    }
  }
}
