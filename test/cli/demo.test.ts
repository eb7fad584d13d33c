/** `holdfast demo` and `holdfast simulate` as people start them: processes of their own, ended by Ctrl-C. */
import assert from 'node:assert/strict';
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { packageFolder } from '../../src/entry.js';
import { until } from '../support/wait.js';

const MAIN = join(packageFolder(), 'build/src/main.js');

class Verb {
  readonly child: ChildProcess;
  output = '';

  constructor(t: TestContext, ...args: string[]) {
    this.child = spawn(process.execPath, [MAIN, ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.on('data', (chunk: Buffer) => (this.output += chunk.toString()));
    }
    t.after(() => this.child.kill('SIGKILL'));
  }

  says(pattern: RegExp, deadlineMs = 15_000): Promise<RegExpExecArray> {
    return until(`${pattern} in ${this.output}`, () => pattern.exec(this.output), deadlineMs);
  }

  async interrupt(): Promise<number | null> {
    this.child.kill('SIGINT');
    await until('its end', () => this.child.exitCode !== null || this.child.signalCode !== null);
    return this.child.exitCode;
  }
}

/** Processes that this one started and that are still there. */
function childrenOf(pid: number): string[] {
  return readdirSync('/proc').filter((entry) => {
    if (!/^\d+$/.test(entry)) return false;
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, 'utf8');
      return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1] === String(pid);
    } catch {
      return false;
    }
  });
}

test('the demo shows values of both devices to any client, takes commands, and leaves nothing running', async (t) => {
  const demo = new Verb(t, 'demo');
  const [, seconds] = await demo.says(/first value after ([\d.]+) s/);
  assert.ok(Number(seconds) < 5, `first value after ${seconds} s`);
  await demo.says(/holdfast\/demo\/data\/press1\/temperature \{"v":[\d.]+,"q":"good"/);
  await demo.says(/data\/meter1\/\w+ \{"v":[\d.]+,"q":"good"/);
  const [, watch = ''] = await demo.says(/^ +(.* watch --url \S+)$/m);
  assert.match(
    execFileSync('/bin/sh', ['-c', `${watch} -n 1 press1`], { encoding: 'utf8', timeout: 10_000 }),
    /^press1\//,
  );
  const [, host = '', port = '', filter = ''] = await demo.says(
    /mosquitto_sub -h (\S+) -p (\d+) -t '([^']+)' -v/,
  );
  const seen = execFileSync('mosquitto_sub', [
    '-h',
    host,
    '-p',
    port,
    '-t',
    filter,
    '-v',
    '-C',
    '5',
    '-W',
    '10',
  ]);
  assert.equal(seen.toString().trim().split('\n').length, 5);
  const setpoint = 'holdfast/demo/data/press1/setpoint';
  execFileSync('mosquitto_pub', [
    '-h',
    host,
    '-p',
    port,
    '-t',
    'holdfast/demo/set/press1/setpoint',
    '-m',
    '55',
  ]);
  await until('the setpoint', () => {
    const args = ['-h', host, '-p', port, '-t', setpoint, '-C', '1', '-W', '5'];
    return execFileSync('mosquitto_sub', args).toString().startsWith('{"v":55,');
  });
  const children = childrenOf(demo.child.pid ?? 0);
  assert.equal(children.length, 1, 'the plant is a process of its own');
  assert.equal(await demo.interrupt(), 130);
  await until('the end of the plant', () => children.every((pid) => !readdirSync('/proc').includes(pid)));
});

test('a second demo says which ports are taken and runs on others', async (t) => {
  const blocker = createServer();
  await new Promise<void>((resolve) => {
    blocker.once('error', () => resolve()); // taken already, which is as good
    blocker.listen(1883, '127.0.0.1', () => resolve());
  });
  t.after(() => blocker.close());
  const demo = new Verb(t, 'demo', '--no-faults');
  const [, port] = await demo.says(/port 1883 is taken; mqtt is on (\d+)/);
  await demo.says(new RegExp(`mqtt://127.0.0.1:${port}`));
  await demo.says(/first value after/);
  assert.equal(await demo.interrupt(), 130);
});

test('simulate prints where its devices are, takes faults by name and orders on stdin', async (t) => {
  const simulate = new Verb(t, 'simulate', 'press1/busy=100%');
  const [, port = ''] = await simulate.says(/press1 +tcp +127\.0\.0\.1:(\d+) +unit 1/);
  await simulate.says(/meter1 +rtu 9600 8N1 +\S+ +unit 7/);
  const mbpoll = (): string => {
    const args = ['-m', 'tcp', '-p', port, '-a', '1', '-0', '-1', '-q', '-t', '3', '-r', '0', '127.0.0.1'];
    try {
      return execFileSync('mbpoll', args, { stdio: 'pipe' }).toString();
    } catch (error) {
      return String((error as { stderr?: unknown }).stderr); // what execFileSync throws carries it
    }
  };
  assert.match(mbpoll(), /busy/i);
  simulate.child.stdin?.write('{"id":1,"method":"clearFaults"}\n{"id":2,"method":"nonsense"}\nno json\n');
  await simulate.says(/\{"id":1,"result":null\}/);
  await simulate.says(/\{"id":2,"error":".*nonsense/);
  assert.match(mbpoll(), /\[0\]/);
  assert.equal(await simulate.interrupt(), 130);
});

test('simulate refuses a fault that there is not, with the names that there are', async (t) => {
  const simulate = new Verb(t, 'simulate', 'press1/sloow');
  await simulate.says(/"sloow" is not a fault; there are slow, late/);
  await until('its end', () => simulate.child.exitCode !== null);
  assert.equal(simulate.child.exitCode, 2);
});

test('simulate says so when a gateway file has no device to play', async (t) => {
  const file = join(mkdtempSync(join(tmpdir(), 'holdfast-simulate-')), 'holdfast.yaml');
  t.after(() => rmSync(dirname(file), { recursive: true }));
  writeFileSync(file, 'version: 1\n');
  const simulate = new Verb(t, 'simulate', '--config', file);
  await simulate.says(/has no devices to play/);
  await until('its end', () => simulate.child.exitCode !== null);
  assert.equal(simulate.child.exitCode, 2);
});
