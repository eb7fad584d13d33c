/** What a gateway file amounts to, as JSON: every default filled in, every secret masked. */
import type { Plant } from '../config/plant.js';
import { MASK, withoutPasswords } from '../errors.js';

const SECRET = /password|passphrase|secret|token/i;

export function effective(plant: Plant): string {
  return JSON.stringify(plant, present, 2);
}

/** References by name instead of whole, so that the text is as long as the plant is large. */
function present(key: string, value: unknown): unknown {
  if (SECRET.test(key) && typeof value === 'string') return MASK;
  if (typeof value === 'string') return withoutPasswords(value);
  if (typeof value === 'bigint') return value.toString();
  if (value === Infinity || value === -Infinity) return null;
  const isReference = (key === 'bus' || key === 'device') && typeof value === 'object' && value !== null;
  return isReference && 'name' in value ? value.name : value;
}
