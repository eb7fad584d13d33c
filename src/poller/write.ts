/**
 * One command's way to its device: encoded, sent by a function the device takes, read back where it asked for that.
 * Never repeated after it may have been carried out; whoever calls keeps the unit's other writes away meanwhile.
 */
import type { Clock } from '../clock.js';
import type { Bus, Tag, WriteStep } from '../config/plant.js';
import type { Answer, ModbusError, Request } from '../modbus/client.js';
import { partOf, wordAt } from '../modbus/bytes.js';
import { isBitTable, type Table } from '../modbus/protocol.js';
import { NOBODY, type Command } from './commands.js';
import { encodeCommand, type Encoded } from './encode.js';
import { isLeftBy, writtenSpan } from './imprint.js';
import type { ResultCode } from './parcel.js';
import { encodeRecipe } from './recipe.js';
import type { TagState } from './report.js';
import type { Span } from './terrain.js';
import type { Unit } from './unit.js';

export interface WriteOutcome {
  readonly code: ResultCode | number;
  /** The JSON value written, or the error's text. */
  readonly text: string;
  /** False: nothing went on the line. */
  readonly sent: boolean;
  /** The last exchange, which says whether the unit lives. */
  readonly answer: Answer | null;
}

/** sendByMs: later than this it does not go on the line. */
type Send = (request: Request, timeoutMs: number, sendByMs: number) => Promise<Answer>;

const BUSY_PAUSE_MS = 50;
const BUSY_PAUSE_MAX_MS = 1000;

/** What a write takes from its poller. */
export interface WriterOptions {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly send: Send;
  /**
   * Further commands wait. Then the answer follows the device's own, and what it holds comes with the joined
   * read-backs at the end of the burst: a read after each write would double its time.
   */
  isHurried(): boolean;
  /** Lets others have the line for so long. */
  pause(unit: Unit, ms: number): Promise<void>;
  /** Whether this request has to wait before it may go on the line. */
  isHeld(request: Request): boolean;
  /** Lets others have the line for as long as it has to; false: the deadline is over before. */
  whenFree(unit: Unit, request: Request, deadlineMs: number): Promise<boolean>;
}

const HOUR_MS = 3_600_000;
/** A factor that was read so lately is read once for all commands of a burst. */
const FACTOR_FRESH_MS = 1000;

/** An answer came, but not as it should. */
const BROKEN: ReadonlySet<ModbusError['kind']> = new Set(['crc', 'framing', 'mismatch']);
/** No answer, or a broken one: asked again it may come. */
const LOST: ReadonlySet<ModbusError['kind']> = new Set([...BROKEN, 'timeout']);

export class Writer {
  readonly #options: WriterOptions;
  /** When tags with a limit were written in the last hour. */
  readonly #writtenAtMs = new Map<TagState, number[]>();

  constructor(options: WriterOptions) {
    this.#options = options;
  }

  /** Carries out one command; nothing of it is sent after its deadline. */
  async write(unit: Unit, command: Command, timeoutMs: number): Promise<WriteOutcome> {
    const { recipe, deadlineMs } = command;
    if (recipe !== null) return this.#writeRecipe(unit, command, recipe, timeoutMs);
    const { state } = command;
    const unscaled =
      state.scaleTag === null ? null : await this.#readFactors(unit, [state], command, timeoutMs);
    if (unscaled !== null) return unscaled;
    const encoded = encodeCommand(state.tag, command.payload, state.factor);
    if (encoded.kind === 'refused') return refused(encoded);
    const worn = this.#worn([state], command);
    if (worn !== null) return worn;
    const job = new Job(this.#options, unit, state.tag, encoded, timeoutMs, deadlineMs);
    const pulse = state.tag.write?.pulse ?? null;
    if (pulse === null) return this.#carryOut(job, command);
    const rest = encodeCommand(state.tag, Buffer.from(pulse.rest), state.factor);
    if (rest.kind === 'refused') return refused(rest);
    const outcome = await this.#carryOut(job, command);
    if (outcome.code !== 'OK') return outcome;
    await this.#options.pause(unit, pulse.ms);
    return this.#rest(outcome, new Job(this.#options, unit, state.tag, rest, timeoutMs));
  }

  async #writeRecipe(
    unit: Unit,
    command: Command,
    recipe: readonly TagState[],
    timeoutMs: number,
  ): Promise<WriteOutcome> {
    const unscaled = await this.#readFactors(unit, recipe, command, timeoutMs);
    if (unscaled !== null) return unscaled;
    const encoded = encodeRecipe(recipe, command.payload, unit.device.limits.writeFunctions);
    if (encoded.kind === 'refused') return refused(encoded);
    const worn = this.#worn(encoded.states, command);
    if (worn !== null) return worn;
    const job = new Job(this.#options, unit, encoded.first, encoded, timeoutMs, command.deadlineMs);
    return this.#carryOut(job, command);
  }

  /** A register that scales what is ordered may hold another factor than when it was last polled: why nothing is written; null: go on. */
  async #readFactors(
    unit: Unit,
    states: readonly TagState[],
    { deadlineMs }: Command,
    timeoutMs: number,
  ): Promise<WriteOutcome | null> {
    const { clock } = this.#options;
    const { refusals } = unit.knowledge;
    for (const scale of new Set(states.flatMap(({ scales }) => scales))) {
      const isFresh = !scale.isOutdated && clock.monotonicMs() - scale.readAtMs < FACTOR_FRESH_MS;
      if (isFresh || refusals.has(scale.tag.name)) continue;
      const failure = await this.#readFactor(unit, scale, deadlineMs, timeoutMs);
      if (failure !== null) return failure;
    }
    return null;
  }

  async #readFactor(
    unit: Unit,
    scale: TagState,
    deadlineMs: number,
    timeoutMs: number,
  ): Promise<WriteOutcome | null> {
    const { clock, isHeld, send, whenFree } = this.#options;
    const { table, address, quantity, select } = scale.tag;
    const { unitId } = unit.device;
    const span = spanOf(unit, table, address, quantity);
    const read: Request = { kind: 'read', unitId, table, ...span };
    for (const request of select === null ? [read] : [stepRequest(unitId, select), read]) {
      if (isHeld(request) && !(await whenFree(unit, request, deadlineMs))) return EXPIRED;
      const answer = await send(request, timeoutMs, deadlineMs);
      if (!answer.ok && clock.monotonicMs() > deadlineMs) return EXPIRED;
      if (!answer.ok) {
        const text = `nothing was written, as the register that holds the scale was not read: ${answer.error.text}`;
        return { code: failed(answer, answer.error).code, text, sent: true, answer };
      }
      if (request === read)
        scale.take(answer.data, 2 * (address - span.address), Math.trunc(clock.nowMs()), answer.receivedAtMs);
    }
    return clock.monotonicMs() > deadlineMs ? EXPIRED : null;
  }

  /** Memory of devices wears: what may be written so often an hour was written that often already. */
  #worn(states: readonly TagState[], { correlation }: Command): WriteOutcome | null {
    if (correlation === NOBODY) return null;
    const limited = states.filter(({ tag }) => (tag.write?.perHourMax ?? Infinity) < Infinity);
    const nowMs = this.#options.clock.monotonicMs();
    for (const state of limited) {
      const most = state.tag.write?.perHourMax ?? Infinity;
      const times = (this.#writtenAtMs.get(state) ?? []).filter((atMs) => nowMs - atMs < HOUR_MS);
      this.#writtenAtMs.set(state, times);
      if (times.length < most) continue;
      const text = `${state.tag.name} was written ${most} times in the last hour, which is all that max_per_hour allows`;
      return { code: 'BUSY', text, sent: false, answer: null };
    }
    for (const state of limited) this.#writtenAtMs.get(state)?.push(nowMs);
    return null;
  }

  async #carryOut(job: Job, { deadlineMs, correlation }: Command): Promise<WriteOutcome> {
    const { clock, pause } = this.#options;
    for (let pauseMs = BUSY_PAUSE_MS; ; pauseMs = Math.min(BUSY_PAUSE_MAX_MS, 2 * pauseMs)) {
      const answer = await job.run();
      if (job.isExpired) return EXPIRED;
      if (answer.ok && this.#isTaken(job, correlation))
        return { code: 'OK', text: job.encoded.json, sent: true, answer };
      if (answer.ok) return await this.#confirmed(job);
      // Busy (6) means that it was not carried out: the only failure after which a write is sent again.
      if (!isBusy(answer) || clock.monotonicMs() + pauseMs > deadlineMs)
        return job.isOtherwise ? otherwise(answer) : failed(answer, answer.error, job.isBegun);
      await pause(job.unit, pauseMs);
    }
  }

  /** Whether the device's answer is all there is to wait for. */
  #isTaken(job: Job, correlation: number): boolean {
    if (job.tag.write?.verify !== true || job.unit.device.unitId === 0 || correlation === NOBODY) return true;
    return this.#options.isHurried();
  }

  async #confirmed(job: Job): Promise<WriteOutcome> {
    const { json } = job.encoded;
    const readBack = await this.#readBack(job);
    if (!readBack.ok) {
      const text = `written, but not read back: ${readBack.error.text}`;
      return { code: 'VERIFY', text, sent: true, answer: readBack };
    }
    if (job.isHeldBy(readBack.data)) return { code: 'OK', text: json, sent: true, answer: readBack };
    return { code: 'VERIFY', text: 'the device holds another value', sent: true, answer: readBack };
  }

  /**
   * What noise took of an answer is no news of the write, and a read may be asked again; many devices are busy with what
   * was written, or hang up after it.
   */
  async #readBack(job: Job): Promise<Answer> {
    const { bus, pause } = this.#options;
    let answer = await job.readBack(bus.timeoutMs);
    if (!answer.ok && LOST.has(answer.error.kind)) answer = await job.readBack(bus.timeoutMs);
    for (let pauseMs = BUSY_PAUSE_MS; mayPass(answer) && pauseMs <= BUSY_PAUSE_MAX_MS; pauseMs *= 2) {
      await pause(job.unit, pauseMs);
      answer = await job.readBack(bus.timeoutMs);
    }
    return answer;
  }

  /** Ends a pulse. A pulse that does not end may move a machine, so this write is tried again; it asks for the same each time. */
  async #rest(outcome: WriteOutcome, job: Job): Promise<WriteOutcome> {
    const { pause } = this.#options;
    for (let tries = 1; ; tries += 1) {
      const answer = await job.run();
      if (answer.ok) return { ...outcome, answer };
      if (tries === REST_TRIES_MAX) {
        const { code, text } = failed(answer, answer.error);
        return { code, text: `the pulse has begun, but not ended: ${text}`, sent: true, answer };
      }
      await pause(job.unit, BUSY_PAUSE_MS);
    }
  }
}

const REST_TRIES_MAX = 4;

const EXPIRED: WriteOutcome = {
  code: 'EXPIRED',
  text: 'too old to be carried out',
  sent: false,
  answer: null,
};

/** What is wrong with a write whatever its device would say to it; null: nothing. */
export function refusalOf(
  unit: Unit,
  { state, recipe, payload }: Pick<Command, 'state' | 'recipe' | 'payload'>,
): (Encoded & { kind: 'refused' }) | null {
  const encoded =
    recipe === null
      ? encodeCommand(state.tag, payload, state.factor)
      : encodeRecipe(recipe, payload, unit.device.limits.writeFunctions);
  // BUSY: the device has not told yet what it takes to know.
  return encoded.kind === 'refused' && encoded.code !== 'BUSY' ? encoded : null;
}

function isBusy(answer: Answer): boolean {
  return isException(answer, 6);
}

/** The device has taken the write, and is at work on it (Modbus 7). */
function isAcknowledged(answer: Answer): boolean {
  return isException(answer, 5);
}

function isException(answer: Answer, code: number): boolean {
  return !answer.ok && answer.error.kind === 'exception' && answer.error.exception === code;
}

/** A read that failed so is worth another try in a moment. */
function mayPass(answer: Answer): boolean {
  return isBusy(answer) || isAcknowledged(answer) || (!answer.ok && answer.error.kind === 'closed');
}

/** An answer by which a write may have been carried out or not, though the device is there. */
function saysLittle(answer: Answer): boolean {
  return isAcknowledged(answer) || (!answer.ok && BROKEN.has(answer.error.kind));
}

function refused({ code, text }: Encoded & { kind: 'refused' }): WriteOutcome {
  return { code, text, sent: false, answer: null };
}

function otherwise(answer: Answer): WriteOutcome {
  const text = 'the device confirmed something else, and holds another value';
  return { code: 'VERIFY', text, sent: true, answer };
}

function failed(answer: Answer, error: ModbusError, isBegun = true): WriteOutcome {
  if (isAcknowledged(answer)) {
    const text = `${error.text}: the device has taken the write, and is perhaps still at work on it`;
    return { code: error.exception, text, sent: true, answer };
  }
  if (error.kind === 'exception') return { code: error.exception, text: error.text, sent: true, answer };
  if (error.kind === 'refused' || error.kind === 'closed') {
    const text = isBegun ? `${error.text}; the write may have been carried out` : error.text;
    return { code: 'OFFLINE', text, sent: isBegun, answer };
  }
  if (error.kind === 'invalid-request') return { code: 'TYPE', text: error.text, sent: false, answer };
  const text = isBegun ? `${error.text}; the write may have been carried out` : error.text;
  return { code: 'TIMEOUT', text, sent: isBegun, answer };
}

type Sendable = Exclude<Encoded, { kind: 'refused' }>;

/** One write and the exchanges it takes. */
class Job {
  readonly #options: WriterOptions;
  readonly unit: Unit;
  readonly tag: Tag;
  readonly encoded: Sendable;
  /** Its time was over before anything of it could be sent. */
  isExpired = false;
  /** Something of it went on the line. */
  isBegun = false;
  /** What the device confirmed is not what was written, nor is what it holds. */
  isOtherwise = false;
  readonly #timeoutMs: number;
  readonly #functions: readonly number[];
  /** What has begun is brought to its end: then it has none. */
  #deadlineMs: number;

  constructor(
    options: WriterOptions,
    unit: Unit,
    tag: Tag,
    encoded: Sendable,
    timeoutMs: number,
    deadlineMs = Infinity,
  ) {
    this.#options = options;
    this.unit = unit;
    this.tag = tag;
    this.encoded = encoded;
    this.#timeoutMs = timeoutMs;
    this.#deadlineMs = deadlineMs;
    const own = tag.write?.functions ?? [];
    this.#functions = own.length > 0 ? own : unit.device.limits.writeFunctions;
  }

  /** The write with what has to be written before and after it; the first failure is the answer. */
  run(): Promise<Answer> {
    const { before = [], after = [] } = this.tag.write ?? {};
    return before.length + after.length === 0 ? this.#write() : this.#runSteps(before, after);
  }

  async #runSteps(before: readonly WriteStep[], after: readonly WriteStep[]): Promise<Answer> {
    for (const step of before) {
      const answer = await this.#step(step);
      if (!answer.ok) return answer;
    }
    let answer = await this.#write();
    for (const step of after) {
      if (!answer.ok) break;
      answer = await this.#step(step);
    }
    return answer;
  }

  #step(step: WriteStep): Promise<Answer> {
    return this.#request(stepRequest(this.#place().unitId, step));
  }

  #write(): Promise<Answer> {
    const { encoded } = this;
    switch (encoded.kind) {
      case 'bits':
        return this.#request({
          kind: 'write-bits',
          ...this.#place(),
          bits: encoded.bits,
          functionCode: this.#allows(5) ? 0 : 15,
        });
      case 'registers':
        return this.#writeRegisters(encoded.registers);
      case 'masked':
        return this.#writeMasked(encoded.register, encoded.mask, encoded.value);
      case 'merged':
        return this.#writeMerged(encoded.registers, encoded.mask);
    }
  }

  /** Reads where it was written. */
  readBack(timeoutMs: number): Promise<Answer> {
    const { encoded } = this;
    const quantity = 'registers' in encoded ? encoded.registers.length / 2 : 1;
    return this.#read(encoded.kind === 'masked' ? encoded.register : 0, quantity, timeoutMs);
  }

  /** Whether what was read back is what was written. */
  isHeldBy(data: Uint8Array): boolean {
    const { encoded } = this;
    switch (encoded.kind) {
      case 'bits':
        return ((data[0] ?? 0) & 1) === (encoded.bits[0] === true ? 1 : 0);
      case 'registers':
        return Buffer.compare(data, encoded.registers) === 0;
      case 'masked':
        return (wordAt(data, 0) & encoded.mask) === encoded.value;
      case 'merged':
        return encoded.registers.every((byte, at) => ((data[at] ?? 0) & (encoded.mask[at] ?? 0)) === byte);
    }
  }

  /** One request where functions allow; register by register where the device only knows function 6. */
  #writeRegisters(registers: Uint8Array): Promise<Answer> {
    const count = registers.length / 2;
    if (count > 1 && !this.#allows(16)) return this.#writeEach(registers);
    const { unitId, address } = this.#place();
    const functionCode = count > 1 || !this.#allows(6) || this.#prefers16() ? 16 : 6;
    return this.#request({ kind: 'write-registers', unitId, address, registers, functionCode });
  }

  async #writeEach(registers: Uint8Array): Promise<Answer> {
    const count = registers.length / 2;
    const { address } = this.#place();
    for (let at = 0; at < count - 1; at += 1) {
      const answer = await this.#writeOne(address + at, registers.subarray(2 * at, 2 * at + 2));
      if (!answer.ok) return answer;
    }
    return this.#writeOne(address + count - 1, registers.subarray(2 * count - 2));
  }

  #writeOne(address: number, registers: Uint8Array, functionCode: 6 | 16 = 6): Promise<Answer> {
    const { unitId } = this.#place();
    return this.#request({ kind: 'write-registers', unitId, address, registers, functionCode });
  }

  /** By mask write (Modbus 6.16) where the device knows it, else by reading, changing and writing the register. */
  async #writeMasked(register: number, mask: number, value: number): Promise<Answer> {
    const { knowledge } = this.unit;
    const { unitId, address } = this.#place();
    const way = this.tag.write?.with ?? 'auto';
    const mayMask = this.#functions.length === 0 || this.#functions.includes(22);
    if (way === 'mask' || (way === 'auto' && mayMask && knowledge.maskWrite !== false)) {
      const masked = {
        kind: 'mask-write',
        unitId,
        address: address + register,
        andMask: ~mask & 0xffff,
        orMask: value,
      } as const;
      const answer = await this.#request(masked);
      if (answer.ok) knowledge.maskWrite = true;
      const isUnknown = !answer.ok && answer.error.kind === 'exception' && answer.error.exception === 1;
      if (!isUnknown || way === 'mask') return answer;
      knowledge.maskWrite = false;
    }
    const before = await this.#read(register, 1, this.#timeoutMs);
    if (!before.ok) return before;
    const word = (wordAt(before.data, 0) & ~mask) | value;
    const registers = Uint8Array.of(word >> 8, word & 0xff);
    return this.#writeOne(address + register, registers, this.#allows(6) && !this.#prefers16() ? 6 : 16);
  }

  /** No mask write is of several registers. */
  async #writeMerged(registers: Uint8Array, mask: Uint8Array): Promise<Answer> {
    const before = await this.#read(0, registers.length / 2, this.#timeoutMs);
    if (!before.ok) return before;
    const { data } = before;
    return this.#writeRegisters(registers.map((byte, at) => ((data[at] ?? 0) & ~(mask[at] ?? 0)) | byte));
  }

  /** As the device lets it be read, which may be with more around it. */
  async #read(register: number, quantity: number, timeoutMs: number): Promise<Answer> {
    const { table, address } = this.tag.write ?? this.tag;
    const from = address + register;
    const span = spanOf(this.unit, table, from, quantity);
    const { unitId } = this.unit.device;
    const answer = await this.#request({ kind: 'read', unitId, table, ...span }, timeoutMs);
    if (!answer.ok) return answer;
    return { ...answer, data: partOf(answer.data, isBitTable(table), from - span.address, quantity) };
  }

  /** At once where it may go at once: the next write of a burst must not wait for what is told of the last. */
  #request(request: Request, timeoutMs = this.#timeoutMs): Promise<Answer> {
    if (this.#options.isHeld(request)) return this.#requestLater(request, timeoutMs);
    return this.#send(request, timeoutMs);
  }

  async #send(request: Request, timeoutMs: number): Promise<Answer> {
    const { clock, send } = this.#options;
    const deadlineMs = this.#deadlineMs;
    this.#deadlineMs = Infinity;
    const answer = await send(request, timeoutMs, deadlineMs);
    if (answer.sentAtMs > 0) this.isBegun = true;
    else if (clock.monotonicMs() > deadlineMs) this.isExpired = true;
    return request.kind !== 'read' && saysLittle(answer) ? this.#settled(request, answer) : answer;
  }

  /**
   * Some devices confirm a write in words of their own (the value as it was before, or none), others only say that they
   * are at work on it, and noise damages what they say: whether it was carried out is seen from what they hold.
   */
  async #settled(request: Request, answer: Answer): Promise<Answer> {
    const { bus, pause } = this.#options;
    const { unitId } = request;
    const written = writtenSpan(request);
    const span = written && this.unit.terrain(written.table).fit(written.address, written.end);
    if (written === null || span === null) return answer;
    const read: Request = { kind: 'read', unitId, table: written.table, ...span };
    for (let pauseMs = BUSY_PAUSE_MS; pauseMs <= BUSY_PAUSE_MAX_MS; pauseMs *= 2) {
      await pause(this.unit, pauseMs);
      const held = await this.#request(read, bus.timeoutMs);
      if (held.ok && isLeftBy(request, held.data, span.address)) return held;
      if (!held.ok && !mayPass(held)) return answer;
      this.isOtherwise = held.ok && !answer.ok && answer.error.kind === 'mismatch';
    }
    return answer;
  }

  async #requestLater(request: Request, timeoutMs: number): Promise<Answer> {
    const { clock, whenFree } = this.#options;
    if (await whenFree(this.unit, request, this.#deadlineMs)) return this.#send(request, timeoutMs);
    this.isExpired = true;
    const nowMs = clock.monotonicMs();
    const error: ModbusError = { kind: 'timeout', exception: 0, text: EXPIRED.text };
    return { ok: false, error, sentAtMs: nowMs, receivedAtMs: nowMs };
  }

  #place(): { readonly unitId: number; readonly address: number } {
    const { write, address } = this.tag;
    const unitId = write?.broadcast === true ? BROADCAST : this.unit.device.unitId;
    return { unitId, address: write?.address ?? address };
  }

  #allows(functionCode: number): boolean {
    const ofTable = isBitTable((this.tag.write ?? this.tag).table) ? [5, 15] : [6, 16];
    const named = this.#functions.filter((code) => ofTable.includes(code));
    return named.length === 0 || named.includes(functionCode);
  }

  /** The first of the functions named is the preferred one. */
  #prefers16(): boolean {
    return this.#functions.find((code) => code === 6 || code === 16) === 16;
  }
}

/** What is read for these registers or bits, within the limits of the device. */
function spanOf(unit: Unit, table: Table, address: number, quantity: number): Span {
  return unit.terrain(table).fit(address, address + quantity) ?? { address, quantity };
}

/** Everybody on a line. */
const BROADCAST = 0;

/** A write of raw values, such as an unlock code. */
export function stepRequest(unitId: number, { table, address, values }: WriteStep): Request {
  if (table === 'coil')
    return { kind: 'write-bits', unitId, address, bits: [values[0] === 1], functionCode: 5 };
  const registers = Uint8Array.from(values.flatMap((word) => [word >> 8, word & 0xff]));
  return { kind: 'write-registers', unitId, address, registers, functionCode: values.length === 1 ? 6 : 16 };
}
