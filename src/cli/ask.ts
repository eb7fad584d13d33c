/** Asks a person at the terminal. */
import { createInterface, type Interface } from 'node:readline';
import type { Context } from './verb.js';

const ENTER = /[\r\n]/;
const [BACKSPACE, DELETE, CTRL_C, CTRL_D] = ['\b', '\x7f', '\x03', '\x04'];

/** A line that is not shown while it is typed. Rejects with an AbortError on Ctrl-C. */
export async function askHidden(question: string, { stdin, stderr, interrupted }: Context): Promise<string> {
  interrupted.throwIfAborted();
  endQuestions();
  // First the echo goes, then the question comes: whoever answers at once is not shown either.
  stdin.setRawMode(true);
  stderr.write(question);
  stdin.setEncoding('utf8');
  stdin.resume();
  let stop = (): void => {};
  try {
    return await new Promise<string>((resolve, reject) => {
      let typed = '';
      const onData = (text: string): void => {
        for (const key of text) {
          if (ENTER.test(key) || key === CTRL_D) {
            stdin.off('data', onData);
            resolve(typed);
            return;
          }
          if (key === CTRL_C) process.kill(process.pid, 'SIGINT');
          else if (key === BACKSPACE || key === DELETE) typed = [...typed].slice(0, -1).join('');
          else typed += key;
        }
      };
      stdin.on('data', onData);
      stop = () => reject(new Error('interrupted'));
      interrupted.addEventListener('abort', stop);
    });
  } finally {
    interrupted.removeEventListener('abort', stop);
    stdin.setRawMode(false);
    stdin.pause();
    stderr.write('\n');
  }
}

/** Lines of somebody at the terminal; what is typed before it is asked for is kept. */
class Dialogue {
  readonly #lines: Interface;
  readonly #typed: string[] = [];
  #take: ((line: string) => void) | null = null;

  constructor({ stdin, stderr }: Context) {
    this.#lines = createInterface({ input: stdin, output: stderr, terminal: true });
    this.#lines.on('SIGINT', () => process.kill(process.pid, 'SIGINT'));
    this.#lines.on('line', (line) => {
      const take = this.#take;
      this.#take = null;
      if (take === null) this.#typed.push(line);
      else take(line);
    });
  }

  async ask(question: string, interrupted: AbortSignal): Promise<string> {
    interrupted.throwIfAborted();
    this.#lines.setPrompt(question);
    this.#lines.prompt();
    const typed = this.#typed.shift();
    if (typed !== undefined) return typed;
    return new Promise((resolve, reject) => {
      const stop = (): void => reject(new Error('interrupted'));
      interrupted.addEventListener('abort', stop);
      this.#take = (line) => {
        interrupted.removeEventListener('abort', stop);
        resolve(line);
      };
    });
  }

  close(): void {
    this.#lines.close();
  }
}

let dialogue: Dialogue | null = null;

/** A line; empty: the default. Rejects on Ctrl-C. */
export async function ask(question: string, otherwise: string, context: Context): Promise<string> {
  dialogue ??= new Dialogue(context);
  const prompt = otherwise === '' ? `${question}: ` : `${question} [${otherwise}]: `;
  const answer = (await dialogue.ask(prompt, context.interrupted)).trim();
  return answer === '' ? otherwise : answer;
}

/** The terminal is as it was. */
export function endQuestions(): void {
  dialogue?.close();
  dialogue = null;
}

export async function askYesNo(question: string, isYes: boolean, context: Context): Promise<boolean> {
  for (;;) {
    const answer = (await ask(`${question} ${isYes ? '[Y/n]' : '[y/N]'}`, '', context)).toLowerCase();
    if (answer === '') return isYes;
    if (/^(y|yes|n|no)$/.test(answer)) return answer.startsWith('y');
    context.stderr.write('y or n, please\n');
  }
}

/** Asks until the answer is right; the check says what is wrong with one. */
export async function askUntil(
  question: string,
  otherwise: string,
  problemOf: (answer: string) => string | null,
  context: Context,
): Promise<string> {
  for (;;) {
    const answer = await ask(question, otherwise, context);
    const problem = problemOf(answer);
    if (problem === null) return answer;
    context.stderr.write(`  ${problem}\n`);
  }
}

/** One of several, by its number; the first unless something else is typed. */
export async function askChoice(
  question: string,
  choices: readonly string[],
  context: Context,
): Promise<number> {
  context.stderr.write(`${question}\n${choices.map((choice, at) => `  ${at + 1}  ${choice}\n`).join('')}`);
  const isOne = (answer: string): boolean =>
    /^\d+$/.test(answer) && Number(answer) >= 1 && Number(answer) <= choices.length;
  const answer = await askUntil(
    'number',
    '1',
    (text) => (isOne(text) ? null : `1 to ${choices.length}, please`),
    context,
  );
  return Number(answer) - 1;
}
