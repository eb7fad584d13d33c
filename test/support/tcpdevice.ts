/** A small Modbus TCP server in this process, whose every request the test sees and may answer in its own way. */
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { freePort } from './ports.js';

export class TcpDevice {
  readonly registers = new Uint16Array(65536);
  readonly coils = new Uint8Array(65536);
  /** Requests so far: unit, function code, address, quantity or value. */
  readonly requests: { unitId: number; code: number; address: number; quantity: number }[] = [];
  /** Exception to answer with, 0 for none, or null to stay silent. */
  judge: (unitId: number, code: number, address: number, quantity: number) => number | null = () => 0;
  answerDelayMs = 0;
  #server: Server | null = null;
  readonly #sockets = new Set<Socket>();
  #port = 0;

  get port(): number {
    return this.#port;
  }

  async start(): Promise<this> {
    const server = createServer((socket) => this.#serve(socket));
    this.#port ||= await freePort();
    await once(server.listen(this.#port, '127.0.0.1'), 'listening');
    this.#server = server;
    return this;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    const server = this.#server;
    this.#server = null;
    if (server !== null) await new Promise((resolve) => server.close(resolve));
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    socket.setNoDelay(true);
    socket.on('error', () => {});
    socket.on('close', () => this.#sockets.delete(socket));
    let rest: Buffer = Buffer.alloc(0);
    socket.on('data', (bytes) => {
      rest = Buffer.concat([rest, bytes]);
      while (rest.length >= 7 && rest.length >= 6 + rest.readUInt16BE(4)) {
        const end = 6 + rest.readUInt16BE(4);
        this.#request(socket, rest.subarray(0, end));
        rest = rest.subarray(end);
      }
    });
  }

  #request(socket: Socket, frame: Buffer): void {
    const unitId = frame.readUInt8(6);
    const code = frame.readUInt8(7);
    const address = frame.readUInt16BE(8);
    const quantity = frame.readUInt16BE(10);
    this.requests.push({ unitId, code, address, quantity });
    const exception = this.judge(unitId, code, address, quantity);
    if (exception === null) return;
    const pdu =
      exception > 0
        ? Buffer.from([code | 0x80, exception])
        : this.#carryOut(frame.subarray(7), address, quantity);
    const head = Buffer.from([frame[0] ?? 0, frame[1] ?? 0, 0, 0, 0, pdu.length + 1, unitId]);
    const answer = (): void => {
      if (!socket.destroyed) socket.write(Buffer.concat([head, pdu]));
    };
    if (this.answerDelayMs > 0) setTimeout(answer, this.answerDelayMs);
    else answer();
  }

  #carryOut(pdu: Buffer, address: number, quantity: number): Buffer {
    const code = pdu.readUInt8(0);
    switch (code) {
      case 1:
      case 2:
        return this.#readBits(code, address, quantity);
      case 3:
      case 4:
        return this.#readRegisters(code, address, quantity);
      case 5:
        this.coils[address] = quantity === 0xff00 ? 1 : 0;
        return pdu;
      case 6:
        this.registers[address] = quantity;
        return pdu;
      case 15:
        for (let i = 0; i < quantity; i += 1)
          this.coils[address + i] = (pdu.readUInt8(6 + (i >> 3)) >> (i & 7)) & 1;
        return pdu.subarray(0, 5);
      case 16:
        for (let i = 0; i < quantity; i += 1) this.registers[address + i] = pdu.readUInt16BE(6 + 2 * i);
        return pdu.subarray(0, 5);
      case 22: {
        const [and, or] = [pdu.readUInt16BE(3), pdu.readUInt16BE(5)];
        this.registers[address] = ((this.registers[address] ?? 0) & and) | (or & ~and);
        return pdu;
      }
      default:
        return Buffer.from([code | 0x80, 1]);
    }
  }

  #readBits(code: number, address: number, quantity: number): Buffer {
    const bytes = Buffer.alloc(2 + Math.ceil(quantity / 8));
    bytes[0] = code;
    bytes[1] = bytes.length - 2;
    for (let i = 0; i < quantity; i += 1) {
      if (this.coils[address + i] === 1) bytes[2 + (i >> 3)] = (bytes[2 + (i >> 3)] ?? 0) | (1 << (i & 7));
    }
    return bytes;
  }

  #readRegisters(code: number, address: number, quantity: number): Buffer {
    const bytes = Buffer.alloc(2 + 2 * quantity);
    bytes[0] = code;
    bytes[1] = 2 * quantity;
    for (let i = 0; i < quantity; i += 1) bytes.writeUInt16BE(this.registers[address + i] ?? 0, 2 + 2 * i);
    return bytes;
  }
}
