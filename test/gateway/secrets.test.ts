import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { masked, unmasked } from '../../src/gateway/secrets.js';

const text = `uplinks:
  cloud: { user: gw, password: "s3cret, with } all", nodes: [mqtts://b] } # password: shown in a comment is masked too
  other:
    password: plain word
  third: { password: \${CLOUD_PASSWORD} }
  fourth: { password: !file secret.txt }
  fifth: { password: 'it''s' }
  sixth: { password: $tart }
  seventh: { nodes: ["mqtt://gw:in-address@a.example:1883", mqtts://gw:second@b.example, mqtt://gw@c.example] }
  eighth: { nodes: ["mqtt://gw:\${NODE_PASSWORD}@a.example"] }
`;

test('passwords are masked, references are not, and the masks come back as what they hide', () => {
  const shown = masked(text);
  for (const secret of ['s3cret', 'plain word', "it''s", '$tart', 'in-address', 'second'])
    assert.ok(!shown.includes(secret), shown);
  for (const kept of ['${CLOUD_PASSWORD}', '!file secret.txt', 'mqtts://b', '${NODE_PASSWORD}'])
    assert.ok(shown.includes(kept));
  assert.equal(unmasked(shown, text), text);
  assert.equal(
    unmasked(shown.replace('user: gw', 'user: other'), text),
    text.replace('user: gw', 'user: other'),
  );
  assert.equal(
    unmasked(shown.replace(/"\*{8}[^"]*"/, '"new"'), text),
    text.replace('"s3cret, with } all"', '"new"'),
  );
});

test('secrets are masked however their keys are written', () => {
  const json = '{"uplinks":{"cloud":{"user":"gw","password":"in-json","nodes":["mqtts://b"]}}}';
  const quoted = "uplinks: { cloud: { 'password': in-quotes, user: gw }, other: { 'password':'adjacent' } }";
  const explicit = 'cloud:\n  ? password\n  : below\n';
  const block = 'uplinks:\n  cloud:\n    password: |-\n      on-a-line\n\n      of-its-own\n    user: gw\n';
  const lines =
    "a: { password: \"over\n    several-lines \\\" # of it\", user: b }\nc:\n  password: # hidden\n    # as well\n    after-a-comment\nd:\n  password: 'it''s\n\n    of-three-lines'\ne: { password: !!str of-a-kind }\n";
  const files = {
    'several-lines': lines,
    'of it': lines,
    'after-a-comment': lines,
    'of-three-lines': lines,
    'of-a-kind': lines,
    'in-json': json,
    'in-quotes': quoted,
    adjacent: quoted,
    below: explicit,
    'on-a-line': block,
    'of-its-own': block,
  };
  for (const [secret, file] of Object.entries(files)) {
    const shown = masked(file);
    assert.ok(!shown.includes(secret), shown);
    assert.equal(unmasked(shown, file), file);
  }
  assert.match(masked(block), /\n {4}user: gw\n$/);
});

test('a text of blanks is searched as soon as any other', () => {
  const blank = [' ', '\n', '#\n', 'password: #\n', "password: '", 'password: \\"', 'password: "\\"'];
  for (const blanks of [...blank.map((one) => one.repeat(60_000)), `password:${' '.repeat(60_000)}`]) {
    const begunMs = performance.now();
    assert.equal(unmasked(blanks, text), blanks);
    // It took more than ten seconds.
    assert.ok(performance.now() - begunMs < 2000);
  }
});

test('a password in an address is changed without touching the others', () => {
  const shown = masked(text);
  assert.equal(
    unmasked(shown.replace(/gw:\*{8}[^@]*@b/, 'gw:third@b'), text),
    text.replace('gw:second@b', 'gw:third@b'),
  );
});

test('a secret goes with its item, wherever that is moved to, and with those that are left', () => {
  const moved = (of: string): string => {
    const lines = of.trimEnd().split('\n');
    return `${[lines[0], ...lines.slice(4), ...lines.slice(1, 4)].join('\n')}\n`;
  };
  assert.equal(unmasked(moved(masked(text)), text), moved(text));
  const without = (of: string): string => of.replace(/ {2}fifth.*\n/, '');
  assert.equal(unmasked(without(masked(text)), text), without(text));
  assert.equal(unmasked('version: 1\n', text), 'version: 1\n');
});

test('a mask that hides no secret of the file is refused, not kept as a password', () => {
  for (const mask of ['"********"', '"********00000000"', "'********'", '********'])
    assert.equal(unmasked(masked(text).replace(/"\*{8}[^"]*"/, mask), text), null, mask);
  assert.equal(unmasked(masked(text).replace(/gw:\*{8}/, 'gw:********9'), text), null);
  assert.equal(unmasked(masked('a: { password: other }'), text), null);
});

test('any quoted password is hidden and comes back', () => {
  fc.assert(
    fc.property(
      fc.string().filter((one) => !one.startsWith('${')),
      fc.string(),
      (password, other) => {
        const file = `a: { password: ${JSON.stringify(password)} }\nb: ${JSON.stringify(other)}\n`;
        const shown = masked(file);
        assert.match(shown, /^a: \{ password: "\*{8}[0-9a-f]{8}" \}/);
        assert.equal(unmasked(shown, file), file);
      },
    ),
  );
});
