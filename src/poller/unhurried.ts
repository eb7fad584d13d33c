/** A client that pauses before it speaks to another unit than the last time, for lines whose units miss the first request else. */
import type { Clock } from '../clock.js';
import type { Answer, Client, OnFrame, Request } from '../modbus/client.js';

export class Unhurried implements Client {
  readonly #client: Client;
  readonly #pauseMs: number;
  readonly #clock: Clock;
  #unitId = -1;

  constructor(client: Client, pauseMs: number, clock: Clock) {
    this.#client = client;
    this.#pauseMs = pauseMs;
    this.#clock = clock;
  }

  get isUp(): boolean {
    return this.#client.isUp;
  }

  oneAtATime(): void {
    this.#client.oneAtATime();
  }

  watch(onFrame: OnFrame | null): void {
    this.#client.watch(onFrame);
  }

  open(): void {
    this.#client.open();
  }

  async request(request: Request, timeoutMs: number, yieldMs?: number, sendByMs?: number): Promise<Answer> {
    if (request.unitId !== this.#unitId) {
      this.#unitId = request.unitId;
      await new Promise<void>((resolve) => this.#clock.after(this.#pauseMs, resolve));
    }
    return this.#client.request(request, timeoutMs, yieldMs, sendByMs);
  }

  hurry(): void {
    this.#client.hurry();
  }

  heldUntilMs(request: Request): number {
    return this.#client.heldUntilMs(request);
  }

  reset(reason: string): void {
    this.#client.reset(reason);
  }

  close(): Promise<void> {
    return this.#client.close();
  }
}
