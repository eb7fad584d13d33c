/** Completions in the shells themselves, at a terminal: what is typed, a tab, and what stands there then. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { spawn, type IPty } from '@lydell/node-pty';
import { holdfast, mainFile } from '../support/holdfast.js';
import { until } from '../support/wait.js';

const folder = mkdtempSync(join(tmpdir(), 'holdfast-completion-'));
const env = {
  PATH: `${folder}/bin:${process.env['PATH'] ?? ''}`,
  HOME: folder,
  XDG_CONFIG_HOME: folder,
  TERM: 'dumb',
};

const CONFIG = `version: 1
buses: { hall1: { protocol: tcp, host: 127.0.0.1 }, yard: { protocol: tcp, host: 127.0.0.1 } }
devices:
  press1: { bus: hall1, unit_id: 1, tags: { setpoint: { holding: 0 }, temperature: { holding: 1 } } }
  meter1: { bus: yard, unit_id: 1, tags: { voltage: { holding: 0 } } }
`;

before(async () => {
  mkdirSync(join(folder, 'bin'));
  const program = join(folder, 'bin/holdfast');
  writeFileSync(program, `#!/bin/sh\nexec "${process.execPath}" "${mainFile}" "$@"\n`);
  chmodSync(program, 0o755);
  writeFileSync(join(folder, 'plant.yaml'), CONFIG);
  for (const shell of ['bash', 'zsh', 'fish']) {
    const { stdout, code } = await holdfast(['completion', shell]);
    assert.equal(code, 0);
    writeFileSync(join(folder, `completion.${shell}`), stdout);
  }
});
after(() => rmSync(folder, { recursive: true }));

/** What is typed, and what a tab makes of it. */
const CASES = [
  ['holdfast simul', 'holdfast simulate '],
  ['holdfast trace --pc', 'holdfast trace --pcap '],
  ['holdfast trace -c pla', 'holdfast trace -c plant.yaml '],
  ['holdfast trace -c plant.yaml ya', 'holdfast trace -c plant.yaml yard '],
  ['holdfast trace --config=plant.yaml --hex hal', 'holdfast trace --config=plant.yaml --hex hall1 '],
  ['holdfast read -c plant.yaml pre', 'holdfast read -c plant.yaml press1 '],
  ['holdfast read -c plant.yaml press1 set', 'holdfast read -c plant.yaml press1 setpoint '],
  ['holdfast write -c plant.yaml meter1 vo', 'holdfast write -c plant.yaml meter1 voltage '],
  ['holdfast watch -c plant.yaml press1/tem', 'holdfast watch -c plant.yaml press1/temperature '],
  ['holdfast import pla', 'holdfast import plant.yaml '],
] as const;

/** A shell at a terminal, started without anybody's settings. */
const SHELLS = {
  bash: { args: ['--norc', '--noprofile', '-i'], begin: "PS1='ready> '; . ./completion.bash" },
  zsh: {
    args: ['-f', '-i'],
    begin: "PS1='ready> '; autoload -U compinit; compinit -u; . ./completion.zsh",
  },
} as const;

for (const shell of ['bash', 'zsh'] as const) {
  describe(shell, () => {
    const { args, begin } = SHELLS[shell];
    let shown = '';
    let terminal: IPty;
    const sees = (what: string): Promise<unknown> =>
      until(what, () => screenOf(shown).includes(what), 30_000).catch((thrown: unknown) =>
        assert.fail(`${String(thrown)} in\n${JSON.stringify(shown)}`),
      );
    before(async () => {
      terminal = spawn(shell, [...args], { cols: 200, rows: 24, cwd: folder, env });
      terminal.onData((text) => (shown += text));
      terminal.write(`${begin}; echo set-up-$((1 + 1))\r`);
      await until('its prompt', () => /set-up-2[\s\S]*ready> /.test(screenOf(shown)));
    });
    after(() => terminal.kill('SIGKILL'));
    for (const [typed, completed] of CASES) {
      test(`${typed}<TAB>`, async () => {
        // What stood there goes.
        terminal.write('\x15');
        shown = '';
        terminal.write(`${typed}\t`);
        await sees(completed);
      });
    }
  });
}

/** What stands there: without colours, and with what was taken back gone. */
function screenOf(text: string): string {
  let plain = text.replaceAll(/\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\x07/g, '');
  while (/[^\x08]\x08/.test(plain)) plain = plain.replace(/[^\x08]\x08/, '');
  return plain;
}

describe('fish', () => {
  for (const [typed, completed] of CASES) {
    test(`${typed}<TAB>`, () => {
      const script = `source ./completion.fish; complete -C '${typed}'`;
      const offered = execFileSync('fish', ['--no-config', '-c', script], {
        cwd: folder,
        env,
        encoding: 'utf8',
      });
      const word = completed.trim().split(' ').at(-1) ?? '';
      const words = offered.split('\n').map((line) => line.split('\t')[0]);
      assert.ok(words.includes(word), offered);
    });
  }
});

test('an unknown shell is a usage error, and a file that cannot be read gives no names', async () => {
  assert.equal((await holdfast(['completion', 'tcsh'])).code, 2);
  const { stdout } = await holdfast(['completion', 'names', '--', 'trace', '-c', 'nothing.yaml', '']);
  assert.equal(stdout, '');
});
