/**
 * Where a bus's commands wait and are answered: a queue for each unit, one order over all of them, each command
 * answered exactly once.
 */
import { isBroadcast, NOBODY, type Command } from './commands.js';
import type { Sink } from './outbox.js';
import { RESULT_CODES, RESULT_EXCEPTION_BASE, type ResultCode } from './parcel.js';
import { payloadOfValue } from './payload.js';
import type { TagState } from './report.js';
import { refusalOf } from './write.js';
import type { Block, Unit } from './unit.js';

/** A recipe orders other tags too, and what is kept up is what was ordered before: neither is news of its tag. */
function replacesOlder({ kind, recipe, correlation, state }: Omit<Command, 'sequence'>): boolean {
  return (
    kind === 'write' && recipe === null && correlation !== NOBODY && state.tag.write?.newestOnly === true
  );
}

/** Commands that may wait on one bus; one more is answered BUSY. */
const COMMANDS_MAX = 10_000;

export class Desk {
  readonly #units: readonly Unit[];
  readonly #sink: Sink;
  #sequence = 0;
  #waitingCount = 0;

  constructor(units: readonly Unit[], sink: Sink) {
    this.#units = units;
    this.#sink = sink;
  }

  get waitingCount(): number {
    return this.#waitingCount;
  }

  /** Queues a command, or answers it when there is no room. */
  accept(unit: Unit, command: Omit<Command, 'sequence'>): void {
    const { state, correlation } = command;
    if (this.#waitingCount >= COMMANDS_MAX)
      return this.answer(state.tag.index, 'BUSY', correlation, `${COMMANDS_MAX} commands are waiting`);
    if (replacesOlder(command)) {
      const isOlder = ({ kind, recipe, state: other }: Command): boolean =>
        other === state && recipe === null && kind === 'write';
      for (const older of this.#takeWhere(unit, isOlder))
        this.answer(state.tag.index, 'EXPIRED', older.correlation, 'replaced by a newer command');
    }
    unit.commands.push({ ...command, sequence: this.#sequence++ });
    this.#waitingCount += 1;
  }

  /** Takes the command that has waited longest of those whose units may be addressed now; late ones are answered. */
  take(nowMs: number): { readonly unit: Unit; readonly command: Command } | null {
    for (let unit = this.#next(nowMs); unit !== null; unit = this.#next(nowMs)) {
      const command = unit.commands.shift();
      if (command === undefined) return null;
      this.#waitingCount -= 1;
      if (nowMs <= command.deadlineMs) return { unit, command };
      this.#answerExpired(command);
    }
    return null;
  }

  /** Answers a command whose device cannot be asked. */
  reject(unit: Unit, command: Omit<Command, 'sequence'>, error: string): void {
    const { state, correlation } = command;
    const refusal = command.kind === 'write' ? refusalOf(unit, command) : null;
    this.answer(state.tag.index, refusal?.code ?? 'OFFLINE', correlation, refusal?.text ?? error);
  }

  /** The same for everything that waits for a unit. */
  rejectAll(unit: Unit, error: string): void {
    for (const command of this.#takeWhere(unit, () => true)) this.reject(unit, command, error);
  }

  /** The unit is silent: what is for all the others too goes all the same. */
  rejectOwn(unit: Unit, error: string): void {
    for (const command of this.#takeWhere(unit, (waiting) => !isBroadcast(waiting)))
      this.reject(unit, command, error);
  }

  expire(unit: Unit, nowMs: number): void {
    if (unit.commands.length === 0) return;
    for (const command of this.#takeWhere(unit, ({ deadlineMs }) => nowMs > deadlineMs))
      this.#answerExpired(command);
  }

  answer(tagIndex: number, code: ResultCode | number, correlation: number, text: string): void {
    if (correlation === NOBODY) return;
    const number = typeof code === 'number' ? RESULT_EXCEPTION_BASE + code : RESULT_CODES.indexOf(code);
    this.#sink.result(tagIndex, number, correlation, Buffer.from(text));
  }

  /**
   * A read that commands asked for came to something. What was written meanwhile is read once more, and what is calculated
   * may have to wait for others.
   */
  answerRead(block: Block): void {
    const { asked, unit } = block;
    block.asked = [];
    for (const command of asked) {
      const { isOutdated, tag } = command.state;
      if (isOutdated || tag.formula !== null) this.accept(unit, command);
      else this.answerValue(command.state, command.correlation);
    }
  }

  /** A command asked for this tag's value. */
  answerValue(state: TagState, correlation: number): void {
    if (state.value === null) this.answer(state.tag.index, 'TIMEOUT', correlation, 'no valid value');
    else this.#sink.result(state.tag.index, 0, correlation, payloadOfValue(state.value));
  }

  /** A read that commands asked for failed. */
  answerFailedRead(block: Block, code: ResultCode | number, text: string): void {
    for (const { state, correlation } of block.asked) this.answer(state.tag.index, code, correlation, text);
    block.asked = [];
  }

  #next(nowMs: number): Unit | null {
    let next: Unit | null = null;
    let least = Infinity;
    for (const unit of this.#units) {
      const first = unit.commands.first;
      if (first === undefined || unit.isWriting || unit.holdUntilMs > nowMs) continue;
      if (first.sequence >= least) continue;
      next = unit;
      least = first.sequence;
    }
    return next;
  }

  #takeWhere(unit: Unit, test: (command: Command) => boolean): Command[] {
    const taken = unit.commands.takeWhere(test);
    this.#waitingCount -= taken.length;
    return taken;
  }

  #answerExpired(command: Command): void {
    this.answer(command.state.tag.index, 'EXPIRED', command.correlation, 'too old to be carried out');
  }
}
