/**
 * Every command of README and docs, run as it is written by a shell, in a folder with the gateway file of the README,
 * whose meter is simulated. What readers have that tests have not is put in its place: a serial port, an address.
 */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { PlantProcess } from '../../src/simulator/plantprocess.js';
import { Daemon } from '../support/daemon.js';
import { pathOf, socketOf } from '../support/plant.js';
import { freePort } from '../support/ports.js';
import { Typist } from '../support/verb.js';
import { until } from '../support/wait.js';
import { blocksOf, commandsOf, PAGES, root, type Command } from './pages.js';

/** Not run, each for a reason; their verbs, options and npm names are held against the real ones in pages.test.ts. */
const NOT_RUN: readonly (readonly [RegExp, string])[] = [
  [/^npm ci$/, 'installs from the registry'],
  [/^npm test$/, 'is what runs this'],
  [/^npm run (bundle|package:deb)$/, 'run by test/packaging'],
  [/^npm run bench/, 'measures for minutes'],
  [/^(apt|systemctl|journalctl|service) /, 'changes the machine'],
  [/^docker /, 'needs a container engine'],
  [/^holdfast init$/, 'asks many things; test/cli/init.test.ts answers'],
];

/** Goes on until somebody stops it, and says this meanwhile. */
const STAYS: readonly (readonly [RegExp, RegExp])[] = [
  [/ run --config/, /"msg":"ready"/],
  [/^mosquitto_sub /, /data\/meter1\/voltage \{"v":230\.5,"q":"good"/],
  [/(npm run|holdfast) demo/, /first value after/],
  [/ simulate/, /unit 7/],
  [/ scan /, /unit 7 {2}9600 8N1/],
  [/ watch /, /meter1\/voltage.*230\.5/],
  [/ trace /, /unit 7 {2}read input registers/],
];

/** Asks at a terminal. */
const ASKS: readonly (readonly [RegExp, readonly (readonly [RegExp, string])[]])[] = [
  [/ passwd /, [[/password for operator/, 'correct horse'], [/again/, 'correct horse']]],
]; // prettier-ignore

/** What is run where no gateway runs, as it says of itself. */
const ALONE = /(^| )(run|restore|wipe|reset|simulate|demo)( |$)/;

const LIST = 'name,address,type,order,unit\nvoltage,30001,float32,ABCD,V\n';
const VOLTAGE = Buffer.alloc(4);
VOLTAGE.writeFloatBE(230.5);

let plant: PlantProcess;
let daemon: Daemon;
let alone = '';
let env: Record<string, string> = {};
/** The reader's -> the test's. */
let inPlaceOf: readonly (readonly [string | RegExp, string])[] = [];

before(async () => {
  plant = await PlantProcess.start({
    buses: [
      { name: 'line', link: { kind: 'rtu', line: { baud: 9600 } }, units: [{ unitId: 7 }] },
      { name: 'free', link: { kind: 'rtu', line: { baud: 9600 } }, units: [{ unitId: 7 }] },
      { name: 'plc', link: { kind: 'tcp' }, units: [{ unitId: 1 }] },
    ],
  });
  await plant.poke('line', 7, 'input-register', 0, 2, VOLTAGE.toString('hex'));
  const line = await pathOf(plant, 'line');
  const { port } = await socketOf(plant, 'plc');
  const shared = await freePort();
  const guide = blocksOf('README.md').find(({ text }) => text.startsWith('version: 1'))?.text ?? '';
  const file = guide
    .replace('port: 1883', `port: ${await freePort()}`)
    .replace('/dev/ttyUSB0, ', `${line}, share: { port: ${shared} }, `);
  alone = mkdtempSync(join(tmpdir(), 'holdfast-alone-'));
  daemon = await new Daemon(file).start();
  writeFileSync(join(alone, 'holdfast.yaml'), guide.replace('port: 1883', 'port: 0'));
  cpSync(daemon.configFile, join(daemon.folder, 'holdfast.yaml'));
  for (const folder of [alone, daemon.folder]) furnish(folder, daemon.port());
  env = { PATH: `${join(alone, 'bin')}:${process.env['PATH'] ?? ''}` };
  inPlaceOf = [
    // Of a line that no gateway holds.
    ['/dev/ttyUSB0', await pathOf(plant, 'free')],
    ['10.0.0.5', `127.0.0.1:${port}`],
    ['-p 5020', `-p ${shared}`],
    ['GATEWAY', '127.0.0.1'],
    ['/etc/holdfast/', './'],
    // The one file of the program, and the installed command.
    [/^node holdfast\.js/, 'holdfast'],
  ];
});
after(async () => {
  await daemon?.remove();
  await plant?.stop();
  rmSync(alone, { recursive: true, force: true });
});

/** A reader's folder: the program, a list to import, a shell that finds holdfast and the port of the broker. */
function furnish(folder: string, port: number): void {
  symlinkSync(join(root, 'dist'), join(folder, 'dist'));
  symlinkSync(join(root, 'package.json'), join(folder, 'package.json'));
  writeFileSync(join(folder, 'list.csv'), LIST);
  mkdirSync(join(folder, 'bin'));
  const wrap = (name: string, command: string): void =>
    writeFileSync(join(folder, 'bin', name), `#!/bin/sh\nexec ${command} "$@"\n`, { mode: 0o755 });
  wrap('holdfast', `"${process.execPath}" "${join(root, 'dist/main.js')}"`);
  for (const name of ['mosquitto_sub', 'mosquitto_pub']) wrap(name, `/usr/bin/${name} -p ${port}`);
}

function entryOf<T>(table: readonly (readonly [RegExp, T])[], { text }: Command): T | undefined {
  return table.find(([pattern]) => pattern.test(text))?.[1];
}

for (const page of PAGES) {
  const commands = commandsOf(page).filter((command) => entryOf(NOT_RUN, command) === undefined);
  if (commands.length === 0) continue;
  describe(page, () => {
    for (const command of commands) {
      test(`line ${command.line}: ${command.text}`, async (t) => {
        const text = inPlaceOf.reduce((now, [theirs, ours]) => now.replace(theirs, ours), command.text);
        const isOfRepository = text.startsWith('npm ');
        const cwd = isOfRepository ? root : ALONE.test(text) ? alone : daemon.folder;
        // A backup goes back into a store that is not there.
        if (text.includes(' restore ')) rmSync(join(alone, 'data'), { recursive: true, force: true });
        if (text.includes(' backup ')) t.after(() => cpSync(join(cwd, 'monday.tar'), join(alone, 'monday.tar')));
        if (text.includes(' reset '))
          t.after(() => cpSync(join(alone, 'holdfast.yaml.old'), join(alone, 'holdfast.yaml')));
        const answers = entryOf(ASKS, command);
        if (answers !== undefined) {
          const typist = new Typist(t, text.split(' ').slice(2), { cwd });
          for (const [question, answer] of answers) await typist.answers(question, answer);
          assert.equal(await typist.ended, 0, typist.shown);
          return;
        }
        const run = new Run(text, cwd);
        t.after(() => run.end());
        await run.until(entryOf(STAYS, command));
      });
    }
  });
} // prettier-ignore

/** A shell with a command, in a process group of its own, so that all of it ends. */
class Run {
  readonly #child: ChildProcess;
  readonly #text: string;
  #said = '';
  #code: number | null | undefined;

  constructor(text: string, cwd: string) {
    this.#text = text;
    this.#child = spawn('/bin/sh', ['-c', text], {
      cwd,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    this.#child.stdout?.on('data', (bytes: Buffer) => (this.#said += bytes.toString()));
    this.#child.stderr?.on('data', (bytes: Buffer) => (this.#said += bytes.toString()));
    this.#child.on('close', (code) => (this.#code = code));
  }

  /** Until it said so, or until it ended well when there is nothing to wait for. */
  async until(pattern: RegExp | undefined): Promise<void> {
    await until(
      `${this.#text} to say ${String(pattern)}`,
      () => this.#code !== undefined || pattern?.test(this.#said),
      15_000,
    ).catch((thrown: unknown) => assert.fail(`${String(thrown)}; it said\n${this.#said}`));
    if (pattern === undefined) assert.equal(this.#code, 0, this.#said);
    else assert.match(this.#said, pattern);
  }

  /** As Ctrl-C does, to all of the group. */
  async end(): Promise<void> {
    if (this.#code !== undefined || this.#child.pid === undefined) return;
    process.kill(-this.#child.pid, 'SIGINT');
    await until(`the end of ${this.#text}`, () => this.#code !== undefined);
  }
}
