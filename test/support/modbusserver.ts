/** Modbus servers that are not ours, as processes: Debian's pymodbus, and a C program on Debian's libmodbus. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { packageFolder } from '../../src/entry.js';
import type { Table } from '../../src/modbus/protocol.js';
import { freePort } from './ports.js';
import { until, within } from './wait.js';

export type Maker = 'pymodbus' | 'libmodbus';

/** Where it serves; a free one unless given, and a restart uses the same again. */
export type Place =
  | { readonly kind: 'tcp' | 'udp' | 'rtu-over-tcp' | 'ascii-over-tcp'; readonly port?: number }
  | { readonly kind: 'rtu' | 'ascii'; readonly path: string; readonly baud: number };

export type Tables = Partial<Record<Table, Readonly<Record<number, readonly number[]>>>>;

const peers = join(packageFolder(), 'test/support/peers');

export class ModbusServer {
  readonly #maker: Maker;
  readonly #place: Place;
  readonly #unitId: number;
  readonly #tables: Tables;
  #port: number;
  #child: ChildProcess | null = null;

  constructor(maker: Maker, place: Place, unitId: number, tables: Tables) {
    this.#maker = maker;
    this.#place = place;
    this.#unitId = unitId;
    this.#tables = tables;
    this.#port = 'path' in place ? 0 : (place.port ?? 0);
  }

  get port(): number {
    return this.#port;
  }

  /** Serves what it was made with, whatever was written to it before. */
  async start(): Promise<this> {
    const place = this.#place;
    if (!('path' in place)) this.#port ||= await freePort();
    const where = 'path' in place ? [place.path, String(place.baud)] : [String(this.#port)];
    const child = spawn(...programOf(this.#maker, [place.kind, ...where, String(this.#unitId)]), {
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.#child = child;
    let said = '';
    let complaint = '';
    child.stdout?.on('data', (bytes: Buffer) => (said += bytes.toString()));
    child.stderr?.on('data', (bytes: Buffer) => (complaint = (complaint + bytes.toString()).slice(-4000)));
    child.stdin?.on('error', () => {});
    child.stdin?.end(linesOf(this.#tables));
    const ready = await until(`the ${this.#maker} server to be ready`, () => {
      if (child.exitCode !== null) throw new Error(`the ${this.#maker} server ended: ${complaint}`);
      return /^ready (\d+)$/m.exec(said);
    });
    this.#port = Number(ready[1]);
    return this;
  }

  /** Gone without a farewell. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child.once('close', resolve));
    child.kill('SIGKILL');
    await within('the Modbus server to end', gone);
  }

  /** Deaf and mute, with its sockets open. */
  freeze(): void {
    this.#child?.kill('SIGSTOP');
  }

  thaw(): void {
    this.#child?.kill('SIGCONT');
  }
}

function linesOf(tables: Tables): string {
  const lines: string[] = [];
  for (const [table, blocks] of Object.entries(tables)) {
    for (const [address, values] of Object.entries(blocks)) {
      lines.push(`${table} ${address} ${values.map(Number).join(' ')}`);
    }
  }
  return `${lines.join('\n')}\nend\n`;
}

function programOf(maker: Maker, args: string[]): [string, string[]] {
  if (maker === 'pymodbus') return ['/usr/bin/python3', [join(peers, 'pymodbus_server.py'), ...args]];
  return [compiled('libmodbus_server'), args];
}

/** Compiles a C peer when it is older than its source. */
function compiled(name: string): string {
  const source = join(peers, `${name}.c`);
  const folder = join(packageFolder(), 'build/peers');
  const program = join(folder, name);
  if (existsSync(program) && statSync(program).mtimeMs > statSync(source).mtimeMs) return program;
  mkdirSync(folder, { recursive: true });
  const fresh = `${program}.${process.pid}`;
  execFileSync('gcc', ['-O1', '-Wall', '-o', fresh, source, '-lmodbus']);
  // Tests of several files may compile at the same time; a rename is whole.
  execFileSync('mv', ['-f', fresh, program]);
  return program;
}

/** What mbpoll reads (zero-based); bits come as 0 and 1, registers as unsigned. */
export function mbpoll(port: number, unitId: number, table: Table, address: number, count = 1): number[] {
  const types = { coil: '0', 'discrete-input': '1', 'input-register': '3', 'holding-register': '4' };
  const args = ['-m', 'tcp', '-p', String(port), '-a', String(unitId), '-t', types[table], '-0', '-1'];
  const out = execFileSync('mbpoll', [...args, '-r', String(address), '-c', String(count), '127.0.0.1'], {
    encoding: 'utf8',
  });
  return [...out.matchAll(/^\[\d+\]:\s+(\d+)/gm)].map((match) => Number(match[1]));
}
