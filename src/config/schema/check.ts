/**
 * The one schema of gateway files and device maps: keys, types, defaults and what each key is for. Types, checks, the
 * JSON Schema files for editors and docs/configuration.md come from it. What one key alone cannot tell (a topic used
 * twice, a tag that is not there) is checked where the Plant is built. This file checks a value by it.
 */
import type * as z from 'zod/mini';
import { type MapInput, mapSchema } from './device.js';
import { type GatewayInput, gatewaySchema } from './gateway.js';

export type Issue = z.core.$ZodIssue;
export type Checked<T> =
  { readonly ok: true; readonly value: T } | { readonly ok: false; readonly issues: readonly Issue[] };

export function checkGateway(value: unknown): Checked<GatewayInput> {
  return result(gatewaySchema.safeParse(value, { reportInput: true }));
}

export function checkMap(value: unknown): Checked<MapInput> {
  return result(mapSchema.safeParse(value, { reportInput: true }));
}

function result<T>(parsed: z.core.util.SafeParseResult<T>): Checked<T> {
  return parsed.success ? { ok: true, value: parsed.data } : { ok: false, issues: parsed.error.issues };
}
