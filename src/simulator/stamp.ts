/**
 * Register values that say where they come from: unit and address in the upper ten bits, time in the lower six, in
 * steps of 100 ms. Whoever knows the layout can tell a right value from one of another register, another unit, or
 * another time, without asking the plant.
 */

export const STAMP_TICK_MS = 100;
const TICKS = 64;

/** What a register of that unit and address shows at a wall time in ms. */
export function stampOf(unitId: number, address: number, nowMs: number): number {
  return ((placeOf(unitId, address) << 6) | tickOf(nowMs)) & 0xffff;
}

/** How old the value was at that time in ms (a multiple of the step), or -1 when it is not that register's. */
export function stampAgeMs(value: number, unitId: number, address: number, nowMs: number): number {
  if (value >> 6 !== placeOf(unitId, address)) return -1;
  return ((tickOf(nowMs) - (value & (TICKS - 1)) + TICKS) % TICKS) * STAMP_TICK_MS;
}

/** Neighbouring units and addresses get different places; two places meet again only far apart. */
function placeOf(unitId: number, address: number): number {
  return (unitId * 211 + address) & 0x3ff;
}

function tickOf(nowMs: number): number {
  return Math.floor(nowMs / STAMP_TICK_MS) & (TICKS - 1);
}

/** A pair of registers as one unsigned 32-bit value, most significant register first; changes every 10 ms. */
export function pairStampOf(unitId: number, address: number, nowMs: number): number {
  const count = Math.floor(nowMs / 10) & 0xffff;
  return ((count ^ placeOf(unitId, address)) * 65536 + count) >>> 0;
}
