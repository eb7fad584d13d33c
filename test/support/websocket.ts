/**
 * A WebSocket client made by hand (RFC 6455): the upgrade as text, frames as bytes, so that a test can send what no library
 * would. As a Duplex it carries MQTT for MqttClient, each write in one binary frame.
 */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { connect as connectSocket, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { DEADLINE_MS, type Address } from './mqttclient.js';

export const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

export interface FrameOptions {
  /** False: more frames of this message follow. */
  readonly isFinal?: boolean;
  readonly isMasked?: boolean;
  readonly reservedBits?: number;
}

export interface Frame {
  readonly opcode: number;
  readonly payload: Buffer;
}

export function encodeFrame(opcode: number, payload: Uint8Array, options: FrameOptions = {}): Buffer {
  const { isFinal = true, isMasked = true, reservedBits = 0 } = options;
  const length = payload.length;
  const header = [(isFinal ? 0x80 : 0) | (reservedBits << 4) | opcode];
  const maskBit = isMasked ? 0x80 : 0;
  if (length < 126) header.push(maskBit | length);
  else if (length < 65_536) header.push(maskBit | 126, length >> 8, length & 255);
  else header.push(maskBit | 127, 0, 0, 0, 0, (length >>> 24) & 255, (length >> 16) & 255, (length >> 8) & 255, length & 255); // prettier-ignore
  if (!isMasked) return Buffer.concat([Buffer.from(header), payload]);
  const mask = randomBytes(4);
  return Buffer.concat([Buffer.from(header), mask, payload.map((byte, index) => byte ^ (mask[index % 4] ?? 0))]); // prettier-ignore
}

export interface UpgradeOptions {
  readonly path?: string;
  /** Offered subprotocols; null: the header is left out. */
  readonly protocols?: string | null;
  readonly headers?: readonly string[];
}

export class WebSocketClient extends Duplex {
  readonly raw: Socket;
  /** Frames other than binary data, as they came. */
  readonly controls: Frame[] = [];
  #buffer: Buffer = Buffer.alloc(0);
  #hasClosed = false;

  private constructor(raw: Socket) {
    super({ allowHalfOpen: false });
    this.raw = raw;
    raw.on('data', (bytes: Buffer) => this.#take(bytes));
    raw.on('close', () => this.destroy());
    raw.on('error', () => {});
  }

  /** The upgrade; returns the status line and headers of the answer, and the client when it is 101. */
  static async open(
    address: Address,
    options: UpgradeOptions = {},
  ): Promise<{ status: number; headers: ReadonlyMap<string, string>; client: WebSocketClient | undefined }> {
    const { path = '/mqtt', protocols = 'mqtt' } = options;
    const raw = connectSocket(address.port, address.host);
    raw.setNoDelay(true);
    const key = randomBytes(16).toString('base64');
    raw.write(
      [
        `GET ${path} HTTP/1.1`,
        `Host: ${address.host}:${address.port}`,
        'Upgrade: websocket',
        'Connection: Upgrade',
        `Sec-WebSocket-Key: ${key}`,
        'Sec-WebSocket-Version: 13',
        ...(protocols === null ? [] : [`Sec-WebSocket-Protocol: ${protocols}`]),
        ...(options.headers ?? []),
        '\r\n',
      ].join('\r\n'),
    );
    const { head, rest } = await answerOf(raw);
    const [statusLine = '', ...lines] = head.split('\r\n');
    const status = Number(statusLine.split(' ')[1]);
    const headers = new Map(lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()])); // prettier-ignore
    if (status !== 101) {
      raw.destroy();
      return { status, headers, client: undefined };
    }
    const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
    assert.equal(headers.get('sec-websocket-accept'), accept);
    const client = new WebSocketClient(raw);
    client.#take(rest);
    return { status, headers, client };
  }

  sendFrame(opcode: number, payload: Uint8Array, options?: FrameOptions): void {
    if (opcode === OPCODE.close) this.#hasClosed = true;
    this.raw.write(encodeFrame(opcode, payload, options));
  }

  /** A frame other than binary data, once it has come. */
  async control(): Promise<Frame> {
    const endMs = performance.now() + DEADLINE_MS;
    while (this.controls.length === 0) {
      assert.ok(performance.now() < endMs && !this.raw.destroyed, 'no control frame came');
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    return this.controls.shift() ?? assert.fail();
  }

  override _read(): void {}

  override _write(bytes: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.sendFrame(OPCODE.binary, bytes);
    done();
  }

  override _final(done: () => void): void {
    this.raw.end();
    done();
  }

  override _destroy(_error: Error | null, done: (error: Error | null) => void): void {
    this.raw.destroy();
    done(null);
  }

  #take(bytes: Buffer): void {
    this.#buffer = Buffer.concat([this.#buffer, bytes]);
    for (let frame = this.#cut(); frame !== undefined; frame = this.#cut()) {
      if (frame.opcode === OPCODE.binary || frame.opcode === OPCODE.continuation) this.push(frame.payload);
      else {
        this.controls.push(frame);
        if (frame.opcode === OPCODE.close && !this.#hasClosed) this.sendFrame(OPCODE.close, frame.payload);
      }
    }
  }

  #cut(): Frame | undefined {
    const [first, second] = this.#buffer;
    if (first === undefined || second === undefined) return undefined;
    assert.ok(second < 128, 'a server does not mask its frames');
    assert.equal(first & 0x70, 0, 'reserved bits without an extension');
    const extra = second === 126 ? 2 : second === 127 ? 8 : 0;
    if (this.#buffer.length < 2 + extra) return undefined;
    const length = extra === 0 ? second : extra === 2 ? this.#buffer.readUInt16BE(2) : Number(this.#buffer.readBigUInt64BE(2)); // prettier-ignore
    if (this.#buffer.length < 2 + extra + length) return undefined;
    const payload = this.#buffer.subarray(2 + extra, 2 + extra + length);
    this.#buffer = this.#buffer.subarray(2 + extra + length);
    return { opcode: first & 15, payload };
  }
}

async function answerOf(raw: Socket): Promise<{ head: string; rest: Buffer }> {
  let bytes = Buffer.alloc(0);
  return new Promise((resolve, reject) => {
    const onData = (chunk: Buffer): void => {
      bytes = Buffer.concat([bytes, chunk]);
      const end = bytes.indexOf('\r\n\r\n');
      if (end < 0) return;
      raw.off('data', onData);
      raw.off('close', onClose);
      resolve({ head: bytes.subarray(0, end).toString('latin1'), rest: bytes.subarray(end + 4) });
    };
    const onClose = (): void => reject(new assert.AssertionError({ message: 'closed during the upgrade' }));
    raw.on('data', onData);
    raw.once('close', onClose);
    raw.once('error', reject);
  });
}
