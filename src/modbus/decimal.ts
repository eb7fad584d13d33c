/**
 * Scales, offsets and steps are decimal fractions, and so are the values that people order: whether one goes into another
 * is asked of their digits, which binary arithmetic does not keep. Knows no registers.
 */

/** digits / 10^places. */
interface Decimal {
  readonly digits: bigint;
  readonly places: number;
}

/** A number as it is written: 0.1 is a tenth. */
export function decimalOf(value: number | bigint): Decimal {
  const [mantissa = '', exponent = '0'] = String(value).split('e');
  const [whole = '', fraction = ''] = mantissa.split('.');
  const digits = BigInt(whole + fraction);
  const places = fraction.length - Number(exponent);
  return places < 0 ? { digits: digits * powerOfTen(-places), places: 0 } : { digits, places };
}

/** Its digits with so many places, which must not be fewer than it has. */
export function digitsWith(value: number | bigint, places: number): bigint {
  const decimal = decimalOf(value);
  return decimal.digits * powerOfTen(places - decimal.places);
}

function powerOfTen(exponent: number): bigint {
  return 10n ** BigInt(exponent);
}

/** What is missed by so little of a step was not meant to be missed ... */
const NEAR = 1e-6;
/** ... nor what a float32 cannot say more exactly, by a hundredth at most ... */
const [OF_FLOAT32, NEAR_MAX] = [6e-8, 0.01];
/** ... nor what the digits of a reading leave open. */
const [OF_READING, OPEN_MAX] = [1e-13, 0.25];

/** How many steps, each the product of these, lie between an origin and a value; null: no whole number of them. */
export function stepsTo(
  value: number | bigint,
  origin: number,
  ...factors: readonly number[]
): bigint | null {
  const places = Math.max(decimalOf(value).places, decimalOf(origin).places);
  const step = factors.map(decimalOf);
  const distance = digitsWith(value, places) - digitsWith(origin, places);
  const placesOfStep = step.reduce((sum, factor) => sum + factor.places, 0);
  const divisor = step.reduce((product, { digits }) => product * digits, powerOfTen(places));
  const dividend = distance * powerOfTen(placesOfStep);
  const steps = nearest(dividend, divisor);
  const missedBy = Math.abs(ratio(dividend - steps * divisor, divisor));
  const count = Math.abs(ratio(digitsWith(value, places) * powerOfTen(placesOfStep), divisor));
  const near = Math.max(NEAR, Math.min(NEAR_MAX, OF_FLOAT32 * count), Math.min(OPEN_MAX, OF_READING * count));
  return missedBy <= near ? steps : null;
}

function nearest(dividend: bigint, divisor: bigint): bigint {
  const down = dividend / divisor;
  const rest = dividend % divisor;
  if (2n * magnitude(rest) < magnitude(divisor)) return down;
  return down + (rest < 0n === divisor < 0n ? 1n : -1n);
}

function magnitude(value: bigint): bigint {
  return value < 0n ? -value : value;
}

const RATIO_PLACES = 12;

/** To twelve places, however long the two are. */
function ratio(dividend: bigint, divisor: bigint): number {
  return Number((dividend * powerOfTen(RATIO_PLACES)) / divisor) / 10 ** RATIO_PLACES;
}
