/** The loader answers whatever bytes it is given with problems that have a place, and never throws. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { FILE_MAX_BYTES, Source } from '../../src/config/load.js';
import { plainTag } from '../../src/config/leantag.js';
import { loadAside } from '../../src/config/loadaside.js';
import { loadHere, loadPlant } from '../../src/config/loadplant.js';
import type { Plant } from '../../src/config/plant.js';
import { packageFolder } from '../../src/entry.js';

const folder = mkdtempSync(join(tmpdir(), 'holdfast-load-'));
after(() => rmSync(folder, { recursive: true }));

function written(name: string, text: string | Uint8Array): string {
  const file = join(folder, name);
  writeFileSync(file, text);
  return file;
}

/** Loads it, and checks that every problem has a place inside the text. */
function load(text: string | Uint8Array): ReturnType<typeof loadHere> {
  const loaded = loadHere(written('any.yaml', text), {});
  const lines = Buffer.from(text).toString('utf8').split('\n').length;
  for (const { line, column, code, text: said } of loaded.problems) {
    assert.match(code, /^HF\d{4}$/);
    assert.ok(line <= lines + 1 && column >= 0, `${line}:${column} ${said}`);
    assert.ok(said.length > 0 && !said.includes('\n'));
  }
  assert.equal(
    loaded.plant === null,
    loaded.problems.some(({ severity }) => severity === 'error'),
  );
  return loaded;
}

test('any text is answered', () => {
  const pieces = ['version: 1', '\n', '  ', '- ', ': ', '{', '}', '[', ']', '&a ', '*a', '!file x', '!!map', '<<: ', '"', "'", '|', '>', '#', '? ', '${X}', '__proto__', 'devices', 'buses', 'tags', 'holding', '0x', '1e999', '.nan', '---', '...', '%YAML 1.1', '\t', '\u0000', '\ud800', 'constructor', 'toString']; // prettier-ignore
  const text = fc.oneof(
    fc.string({ maxLength: 200 }),
    fc.array(fc.constantFrom(...pieces), { maxLength: 60 }).map((parts) => parts.join('')),
  );
  fc.assert(
    fc.property(text, (one) => void load(one)),
    { numRuns: 400, seed: 11 },
  );
});

test('any bytes are answered', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => void load(bytes)),
    { numRuns: 200, seed: 12 },
  );
});

test('a file with anything changed in it is answered', () => {
  const examples = [
    'config/demo.yaml',
    'config/example.yaml',
    'config/examples/iot-platform.yaml',
    'config/examples/plc-structures.yaml',
    'test/config/cases/contract/config.yaml',
  ];
  const texts = examples.map((file) => readFileSync(join(packageFolder(), file), 'utf8'));
  const change = fc.record({
    text: fc.constantFrom(...texts),
    at: fc.double({ min: 0, max: 1, noNaN: true }),
    length: fc.nat({ max: 30 }),
    by: fc.oneof(
      fc.string({ maxLength: 6 }),
      fc.constantFrom(
        '{',
        '}',
        '[',
        '\n',
        ': ',
        '-1',
        '99999999999999999999',
        'null',
        '~',
        'true',
        '"',
        '&x',
        '*x',
        '[]',
        '{}',
      ),
    ),
  });
  fc.assert(
    fc.property(change, ({ text, at, length, by }) => {
      const from = Math.floor(at * text.length);
      load(text.slice(0, from) + by + text.slice(from + length));
    }),
    { numRuns: 120, seed: 13 },
  );
});

test('values of any kind at any key are answered', () => {
  const keys = ['version', 'gateway', 'broker', 'listeners', 'web', 'rates', 'buses', 'devices', 'l1', 'tags', 'map', 'unit_id', 'bus', 'protocol', 'repeat', 'groups', 'holding', 'write', 'enum', '__proto__', 'constructor']; // prettier-ignore
  const { tree } = fc.letrec((tie) => ({
    tree: fc.oneof(
      { depthSize: 'small' },
      fc.jsonValue({ maxDepth: 1 }),
      fc.dictionary(fc.constantFrom(...keys), tie('tree'), { maxKeys: 5 }),
      fc.array(tie('tree'), { maxLength: 3 }),
    ),
  }));
  fc.assert(
    fc.property(tree, (value) => void load(JSON.stringify({ version: 1, ...(value as object) }))),
    { numRuns: 250, seed: 14 },
  );
});

test('aliases that expand without end are refused', () => {
  const levels = Array.from(
    { length: 12 },
    (_, index) => `  - &a${index + 1} [${Array(10).fill(`*a${index}`).join(', ')}]`,
  );
  const { problems } = load(`version: 1\nx:\n  - &a0 [1, 2]\n${levels.join('\n')}\n`);
  assert.ok(problems.some(({ code }) => code === 'HF1003'));
});

test('nesting that would exhaust the stack is refused', () => {
  for (const text of ['['.repeat(200_000), `a: ${'{a: '.repeat(5_000)}`, '- '.repeat(5_000)]) {
    const { problems } = load(text);
    assert.ok(problems.length > 0);
  }
});

test('places to fill in that do not end cost no more than others', () => {
  const open = '${A:-'.repeat(30_000);
  const beganUs = process.cpuUsage().user;
  const { value, problems } = new Source('gateway.yaml', `name: "\${A:-b}${open}"\n`, {});
  assert.ok(process.cpuUsage().user - beganUs < 2_000_000, 'seconds');
  assert.deepEqual([value, problems], [{ name: `b${open}` }, []]);
});

test('a file above 16 MiB is refused unread, and a folder is no file', () => {
  const file = written('large.yaml', Buffer.alloc(FILE_MAX_BYTES + 1, 0x20));
  assert.equal(loadHere(file, {}).problems[0]?.code, 'HF1012');
  assert.equal(loadHere(folder, {}).problems[0]?.code, 'HF1000');
});

test('a file that is one long line of JSON is no deep one', () => {
  const tags = Object.fromEntries(
    Array.from({ length: 500 }, (_, index) => [`t${index}`, { holding: index }]),
  );
  const device = { bus: 'plc', unit_id: 1, tags };
  const { plant, problems } = load(
    JSON.stringify({
      version: 1,
      broker: { anonymous: true },
      buses: { plc: { protocol: 'tcp', host: '127.0.0.1' } },
      devices: { device },
    }),
  );
  assert.deepEqual(problems, []);
  assert.equal(plant?.tags.length, 500);
});

test('__proto__ is a plain key, as a device, a tag or anything else', () => {
  const { plant, problems } = load(`version: 1
broker: { anonymous: true }
buses: { __proto__: { protocol: tcp, host: 127.0.0.1 } }
devices:
  __proto__: { bus: __proto__, unit_id: 1, tags: { __proto__: { holding: 7 }, constructor: { holding: 8 } } }
`);
  assert.deepEqual(problems, []);
  assert.deepEqual(
    plant?.tags.map(({ topic }) => topic.split('/').slice(2).join('/')),
    ['data/__proto__/__proto__', 'data/__proto__/constructor'],
  );
  assert.equal(plant?.buses[0]?.name, '__proto__');
  assert.equal(Object.hasOwn(Object.prototype, 'protocol'), false);
});

test('a file is UTF-8, with or without a mark, with either line end', () => {
  const text =
    'version: 1\r\nbroker: { anonymous: true }\r\nbuses: { l: { protocol: tcp, host: 127.0.0.1 } }\r\ndevices: { d: { bus: l, unit_id: 1, tags: { t: { holding: 1, unit: "°C" } } } }\r\n';
  for (const bytes of [Buffer.from(text), Buffer.from(`\ufeff${text}`)]) {
    const { plant, problems } = load(bytes);
    assert.deepEqual(problems, []);
    assert.equal(plant?.tags[0]?.unit, '°C');
  }
  for (const bytes of [Buffer.from(text, 'latin1'), Buffer.from(`\ufeff${text}`, 'utf16le')]) {
    assert.deepEqual(
      load(bytes).problems.map(({ code }) => code),
      ['HF1014'],
    );
  }
  const place = loadHere(written('latin1.yaml', Buffer.from(text, 'latin1')), {}).problems[0];
  assert.deepEqual(
    [place?.line, place?.column],
    [4, text.split('\n')[3]?.indexOf('°') ?? 0].map((at, index) => at + index),
  );
});

test('integers beyond 2^53 keep their digits', () => {
  const { value } = new Source(
    'x',
    'a: 18446744073709551615\nb: 0x8000000000000000\nc: -9223372036854775808\n',
    {},
  );
  assert.deepEqual({ ...(value as object) }, { a: 2n ** 64n - 1n, b: 2n ** 63n, c: -(2n ** 63n) });
});

test('secrets and settings come from files and the environment', () => {
  written('host.txt', '10.1.2.3\n');
  const text =
    'version: 1\nbroker: { anonymous: "${OPEN}" }\nbuses:\n  l: { protocol: tcp, host: !file host.txt, port: "${PORT:-1502}" }\n  m: { protocol: tcp, host: "${HOST}" }\ngateway: { id: "a$${B}" }\n';
  const file = written('secrets.yaml', text);
  const { plant, problems } = loadHere(file, { OPEN: 'true', HOST: '12' });
  assert.deepEqual(
    problems.map(({ code, path }) => `${code} ${path}`),
    ['HF1106 gateway.id'],
  );
  assert.equal(plant, null);
  const right = loadHere(written('right.yaml', text.replace('a$${B}', 'x')), { OPEN: 'true', HOST: '12' });
  assert.deepEqual(
    right.plant?.buses.map(({ link }) => ('host' in link ? `${link.host}:${link.port}` : '')),
    ['10.1.2.3:1502', '12:502'],
  );
  assert.equal(right.plant?.broker.anonymous, true);
});

test('a problem names what holds a secret, and not the secret', () => {
  written('key.txt', `-----BEGIN "KEY"-----\n${'secret'.repeat(20)}\n`);
  const text = `version: 1
broker: { anonymous: true }
gateway: { id: "a \${ID}" }
buses:
  l: { protocol: !file key.txt, host: x }
  m: { protocol: tcp, host: x, port: "\${PORT:-many}" }
  n: { protocol: tcp, host: y, port: "\${PASSWORD}" }
devices: { d: { bus: m, unit_id: 1, tags: { t: { holding: 1, rate: "\${PASSWORD}" } } } }
`;
  const { problems } = loadHere(written('told.yaml', text), { ID: 'opensesame', PASSWORD: 'hunter2' });
  assert.deepEqual(
    problems.map(({ path, text: said }) => `${path} ${said.split(' is not')[0] ?? ''}`),
    [
      'gateway.id "a ${ID}"',
      'buses.l.protocol "!file key.txt"',
      'buses.m.port "many"',
      'buses.n.port "${PASSWORD}"',
      'devices.d.tags.t.rate ${PASSWORD}',
    ],
  );
  assert.doesNotMatch(JSON.stringify(problems), /opensesame|hunter2|secret|BEGIN/);
});

test('files are loaded one at a time, however many are asked for', async () => {
  const file = written('one.yaml', 'version: 1\nbroker: { anonymous: true }\n');
  await loadAside(file, {});
  const threads = (): number => readdirSync('/proc/self/task').length;
  const before = threads();
  let most = 0;
  const look = setInterval(() => (most = Math.max(most, threads())), 2);
  const all = await Promise.all(Array.from({ length: 8 }, () => loadAside(file, {})));
  clearInterval(look);
  assert.deepEqual(
    all.flatMap(({ problems }) => problems),
    [],
  );
  // One that ends may still be there when the next begins.
  assert.ok(most <= before + 2, `${most - before} threads more`);
});

test('a large file is loaded in a worker, with the same outcome, and its memory goes back', async () => {
  const device = (index: number): string => {
    const tags = Array.from(
      { length: 60 },
      (_, tag) => `      t${tag}: { holding: ${tag * 2}, type: float32, scale: 0.1, rate: fast }`,
    );
    return `  d${index}:\n    bus: plc\n    unit_id: ${index}\n    tags:\n${tags.join('\n')}\n`;
  };
  const text = `version: 1\nbroker: { anonymous: true }\nbuses: { plc: { protocol: tcp, host: 127.0.0.1 } }\ndevices:\n${Array.from({ length: 30 }, (_, index) => device(index)).join('')}`;
  assert.ok(text.length > 2 ** 16);
  const file = written('many.yaml', text);
  const { plant, problems } = await loadPlant(file, {});
  assert.deepEqual(problems, []);
  const here = loadHere(file, {}).plant;
  assert.ok(plant !== null && here !== null);
  const plain = (one: Plant): Plant => ({ ...one, tags: one.tags.map(plainTag) });
  assert.deepEqual(plain(plant), plain(here));
  assert.ok(Object.isFrozen(plant.tags[1_799]) && Object.isFrozen(plant.broker.limits));
  assert.equal(plant.tags[1_799]?.device, plant.devices[29]);
  const wrong = await loadPlant(
    written('wrong.yaml', text.replace('t59: { holding: 118', 't59: { holdin: 118')),
    {},
  );
  assert.deepEqual(
    wrong.problems.map(({ code }) => code),
    ['HF1101', 'HF1301'].slice(0, wrong.problems.length),
  );
  assert.equal(wrong.plant, null);
});

test('every code is in the table of the reference page', async () => {
  const { CODES } = await import('../../src/config/codes.js');
  const source = join(packageFolder(), 'src');
  const texts = ['config', 'cli'].flatMap((room) =>
    readdirSync(join(source, room), { encoding: 'utf8', recursive: true })
      .filter((file) => file.endsWith('.ts') && file !== 'codes.ts')
      .map((file) => readFileSync(join(source, room, file), 'utf8')),
  );
  const used = new Set(texts.flatMap((text) => text.match(/HF\d{4}/g) ?? []));
  assert.deepEqual(
    [...used].filter((code) => CODES[code] === undefined),
    [],
  );
  assert.deepEqual(
    Object.keys(CODES).filter((code) => !used.has(code)),
    [],
  );
});
