/**
 * The gateway's time, by which ages are told as its values are: the clock of a router that no time server reaches, or
 * that of a phone, may be hours off.
 */
import { signal } from '@preact/signals';

/** The header has whole seconds, and an answer takes a while. */
const SAME_MS = 3000;

let aheadMs = 0;

export function gatewayMs(): number {
  return Date.now() + aheadMs;
}

/** Ticks once a second, for ages. */
export const nowMs = signal(gatewayMs());

setInterval(() => (nowMs.value = gatewayMs()), 1000);

/** Takes the time from an answer of the gateway. */
export function setClockBy(answer: Response): void {
  const differenceMs = Date.parse(answer.headers.get('date') ?? '') - Date.now();
  aheadMs = Math.abs(differenceMs) > SAME_MS ? differenceMs : 0;
  nowMs.value = gatewayMs();
}
