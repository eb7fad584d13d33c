/** The same schema as JSON Schema: for editors, the reference page, and to suggest keys. */
import * as z from 'zod/mini';
import { mapSchema } from './device.js';
import { gatewaySchema } from './gateway.js';
import { levelShape } from './level.js';
import { DEFAULT } from './words.js';

/** The keys a map may have at this place, for suggestions. */
export function keysAt(schema: 'gateway' | 'map', path: readonly (string | number)[]): string[] {
  let node: JsonSchema | undefined = jsonSchema(schema);
  const root = node;
  for (const step of path) {
    const next: JsonSchema[] = alternatives(node, root).flatMap((one) => {
      const inner =
        typeof step === 'number' ? one.items : (one.properties?.[step] ?? one.additionalProperties);
      return typeof inner === 'object' ? [inner] : [];
    });
    node = next.length === 1 ? next[0] : { anyOf: next };
  }
  return [...new Set(alternatives(node, root).flatMap((one) => Object.keys(one.properties ?? {})))];
}

export interface JsonSchema {
  readonly $ref?: string;
  readonly $defs?: Readonly<Record<string, JsonSchema>>;
  readonly anyOf?: readonly JsonSchema[];
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly additionalProperties?: JsonSchema | boolean;
  readonly items?: JsonSchema;
  readonly required?: readonly string[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly type?: string;
  readonly pattern?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly description?: string;
  readonly default?: unknown;
}

/** All the plain schemas behind one that may be a choice or a reference. */
export function alternatives(schema: JsonSchema | undefined, root: JsonSchema): JsonSchema[] {
  if (schema === undefined) return [];
  if (schema.$ref !== undefined) return alternatives(resolveReference(schema.$ref, root), root);
  return schema.anyOf === undefined ? [schema] : schema.anyOf.flatMap((one) => alternatives(one, root));
}

function resolveReference(reference: string, root: JsonSchema): JsonSchema | undefined {
  const steps = reference
    .replace(/^#\/?/, '')
    .split('/')
    .filter((step) => step !== '');
  let at: unknown = root;
  for (const step of steps) at = typeof at === 'object' && at !== null ? Reflect.get(at, step) : undefined;
  return at as JsonSchema | undefined; // references of our own schema lead into it
}

/** Below `defaults` the default of a level is what stands above it. */
function stripInherited(schema: unknown, isDefaults: boolean): void {
  if (typeof schema !== 'object' || schema === null) return;
  for (const [key, inner] of Object.entries(schema)) {
    if (key !== 'properties') {
      stripInherited(inner, false);
      continue;
    }
    for (const [name, property] of Object.entries(inner as Record<string, object>)) {
      if (!isDefaults && Object.hasOwn(levelShape, name)) Reflect.deleteProperty(property, 'default');
      stripInherited(property, name === 'defaults');
    }
  }
}

const cache = new Map<string, JsonSchema>();

export function jsonSchema(schema: 'gateway' | 'map'): JsonSchema {
  let known = cache.get(schema);
  if (known === undefined) {
    const made: unknown = z.toJSONSchema(schema === 'gateway' ? gatewaySchema : mapSchema, {
      io: 'input',
      unrepresentable: 'any',
    });
    const plain: unknown = JSON.parse(JSON.stringify(made).replaceAll(`"${DEFAULT}":`, '"default":'));
    stripInherited(plain, false);
    known = plain as JsonSchema; // the part of it that is read here
    cache.set(schema, known);
  }
  return known;
}
