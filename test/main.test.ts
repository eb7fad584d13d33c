import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { test } from 'node:test';
import { VERBS } from '../src/cli/verbs.js';
import { packageFolder } from '../src/entry.js';
import { holdfast } from './support/holdfast.js';
import { Typist } from './support/verb.js';

const run = promisify(execFile);

test('help goes to stdout, lists every verb, and fits 80 columns', async () => {
  const { code, stdout, stderr } = await holdfast(['--help']);
  assert.equal(code, 0);
  assert.equal(stderr, '');
  for (const { name } of VERBS) assert.match(stdout, new RegExp(`^  ${name} `, 'm'));
  assert.deepEqual(
    stdout.split('\n').filter((line) => line.length > 80),
    [],
  );
});

test('without a verb the help goes to stderr and the exit code says usage', async () => {
  const { code, stdout, stderr } = await holdfast([]);
  assert.equal(code, 2);
  assert.equal(stdout, '');
  assert.match(stderr, /^holdfast - Modbus to MQTT gateway/);
});

test('the help of each verb begins with an example and fits 80 columns', async () => {
  for (const { name } of VERBS) {
    const { code, stdout } = await holdfast([name, '--help']);
    assert.equal(code, 0, name);
    const [title, , example] = stdout.split('\n');
    assert.match(title ?? '', new RegExp(`^holdfast ${name} - `));
    assert.match(example ?? '', new RegExp(`^  holdfast ${name}`));
    assert.deepEqual(
      stdout.split('\n').filter((line) => line.length > 80),
      [],
      name,
    );
  }
});

test('a misspelt verb or option gets a suggestion, a next step and exit code 2', async () => {
  for (const [typed, meant] of [
    [['verison'], 'version'],
    [['hepl'], 'help'],
    [['help', 'chek'], 'check'],
  ] as const) {
    const verb = await holdfast(typed);
    assert.equal(verb.code, 2);
    assert.equal(verb.stdout, '');
    assert.match(verb.stderr, new RegExp(`did you mean ${meant}\\?\\); 'holdfast --help' lists them`));
  }
  const option = await holdfast(['version', '--jsno']);
  assert.equal(option.code, 2);
  assert.match(option.stderr, /\(Did you mean --json\?\)\nTry 'holdfast version --help'/);
});

test('version is one line, and with --json a document', async () => {
  const line = await holdfast(['version']);
  assert.match(line.stdout, /^holdfast \d+\.\d+\.\d+\n$/);
  assert.equal((await holdfast(['--version'])).stdout, line.stdout);
  const document = JSON.parse((await holdfast(['version', '--json'])).stdout) as Record<string, unknown>;
  assert.equal(`holdfast ${String(document['version'])}\n`, line.stdout);
});

test('a reader that goes away early, as head does, is no failure', async () => {
  for (const verb of ['schema', '--help', 'completion bash', 'check --config config/demo.yaml']) {
    const script = `node dist/main.js ${verb} | head -n 1; echo "\${PIPESTATUS[0]}"`;
    const { stdout, stderr } = await run('bash', ['-c', script], { cwd: packageFolder() });
    assert.match(stdout, /\n0\n$/, verb);
    assert.equal(stderr, '', verb);
  }
});

test('on a terminal there is colour, and none where NO_COLOR says so or nobody looks', async (t) => {
  const args = ['check', '--config', 'config/demo.yaml'];
  const plain = new Typist(t, args, { cwd: packageFolder(), env: { NO_COLOR: '1' } });
  assert.equal(await plain.ended, 0);
  assert.ok(!plain.shown.includes('\x1b['), plain.shown);
  assert.ok(!(await holdfast(args, { cwd: packageFolder() })).stdout.includes('\x1b['));
});

test('every refusal begins with the name of the program, and a file in the wrong place is told where it belongs', async () => {
  const unknown = await holdfast(['run', '--confg', 'x']);
  assert.equal(unknown.code, 2);
  assert.match(unknown.stderr, /^holdfast: unknown option '--confg'\n\(Did you mean --config\?\)\nTry 'holdfast run --help'\./);
  const absent = await holdfast(['run', 'absent.yaml']);
  assert.deepEqual([absent.code, /^absent\.yaml {2}HF1000/m.test(absent.stderr)], [3, true]);
  const simulate = await holdfast(['simulate', 'plant.yaml']);
  assert.equal(simulate.code, 2);
  assert.match(simulate.stderr, /plant\.yaml is no fault; write holdfast simulate --config plant\.yaml/);
  assert.match((await holdfast(['read', '/dev/ttyS9', '40001'])).stderr, /rtu:\/\/\/dev\/ttyS9\?unit=1/);
}); // prettier-ignore
