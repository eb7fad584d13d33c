/** The four tables of one unit: 65,536 items each, held in pages that exist once something was written to them. */
import { isBitTable, type Table } from '../modbus/protocol.js';

const PAGE = 256;

export class Memory {
  readonly #pages = new Map<string, Uint16Array>();

  /** As a read returns them: registers most significant byte first, bits packed lowest first. */
  read(table: Table, address: number, quantity: number): Uint8Array {
    const isBits = isBitTable(table);
    const bytes = new Uint8Array(isBits ? Math.ceil(quantity / 8) : quantity * 2);
    for (let index = 0; index < quantity;) {
      const at = address + index;
      const page = this.#pages.get(pageKey(table, at));
      const end = Math.min(quantity, index + PAGE - (at % PAGE));
      if (page === undefined) {
        index = end;
        continue;
      }
      for (; index < end; index++) {
        const value = page[(address + index) % PAGE] ?? 0;
        if (isBits) bytes[index >> 3] = (bytes[index >> 3] ?? 0) | ((value & 1) << (index & 7));
        else {
          bytes[index * 2] = value >> 8;
          bytes[index * 2 + 1] = value & 0xff;
        }
      }
    }
    return bytes;
  }

  write(table: Table, address: number, quantity: number, bytes: Uint8Array): void {
    const isBits = isBitTable(table);
    for (let index = 0; index < quantity; index++) {
      const key = pageKey(table, address + index);
      let page = this.#pages.get(key);
      if (page === undefined) this.#pages.set(key, (page = new Uint16Array(PAGE)));
      page[(address + index) % PAGE] = isBits
        ? ((bytes[index >> 3] ?? 0) >> (index & 7)) & 1
        : ((bytes[index * 2] ?? 0) << 8) | (bytes[index * 2 + 1] ?? 0);
    }
  }
}

function pageKey(table: Table, address: number): string {
  return `${table}:${Math.floor(address / PAGE)}`;
}
