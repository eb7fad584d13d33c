/** Asks a person at the terminal. */
import type { Context } from './verb.js';

const ENTER = /[\r\n]/;
const [BACKSPACE, DELETE, CTRL_C, CTRL_D] = ['\b', '\x7f', '\x03', '\x04'];

/** A line that is not shown while it is typed. Rejects with an AbortError on Ctrl-C. */
export async function askHidden(question: string, { stdin, stderr, interrupted }: Context): Promise<string> {
  // First the echo goes, then the question comes: whoever answers at once is not shown either.
  stdin.setRawMode(true);
  stderr.write(question);
  stdin.setEncoding('utf8');
  stdin.resume();
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
      interrupted.addEventListener('abort', () => reject(new Error('interrupted')), { once: true });
    });
  } finally {
    stdin.setRawMode(false);
    stdin.pause();
    stderr.write('\n');
  }
}
