/**
 * What the schema found -> problems with a place. Parts that are wrong are taken out and the rest is checked on, so
 * that one run tells everything and nothing twice.
 */
import type { Source } from './load.js';
import { type Path, nameOf, nearest, pathText, suggestion } from './problems.js';
import type { Checked, Issue } from './schema/check.js';
import { keysAt } from './schema/jsonschema.js';

/** A file whose shape is right, apart from what was taken out of it. */
export interface Shaped<T> {
  readonly source: Source;
  /** null when nothing of use is left. */
  readonly value: T | null;
  /** Paths (as text) of what was wrong and has been reported. */
  readonly removed: ReadonlySet<string>;
  /** Paths of what is there under another name, which has been reported. */
  readonly misnamed: ReadonlySet<string>;
}

const ROUNDS_MAX = 50;
const UNKNOWN_KEY = 'HF1101';

export function shape<T>(
  source: Source,
  schema: 'gateway' | 'map',
  check: (value: unknown) => Checked<T>,
): Shaped<T> {
  const removed = new Set<string>();
  const misnamed = new Set<string>();
  if (source.value === null || typeof source.value !== 'object' || Array.isArray(source.value)) {
    if (source.problems.length === 0)
      source.add('error', 'HF1103', [], 'a file holds a map; its first line is version: 1');
    return { source, value: null, removed, misnamed };
  }
  for (let round = 0; round < ROUNDS_MAX; round += 1) {
    const checked = check(source.value);
    if (checked.ok) return { source, value: checked.value, removed, misnamed };
    const complaints = checked.issues
      .flatMap((issue) => complaintsOf(issue, [], schema))
      .filter(({ path }) => !reread(source, path));
    for (const complaint of complaints) {
      const known = removed.has(pathText(complaint.path));
      if (!known && isNoTwin(complaint, complaints))
        source.add('error', complaint.code, complaint.path, complaint.text, complaint.end);
      removed.add(pathText(complaint.path));
      if (complaint.suggested !== undefined)
        misnamed.add(pathText([...complaint.path.slice(0, -1), complaint.suggested]));
    }
    // Longest first: a part of something that goes as well is found before it is gone.
    for (const { code, path, isMissing } of complaints.sort((a, b) => b.path.length - a.path.length)) {
      if (code !== UNKNOWN_KEY && fallBack(source.value, path)) continue;
      remove(source.value, isMissing === true ? path.slice(0, -1) : path, removed);
    }
  }
  return { source, value: null, removed, misnamed };
}

/** Keys without which nothing else could be checked get a value that stands for any, and that nobody has written. */
const FALLBACKS: Readonly<Record<string, unknown>> = {
  version: 1, title: '', sources: [], verified: 'none',
  'devices.*.bus': '?', 'devices.*.unit_id': 65_535, 'uplinks.*.nodes': ['mqtt://127.0.0.1'],
}; // prettier-ignore

function fallBack(root: object, path: Path): boolean {
  const [key, , ...rest] = path;
  const pattern = rest.length === 0 ? path.join('.') : [key, '*', ...rest].join('.');
  const last = path.at(-1);
  if (last === undefined || !Object.hasOwn(FALLBACKS, pattern)) return false;
  const holder = holderOf(root, path);
  return holder !== null && Reflect.set(holder, last, structuredClone(FALLBACKS[pattern]));
}

/** What the path's last step is in; null: it is not there. */
function holderOf(root: unknown, path: Path): object | null {
  let at: unknown = root;
  for (const step of path.slice(0, -1))
    at = typeof at === 'object' && at !== null ? Reflect.get(at, step) : null;
  return typeof at === 'object' ? at : null;
}

/** A key that is missing because it is misspelt is told once, where it is misspelt. */
function isNoTwin({ isMissing, path }: Complaint, all: readonly Complaint[]): boolean {
  if (isMissing !== true) return true;
  const parent = pathText(path.slice(0, -1));
  const key = String(path[path.length - 1]);
  return !all.some((other) => other.suggested === key && pathText(other.path.slice(0, -1)) === parent);
}

/** A text from the environment where a number or truth is wanted is read as one. */
function reread(source: Source, path: Path): boolean {
  const holder = holderOf(source.value, path);
  const last = path[path.length - 1];
  if (holder === null || last === undefined) return false;
  const value = source.reread(path, Reflect.get(holder, last));
  return value !== undefined && Reflect.set(holder, last, value);
}

interface Complaint {
  readonly code: string;
  readonly path: Path;
  readonly text: string;
  readonly end: 'key' | 'value';
  readonly isMissing?: boolean;
  /** The key that was meant. */
  readonly suggested?: string | undefined;
}

function complaintsOf(issue: Issue, above: Path, schema: 'gateway' | 'map'): Complaint[] {
  const path: Path = [
    ...above,
    ...issue.path.map((step) => (typeof step === 'number' ? step : String(step))),
  ];
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map((key) => unknownKey(key, path, keysAt(schema, path)));
    case 'invalid_union':
      return ofUnion(issue, path, schema);
    case 'invalid_key':
      return [
        {
          code: 'HF1107',
          path,
          text: issue.issues[0]?.message ?? 'not a name that can stand here',
          end: 'key',
        },
      ];
    case 'invalid_value':
      if (issue.input === undefined) return [missing(path, schema)];
      return [{ code: 'HF1104', path, text: notOneOf(issue), end: 'value' }];
    case 'invalid_type':
      if (issue.input === undefined) return [missing(path, schema)];
      return [{ code: 'HF1103', path, text: wrongKind(issue, keysAt(schema, path)), end: 'value' }];
    default:
      return [
        {
          code: issue.code === 'too_big' || issue.code === 'too_small' ? 'HF1105' : 'HF1106',
          path,
          text: ofMessage(issue),
          end: 'value',
        },
      ];
  }
}

/** The branch that was meant: the one whose kind (text, number, map ...) is that of the value. */
function ofUnion(
  issue: Issue & { code: 'invalid_union' },
  path: Path,
  schema: 'gateway' | 'map',
): Complaint[] {
  if (issue.input === undefined) return [missing(path, schema)];
  const isRoot = ({ path: at, code }: Issue): boolean =>
    at.length === 0 && (code === 'invalid_type' || code === 'invalid_value' || code === 'invalid_union');
  const meant = issue.errors.filter((branch) => !branch.some(isRoot));
  // Of several maps the one with the fewest complaints.
  const best = meant.sort((a, b) => a.length - b.length)[0];
  if (best !== undefined) return best.flatMap((inner) => complaintsOf(inner, path, schema));
  if (issue.message !== 'Invalid input') return [{ code: 'HF1103', path, text: issue.message, end: 'value' }];
  const kinds = issue.errors
    .flat()
    .map((inner) => (inner.message === 'Invalid input' ? null : inner.message));
  const text = kinds.find((message) => message !== null) ?? wrongKinds(issue);
  return [{ code: 'HF1103', path, text, end: 'value' }];
}

function missing(path: Path, schema: 'gateway' | 'map'): Complaint {
  const key = path[path.length - 1];
  const known = keysAt(schema, path.slice(0, -1)).includes(String(key));
  const text = known ? 'missing; add it here' : 'empty; write a value or remove the key';
  return { code: 'HF1102', path, text, end: 'key', isMissing: true };
}

/** What other tools call a thing. */
const ALIENS: Readonly<Record<string, readonly string[]>> = {
  broker: ['mqtt', 'server'],
  buses: ['ports', 'lines', 'connections', 'channels', 'interfaces', 'masters'],
  devices: ['slaves', 'nodes', 'plcs', 'modbus', 'units'],
  uplinks: ['bridges', 'bridge', 'cloud', 'northbound'],
  web: ['http', 'ui', 'page'],
  home_assistant: ['homeassistant', 'hass', 'discovery'],
  protocol: ['type', 'kind', 'mode', 'transport', 'method'],
  baud: ['baudrate', 'baud_rate', 'speed'],
  format: ['parity', 'stopbits', 'stop_bits', 'databits', 'data_bits', 'bytesize'],
  port: ['listen', 'tcp_port'],
  path: ['device', 'serial_port', 'serialport', 'tty', 'port'],
  host: ['ip', 'address', 'hostname', 'server'],
  unit_id: ['unit', 'slave', 'slave_id', 'slaveid', 'address', 'station', 'id', 'node'],
  map: ['template', 'use', 'model', 'profile', 'device_map'],
  holding: ['register', 'address', 'reg', 'function', 'function_code', 'fc', 'register_type', 'input_type'],
  type: ['datatype', 'data_type', 'format', 'value_type'],
  order: ['byte_order', 'word_order', 'swap', 'endian', 'endianness', 'byteorder', 'wordorder'],
  scale: ['factor', 'multiplier', 'gain', 'coefficient', 'divisor', 'precision'],
  count: ['length', 'size', 'quantity', 'objects_count', 'words'],
  rate: ['interval', 'scan_interval', 'poll', 'poll_interval', 'period', 'scan_rate', 'refresh'],
  value: ['calc', 'calculate', 'formula', 'expression', 'virtual'],
  counter: ['kind', 'state_class', 'total_increasing'],
  title: ['name'],
  unit: ['unit_of_measurement', 'uom'],
  write: ['writable', 'writeable', 'access', 'command', 'readonly', 'rw'],
  invalid: ['nan', 'nan_value', 'sentinel', 'error_value'],
  users_file: ['users', 'password_file', 'passwords', 'auth'],
  access: ['acl', 'acl_file', 'permissions', 'rights'],
  anonymous: ['allow_anonymous'],
  listeners: ['listener', 'port', 'ports'],
  nodes: ['url', 'urls', 'host', 'hosts', 'server', 'servers', 'broker', 'address'],
  out: ['rules', 'forward', 'publish', 'topics'],
  in: ['subscribe', 'subscriptions'],
  client_ca: ['ca', 'cafile'],
  cert: ['certfile', 'certificate', 'crt'],
  key: ['keyfile', 'private_key'],
};

function unknownKey(key: string, at: Path, known: readonly string[]): Complaint {
  const complaint = { code: UNKNOWN_KEY, path: [...at, key], end: 'key' } as const;
  const what = `${nameOf(key)} is not a key here`;
  if (/^\d+$/.test(key)) {
    return {
      ...complaint,
      text: `${what}; if it belongs to the number before it, write a decimal point instead of the comma`,
    };
  }
  const [, begun, rest] = /^(\w+):(.+)$/.exec(key) ?? [];
  if (begun !== undefined && known.includes(begun))
    return {
      ...complaint,
      text: `${what}; write a space after the colon, ${begun}: ${rest}`,
      suggested: begun,
    };
  const alien = known.find((one) => ALIENS[one]?.includes(key.toLowerCase()) === true);
  const meant = nearest(key, known) ?? alien;
  if (meant !== undefined) return { ...complaint, text: `${what}; did you mean ${meant}?`, suggested: meant };
  return {
    ...complaint,
    text: known.length === 0 ? `${what}; nothing can stand here` : `${what}; known are ${listed(known)}`,
  };
}

/** What other tools, PLCs and manuals call a type. */
const ALIEN_TYPES: Readonly<Record<string, string>> = {
  u16: 'uint16', s16: 'int16', i16: 'int16', word: 'uint16', short: 'int16', int: 'int16', uint: 'uint16',
  u32: 'uint32', s32: 'int32', i32: 'int32', dword: 'uint32', long: 'int32', dint: 'int32', udint: 'uint32', ulong: 'uint32',
  u64: 'uint64', s64: 'int64', i64: 'int64', lint: 'int64', ulint: 'uint64', qword: 'uint64',
  float: 'float32', real: 'float32', single: 'float32', f32: 'float32', double: 'float64', lreal: 'float64', f64: 'float64',
  int8: 'int8_low', uint8: 'uint8_low', byte: 'uint8_low', bit: 'bool', boolean: 'bool', char: 'string', text: 'string', ascii: 'string',
  bcd: 'bcd16', signed: 'int16', unsigned: 'uint16', time: 'unixtime', datetime: 'datetime6',
}; // prettier-ignore

/** What other tools call a protocol, an order and a right. */
const ALIEN_WORDS: Readonly<Record<string, string>> = {
  'modbus': 'tcp', 'modbus-tcp': 'tcp', 'modbustcp': 'tcp', 'modbus_tcp': 'tcp', 'tcp/ip': 'tcp', 'ethernet': 'tcp',
  'serial': 'rtu', 'modbus-rtu': 'rtu', 'modbusrtu': 'rtu', 'modbus_rtu': 'rtu', 'rs485': 'rtu', 'rs-485': 'rtu', 'rtutcp': 'rtu-over-tcp',
  'little-endian': 'little', 'littleendian': 'little', 'le': 'little', 'big-endian': 'big', 'bigendian': 'big', 'be': 'big',
  'word-swap': 'CDAB', 'word_swap': 'CDAB', 'wordswap': 'CDAB', 'byte-swap': 'BADC', 'byte_swap': 'BADC', 'byteswap': 'BADC',
  'publish': 'write', 'pub': 'write', 'sub': 'subscribe',
  'on_change': 'change', 'onchange': 'change', 'every': 'always',
}; // prettier-ignore

function notOneOf(issue: Issue & { code: 'invalid_value' }): string {
  if (issue.message !== 'Invalid input') return issue.message;
  const values = issue.values.map(String);
  const alien = typeof issue.input === 'string' ? ALIEN_TYPES[issue.input.toLowerCase()] : undefined;
  if (alien !== undefined && values.includes(alien))
    return `${kindOf(issue.input)} is not a type here; write ${alien}`;
  const word = typeof issue.input === 'string' ? ALIEN_WORDS[issue.input.toLowerCase()] : undefined;
  const near =
    word !== undefined && values.includes(word)
      ? `; did you mean ${word}?`
      : typeof issue.input === 'string'
        ? suggestion(issue.input, values)
        : '';
  const most = near === '' ? 30 : 10;
  const list = values.length > most ? `${values.slice(0, most).join(', ')}, ...` : values.join(', ');
  return `${kindOf(issue.input)} is not one of ${list}${near}`;
}

const KIND_TEXT: Readonly<Record<string, string>> = {
  object: 'a map', record: 'a map', array: 'a list', string: 'a text', boolean: 'true or false', number: 'a number', int: 'a whole number',
}; // prettier-ignore

function wrongKind(issue: Issue & { code: 'invalid_type' }, known: readonly string[]): string {
  if (issue.message !== 'Invalid input') return issue.message;
  const isMap = issue.expected === 'object' || issue.expected === 'record';
  const isOfNumbers = /^(enum|flags)$/.test(String(issue.path?.at(-1)));
  const hint = isOfNumbers
    ? '; write { 0: "off", 1: "on" }'
    : isMap
      ? hintOfMap(issue.input, known)
      : issue.expected === 'array'
        ? '; put it in [ ]'
        : '';
  return `${kindOf(issue.input)} is not ${KIND_TEXT[issue.expected] ?? issue.expected}${hint}`;
}

/** How what stands there becomes a map: of the keys that are known, or of names that are free. */
function hintOfMap(input: unknown, known: readonly string[]): string {
  if (input === null) return '; indent what belongs to it, or remove the key';
  const isListOfMaps = Array.isArray(input) && input.some((one) => typeof one === 'object');
  if (known.length === 0 && isListOfMaps)
    return '; write NAME: in place of each dash, and what belongs to it below';
  if (known.length === 0) return '; write { NAME: VALUE, ... }';
  return `; write ${input === true ? '{}, or ' : ''}{ KEY: VALUE, ... } with keys of these: ${listed(known)}`;
}

function listed(words: readonly string[]): string {
  return `${words.slice(0, 12).join(', ')}${words.length > 12 ? ', ...' : ''}`;
}

function wrongKinds(issue: Issue & { code: 'invalid_union' }): string {
  const kinds = issue.errors.flat().flatMap((inner) => {
    if (inner.code === 'invalid_type') return [KIND_TEXT[inner.expected] ?? inner.expected];
    return inner.code === 'invalid_value' ? inner.values.map(String) : [];
  });
  return `${kindOf(issue.input)} is not ${[...new Set(kinds)].join(' or ')}`;
}

function ofMessage(issue: Issue): string {
  if (issue.message !== 'Invalid input') return issue.message;
  if (issue.code === 'too_big') return `${kindOf(issue.input)} is more than ${String(issue.maximum)}`;
  if (issue.code === 'too_small')
    return `${kindOf(issue.input)} is ${issue.inclusive === false ? 'not more' : 'less'} than ${String(issue.minimum)}`;
  return `${kindOf(issue.input)} cannot stand here`;
}

function kindOf(input: unknown): string {
  if (typeof input === 'string')
    return JSON.stringify(input.length > 60 ? `${input.slice(0, 57)}...` : input);
  if (Array.isArray(input)) return 'a list';
  if (input === null) return 'an empty value';
  return typeof input === 'object' ? 'a map' : String(input);
}

/** Takes the path's end out of the tree; instead of an item, its whole list, so that indexes keep their meaning. */
function remove(root: unknown, path: Path, removed: Set<string>): void {
  const end = path.findLastIndex((step) => typeof step === 'string');
  const keys = path.slice(0, end + 1);
  removed.add(pathText(keys));
  let at: unknown = root;
  for (const step of keys.slice(0, -1)) {
    if (typeof at !== 'object' || at === null) return;
    at = Reflect.get(at, step);
  }
  const last = keys[keys.length - 1];
  if (typeof at === 'object' && at !== null && last !== undefined) Reflect.deleteProperty(at, last);
}
