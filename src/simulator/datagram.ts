/** A simulated bus behind Modbus UDP: each datagram is one MBAP frame, answers go to whoever asked. */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import type { Clock } from '../clock.js';
import { type Frame } from '../modbus/framing.js';
import { TcpRequestReader } from '../modbus/serverframes.js';
import type { Address, Endpoint } from './endpoint.js';
import type { SocketSpec } from './spec.js';
import type { Answer, Station } from './station.js';

export class DatagramEndpoint implements Endpoint {
  readonly station: Station;
  readonly #clock: Clock;
  readonly #host: string;
  #port: number;
  #socket: Socket | null = null;

  constructor(spec: SocketSpec, station: Station, clock: Clock) {
    this.station = station;
    this.#clock = clock;
    this.#host = spec.host ?? '127.0.0.1';
    this.#port = spec.port ?? 0;
  }

  get address(): Address {
    return { kind: 'socket', host: this.#host, port: this.#port };
  }

  async open(): Promise<void> {
    const socket = createSocket('udp4');
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject);
      socket.bind(this.#port, this.#host, () => resolve());
    });
    socket.on('error', () => {});
    socket.on('message', (bytes, from) => this.#received(bytes, from));
    this.#port = socket.address().port;
    this.#socket = socket;
  }

  async refresh(): Promise<void> {
    const shallListen = this.station.linkFault('refuse') === null;
    if (!shallListen) await this.unplug();
    else if (this.#socket === null) await this.open();
  }

  async unplug(): Promise<void> {
    const socket = this.#socket;
    this.#socket = null;
    if (socket !== null) await new Promise<void>((resolve) => socket.close(() => resolve()));
  }

  plugIn(): Promise<void> {
    return this.refresh();
  }

  close(): Promise<void> {
    return this.unplug();
  }

  #received(bytes: Buffer, from: RemoteInfo): void {
    if (this.station.linkFault('black-hole') !== null) {
      this.station.transcript.counts.swallowed += bytes.length;
      return;
    }
    const reader = new TcpRequestReader();
    const [frame] = reader.push(bytes);
    if (frame === undefined || frame.protocolId !== 0) {
      this.station.transcript.counts.badFrames++;
      return;
    }
    this.#request(frame, from);
  }

  #request(frame: Frame, from: RemoteInfo): void {
    const answer = this.station.take(frame, 'tcp', from.port);
    if (answer === null) return;
    this.#send(answer, 0, answer.turnaroundMs + answer.delivery.delayMs, from);
  }

  #send(answer: Answer, index: number, delayMs: number, to: RemoteInfo): void {
    const piece = answer.delivery.pieces[index];
    if (piece === undefined) return;
    this.#clock.after(delayMs, () => {
      this.#socket?.send(piece.bytes, to.port, to.address, () => {});
      const next = answer.delivery.pieces[index + 1];
      if (next === undefined) this.station.transcript.answered(answer.exchange, this.station.atMs());
      else this.#send(answer, index + 1, next.pauseMs, to);
    });
  }
}
