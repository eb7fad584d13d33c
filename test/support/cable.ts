/**
 * A TCP connection that can be cut: what connects to it is passed on to a port until somebody cuts it, or swallows what
 * comes so that neither side learns of it.
 */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

export class Cable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #isSwallowing = false;

  private constructor(port: number) {
    this.#server = createServer((near) => {
      const far = connect(port, '127.0.0.1');
      for (const socket of [near, far]) {
        this.#sockets.add(socket);
        socket.on('error', () => {});
        socket.on('close', () => {
          this.#sockets.delete(socket);
          near.destroy();
          far.destroy();
        });
      }
      near.on('data', (bytes: Buffer) => !this.#isSwallowing && far.write(bytes));
      far.on('data', (bytes: Buffer) => !this.#isSwallowing && near.write(bytes));
    });
  }

  static async to(port: number): Promise<Cable> {
    const cable = new Cable(port);
    cable.#server.listen(0, '127.0.0.1');
    await once(cable.#server, 'listening');
    return cable;
  }

  /** To where nobody is yet: who connects hangs, until the cable is healed. It is cleaned up by the list. */
  static async away(port: number, cleanups: (() => unknown)[]): Promise<Cable> {
    const cable = await Cable.to(port);
    cleanups.push(() => cable.close());
    cable.swallow();
    return cable;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): string {
    return `mqtt://127.0.0.1:${this.port}`;
  }

  /** From now on every byte is lost and nobody is told; connections made meanwhile hang. */
  swallow(): void {
    this.#isSwallowing = true;
  }

  /** New connections are passed on again; those that lost bytes are cut. */
  heal(): void {
    this.cut();
    this.#isSwallowing = false;
  }

  /** Whatever was under way is gone. */
  cut(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  async close(): Promise<void> {
    this.cut();
    this.#server.close();
    await once(this.#server, 'close');
  }
}
