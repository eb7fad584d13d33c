/** `holdfast run`: the daemon. Signals, reloads and errors that nobody caught end here; the work is gateway.ts's. */
import { systemClock } from '../clock.js';
import { loadAside } from '../config/loadaside.js';
import type { Plant } from '../config/plant.js';
import { formatProblem, type Problem } from '../config/problems.js';
import { ConfigError, messageOf } from '../errors.js';
import { Gateway } from '../gateway/gateway.js';
import { createLog, type Level, type Log } from '../log.js';
import { Metrics } from '../metrics.js';
import { effective } from './effective.js';
import { Systemd } from './systemd.js';
import { productVersion } from './version.js';
import { EXIT, textOption, UsageError, type Context, type Verb } from './verb.js';

/** A stop that takes longer is given up, so that a supervisor never has to kill. */
const STOP_MAX_MS = 4500;
const LEVELS: readonly Level[] = ['debug', 'info', 'warn', 'error'];

export const verb: Verb = {
  name: 'run',
  summary: 'run the gateway until it is told to stop',
  arguments: '[FILE]',
  argumentHelp: [{ name: 'FILE', description: 'the same as --config FILE' }],
  options: [
    { flags: '-c, --config FILE', description: 'the gateway file' },
    { flags: '--log-level LEVEL', description: LEVELS.join(', '), default: 'info' },
    { flags: '--print-config', description: 'print what the file amounts to, secrets masked, and end' },
  ],
  examples: [
    { command: 'run --config holdfast.yaml', meaning: 'log to stderr; stop it with Ctrl-C' },
    { command: 'run -c holdfast.yaml --log-level debug', meaning: 'say more' },
  ],
  ownsSignals: true,
  run,
};

async function run({ args, options, stdout, stderr }: Context): Promise<number> {
  const file = textOption(options, 'config') ?? args[0];
  if (file === undefined) throw new UsageError("which config? 'holdfast run --config holdfast.yaml'");
  const level = LEVELS.find((name) => name === options['logLevel']);
  if (level === undefined) throw new UsageError(`--log-level is one of ${LEVELS.join(', ')}`);
  const log = createLog(level);
  const signals = new Signals(log);
  const loaded = await Promise.race([loadAside(file), signals.end]);
  // Nothing was opened yet.
  if (typeof loaded === 'number') return loaded;
  const { plant, problems } = loaded;
  if (plant === null) throw notValid(problems);
  if (options['printConfig'] === true) {
    for (const problem of problems) stderr.write(`${formatProblem(problem)}\n`);
    stdout.write(`${effective(plant)}\n`);
    return EXIT.ok;
  }
  for (const problem of problems)
    log.warn('the config can run, but look at it', { code: problem.code, error: formatProblem(problem) });
  return supervise(plant, log, signals);
}

function notValid(problems: readonly Problem[]): ConfigError {
  return new ConfigError('CONFIG', {}, `the config is not valid\n${problems.map(formatProblem).join('\n')}`);
}

/** Resolves with the exit code once the gateway has stopped, for whatever reason. */
async function supervise(plant: Plant, log: Log, signals: Signals): Promise<number> {
  const gateway = new Gateway({
    plant,
    load: (path) => loadAside(path),
    log,
    clock: systemClock,
    metrics: new Metrics(),
    version: productVersion(),
    rehearses: true,
  });
  const systemd = new Systemd(process.env, log);
  const isFaulty = new Promise<number>((resolve) => endOnErrors(log, resolve));
  const end = Promise.race([signals.end, isFaulty]);
  systemd.starting();
  const isStarted = gateway.start().then(
    () => {
      systemd.ready();
      return null;
    },
    (thrown: unknown) => {
      log.error('the gateway could not start', { error: messageOf(thrown) });
      return EXIT.failed;
    },
  );
  signals.onReload(() => void gateway.reload());
  // A start that is still under way is stopped too.
  const code = await Promise.race([end, isStarted.then((failed) => failed ?? end)]);
  const [outcome] = await Promise.all([stop(gateway, log, code), systemd.stopping()]);
  return outcome;
}

async function stop(gateway: Gateway, log: Log, code: number): Promise<number> {
  const giveUp = setTimeout(() => {
    log.error('the stop took too long and was given up', { limitMs: STOP_MAX_MS });
    process.exit(EXIT.failed);
  }, STOP_MAX_MS);
  try {
    await gateway.stop();
    log.info('stopped');
    return code;
  } catch (thrown) {
    log.error('the stop failed', { error: messageOf(thrown) });
    return EXIT.failed;
  } finally {
    clearTimeout(giveUp);
  }
}

/** The first signal stops cleanly, a second one at once. Heeded from the first moment on, while the file is read, too. */
class Signals {
  /** Resolves with the exit code. */
  readonly end: Promise<number>;
  #isReloadWanted = false;
  #reload = (): void => {
    this.#isReloadWanted = true;
  };

  constructor(log: Log) {
    let isStopping = false;
    this.end = new Promise((resolve) => {
      for (const signal of ['SIGTERM', 'SIGINT'] as const) {
        process.on(signal, () => {
          if (isStopping) process.exit(EXIT.failed);
          isStopping = true;
          log.info('stopping', { signal });
          resolve(EXIT.ok);
        });
      }
    });
    process.on('SIGHUP', () => this.#reload());
    // Else Node opens its debugger on loopback at the first, by which any user of this machine runs what they like in here;
    // the others, which scripts send to make a program open its log anew, would end the process as it stands.
    for (const signal of ['SIGUSR1', 'SIGUSR2', 'SIGALRM'] as const) process.on(signal, () => {});
  }

  /** One that came before this was called is not forgotten: the file may have been read by then. */
  onReload(reload: () => void): void {
    this.#reload = reload;
    if (this.#isReloadWanted) reload();
  }
}

/** A bug ends the process in good order; the supervisor starts it again. A second one during the stop ends it at once. */
function endOnErrors(log: Log, end: (code: number) => void): void {
  let isStopping = false;
  const onError = (what: string) => (thrown: unknown) => {
    const stack = thrown instanceof Error ? thrown.stack : undefined;
    log.error(what, { error: messageOf(thrown), ...(stack === undefined ? {} : { stack }) });
    if (isStopping) process.exit(EXIT.failed);
    isStopping = true;
    end(EXIT.failed);
  };
  process.on('uncaughtException', onError('an error that nobody caught'));
  process.on('unhandledRejection', onError('a promise that nobody watched was rejected'));
}
