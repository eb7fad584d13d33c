/**
 * The gateway as a whole: it opens store, broker, pool and listeners in that order and closes them in reverse, so that no
 * client meets a broker that is half restored. It builds everything in plain sight and owns nothing else.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Broker, type BrokerPolicy } from '../broker/broker.js';
import { visitorRoom } from '../broker/descriptors.js';
import { rehearse } from '../broker/rehearsal.js';
import type { Clock } from '../clock.js';
import type { Loaded } from '../config/loaded.js';
import type { Plant } from '../config/plant.js';
import { formatProblem, type Problem, problemOfApplying } from '../config/problems.js';
import { collectGarbage } from '../entry.js';
import { messageOf } from '../errors.js';
import { type Log, silentLog } from '../log.js';
import { addressText } from '../config/address.js';
import { adviceOn } from '../poller/advice.js';
import { Metrics } from '../metrics.js';
import { ParcelReader } from '../poller/parcel.js';
import { offlineParcels } from '../poller/payload.js';
import { Pool, type PoolListener } from '../poller/pool.js';
import { offerBackups } from '../store/backupsocket.js';
import { DiskStore } from '../store/disk.js';
import type { Lock } from '../store/lock.js';
import { MemoryStore } from '../store/memory.js';
import type { Store } from '../store/store.js';
import { VolatileFiles } from '../store/volatile.js';
import { Unrest } from '../unrest.js';
import { Commands } from './commands.js';
import { ConfigFile } from './configfile.js';
import { doorsOf } from './doors.js';
import { Entrances } from './entrances.js';
import { fieldMetrics } from './fieldmetrics.js';
import { Fieldwork } from './fieldwork.js';
import { History } from './history.js';
import { HomeAssistant } from './homeassistant.js';
import { RecentLog } from './recentlog.js';
import { Redundancy, type RedundancyAbout } from './redundancy.js';
import { compare, Indexes, isSameServer, type Server } from './reload.js';
import type { MayPublish } from './reply.js';
import { type Handler, Requests } from './requests.js';
import { Setup } from './setup.js';
import { Status } from './status.js';
import { Telemetry } from './telemetry.js';
import { Uplinks } from './uplinks.js';
import { aboutView, historyView, plantView, statisticsView, uplinkSummary } from './views.js';

export interface GatewayOptions {
  readonly plant: Plant;
  /** Reads a config, for a reload and for the page's checks. */
  readonly load: (file: string) => Promise<Loaded>;
  readonly log: Log;
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly version: string;
  /** The broker rehearses before clients come: where a process starts to serve, not where a test wants a gateway soon. */
  readonly rehearses?: boolean;
}

/** What a reload came to: nothing was changed unless it is ok. */
export interface Reloaded {
  readonly ok: boolean;
  readonly problems: readonly string[];
}

/** What is opened once, at the start. */
const NOT_YET = 'listeners, store, limits, web and redundancy are taken over at the next start';

export class Gateway {
  readonly #options: GatewayOptions;
  readonly #store: Store;
  readonly #broker: Broker;
  readonly #telemetry: Telemetry;
  readonly #status: Status;
  readonly #commands: Commands;
  readonly #requests: Requests;
  readonly #entrances: Entrances;
  readonly #indexes: Indexes;
  readonly #log: RecentLog;
  /** What is said here is not told to clients, whatever they may read. */
  readonly #machineLog: Log;
  readonly #uplinks: Uplinks;
  readonly #redundancy: Redundancy;
  readonly #homeAssistant: HomeAssistant;
  readonly #configFile: ConfigFile;
  readonly #fieldwork: Fieldwork;
  readonly #unrest: Unrest;
  #history: History | null = null;
  /** What is open, in the order it was opened. */
  readonly #closers: (() => Promise<void> | void)[] = [];
  #plant: Plant;
  /** Of the plant that it was started with. */
  readonly #opened: Server;
  readonly #pool: Pool;
  #isReady = false;
  #isStopping = false;
  #started: Promise<void> | null = null;
  #reloading: Promise<Reloaded> | null = null;
  /** The one after it. */
  #nextReload: Promise<Reloaded> | null = null;
  /** Texts are taken over one after the other. */
  #applying: Promise<unknown> = Promise.resolve();

  constructor(options: GatewayOptions) {
    const { plant, clock, metrics } = options;
    const log = new RecentLog(options.log, clock);
    this.#options = { ...options, log };
    this.#log = log;
    this.#machineLog = options.log;
    this.#configFile = new ConfigFile(plant.file, options.load);
    this.#plant = plant;
    const { broker, web, redundancy } = plant;
    this.#opened = { broker, web, redundancy };
    this.#indexes = new Indexes(plant);
    this.#store = storeOf(plant, this.#options);
    this.#broker = new Broker({
      ...policyOf(plant),
      store: this.#store,
      limits: plant.broker.limits,
      version: options.version,
      descriptorsElsewhere: web === null ? 0 : visitorRoom(),
      onOverflow: (client, count) => this.#status.event('overflow', { t: clock.nowMs(), client, count }),
      log,
      clock,
      metrics,
    });
    const mayPublish: MayPublish = (sender, topic) =>
      !this.#commands.takes(topic) && !this.#requests.takes(topic) && this.#broker.mayPublish(sender, topic);
    this.#telemetry = new Telemetry(this.#broker, metrics);
    this.#status = new Status(plant, { broker: this.#broker, clock });
    metrics.family(() => fieldMetrics([...this.#status.figures()]));
    this.#redundancy = new Redundancy({
      settings: plant.redundancy,
      pool: () => this.#pool,
      plant: () => this.#plant,
      clock,
      log,
      changed: (about) => this.#roleChanged(about),
    });
    this.#unrest = new Unrest(clock, log);
    this.#pool = this.#poolOf(plant);
    this.#commands = new Commands({
      isActive: () => this.#redundancy.isActive,
      broker: this.#broker,
      pool: this.#pool,
      status: this.#status,
      mayPublish,
      clock,
      metrics,
    });
    this.#fieldwork = new Fieldwork({ broker: this.#broker, pool: this.#pool, status: this.#status, clock });
    this.#requests = new Requests({
      broker: this.#broker,
      mayPublish,
      unrest: this.#unrest,
      handlers: this.#handlers(),
    });
    this.#uplinks = new Uplinks({
      broker: this.#broker,
      clock,
      log,
      metrics,
      isActive: () => this.#redundancy.isActive,
      changed: (about) => this.#status.event('uplink', { t: clock.nowMs(), ...about }),
    });
    this.#broker.acknowledgeAfter(() => this.#uplinks.kept());
    this.#homeAssistant = new HomeAssistant(this.#broker, options.version);
    this.#entrances = new Entrances(log, clock);
  }

  /** Management verbs on req/. */
  #handlers(): Record<string, Handler> {
    const { version } = this.#options;
    return {
      status: () => ({
        ...this.#status.summary(),
        uplinks: this.#uplinks.about().map(uplinkSummary),
        redundancy: this.#redundancy.about(),
      }),
      reload: () => this.reload(),
      plant: () => plantView(this.#plant, version),
      statistics: () => statisticsView(this.#plant, (bus) => this.#status.busFigures(bus)),
      clients: () => [...this.#broker.figures.clients()],
      disconnect: ({ fields }) => ({ found: this.#broker.disconnect(String(fields.get('client'))) }),
      uplinks: () => ({ uplinks: this.#uplinks.about() }),
      history: ({ fields }) => historyView(this.#plant, this.#history, fields.get('topics')),
      scan: (request) => this.#fieldwork.scan(this.#plant, request),
      'scan-stop': (request) => this.#fieldwork.stopScan(this.#plant, request),
      trace: (request) => this.#fieldwork.trace(this.#plant, request),
      log: () => ({ lines: this.#log.lines() }),
      config: async () => ({ file: this.#plant.file, text: await this.#configFile.show() }),
      'config-check': async ({ fields }) => ({
        problems: await this.#configFile.check(await this.#configFile.whole(String(fields.get('text')))),
      }),
      'config-apply': ({ fields }) => this.#applyInTurn(String(fields.get('text')), fields.get('was')),
    };
  }

  /** was: the file as it was shown to whoever changed it; another one is not overwritten. */
  #applyInTurn(text: string, was: unknown): Promise<Record<string, unknown>> {
    const applying = this.#applying.then(async () => {
      const isChanged = typeof was === 'string' && was !== (await this.#configFile.show());
      const answer = isChanged
        ? { applied: false, changed: true, problems: [] }
        : await this.#applyText(await this.#configFile.whole(text));
      return { ...answer, text: await this.#configFile.show() };
    });
    this.#applying = applying.catch(() => {});
    return applying;
  }

  /** Takes over a whole new text of the config file, or leaves file and gateway as they were and says why. */
  async #applyText(text: string): Promise<{ applied: boolean; problems: readonly Problem[] }> {
    const problems = await this.#configFile.check(text);
    if (problems.some(({ severity }) => severity === 'error')) return { applied: false, problems };
    const putBack = await this.#configFile.replace(text);
    try {
      const { ok, problems: texts } = await this.reload();
      if (!ok) await putBack();
      // What the check could not know.
      const known = new Set(problems.map(formatProblem));
      const further = texts
        .filter((text) => !known.has(text))
        .map((text) => problemOfApplying(this.#plant.file, text, ok));
      return { applied: ok, problems: [...problems, ...further] };
    } catch (thrown) {
      await putBack();
      throw thrown;
    }
  }

  /** Resolves once every listener accepts and every bus has a poller, or when it is stopped meanwhile. */
  start(): Promise<void> {
    this.#started ??= this.#start();
    return this.#started;
  }

  async #start(): Promise<void> {
    const { log, metrics } = this.#options;
    if (this.#plant.broker.store.kind === 'memory') {
      log.warn('sessions, queues and retained messages are lost when this process ends (store: memory)');
    }
    await this.#broker.open();
    this.#closers.push(() => this.#broker.close());
    const store = this.#store;
    if (store instanceof DiskStore)
      this.#closers.push(offerBackups(store.path, (sink) => store.archive(sink), log));
    if (this.#isStopping) return;
    this.#closers.push(() => this.#uplinks.close());
    this.#take(this.#plant);
    this.#status.start();
    this.#closers.push(() => this.#farewell());
    this.#closers.push(() => this.#uplinks.disconnect());
    // Before the first sample, so that none is missed.
    await this.#uplinks.take(this.#plant);
    // Closed after the pool: the other gateway may begin when this one has ended.
    this.#closers.push(() => this.#redundancy.stop());
    // While the pollers' threads start.
    await Promise.all([this.#pool.start(), this.#rehearse()]);
    this.#closers.push(() => this.#pool.stop());
    await this.#redundancy.start();
    if (this.#isStopping) return;
    collectGarbage();
    this.#closers.push(() => this.#entrances.close());
    const listeners = await this.#entrances.open(
      doorsOf(this.#plant, {
        broker: this.#broker,
        log,
        metrics,
        notReady: () => this.#notReady(),
        about: () => aboutView(this.#plant),
        setup: this.#setup(),
      }),
    );
    if (this.#isStopping) return;
    this.#isReady = true;
    log.info('ready', { listeners });
  }

  /** What clients will need is made ready, in a broker beside ours. */
  async #rehearse(): Promise<void> {
    if (this.#options.rehearses !== true) return;
    const { clock } = this.#options;
    const { access, store } = this.#plant.broker;
    const smallStore = new MemoryStore();
    await rehearse({ clock, store: rehearsalStoreOf(store, clock), smallStore, hasRules: access !== null });
  }

  /** Where users are wanted, none was made yet, and there is a page to make the first on. */
  #setup(): Setup | null {
    const { broker, web } = this.#plant;
    if (web === null || broker.usersFile === null || existsSync(broker.usersFile)) return null;
    return new Setup(broker.usersFile, this.#machineLog, this.#options.clock, () =>
      this.#broker.reload(policyOf(this.#plant)),
    );
  }

  /** Closes what start() has opened, last first; each is tried, whatever happens to the others. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    // Waiting for a port would keep the start from ending.
    await this.#entrances.close();
    await this.#started?.catch(() => {});
    await (this.#nextReload ?? this.#reloading)?.catch(() => {});
    const failures: unknown[] = [];
    for (const close of this.#closers.splice(0).reverse()) {
      try {
        await close();
      } catch (thrown) {
        failures.push(thrown);
      }
    }
    if (failures.length > 0) throw failures[0];
  }

  /**
   * Takes the config file over as it is now, or changes nothing and says why. One at a time; one that is under way may
   * have read the file before it was changed, so that another one follows.
   */
  reload(): Promise<Reloaded> {
    if (this.#nextReload !== null) return this.#nextReload;
    const begin = (): Promise<Reloaded> => {
      this.#nextReload = null;
      const reloading = this.#reload().finally(() => {
        if (this.#reloading === reloading) this.#reloading = null;
      });
      this.#reloading = reloading;
      return reloading;
    };
    if (this.#reloading === null) return begin();
    this.#nextReload = this.#reloading.then(begin, begin);
    return this.#nextReload;
  }

  async #reload(): Promise<Reloaded> {
    const { log, clock, load } = this.#options;
    await this.#started;
    const { plant, problems } = await load(this.#plant.file);
    const texts = problems.map(formatProblem);
    let reloaded: Reloaded = { ok: plant !== null, problems: texts };
    if (plant !== null && !this.#isStopping) {
      try {
        reloaded = { ok: true, problems: [...texts, ...(await this.#apply(plant))] };
      } catch (thrown) {
        reloaded = { ok: false, problems: [...texts, messageOf(thrown)] };
      }
    }
    if (reloaded.ok) {
      log.info('the config was applied');
      for (const error of texts) log.warn('the config can run, but look at it', { error });
    } else log.error('the config is not valid and was not applied', { problems: reloaded.problems });
    this.#status.event('config', { t: clock.nowMs(), ...reloaded });
    return reloaded;
  }

  /** Answers what of it has to wait. */
  async #apply(fresh: Plant): Promise<readonly string[]> {
    const old = this.#plant;
    // First, because certificates or a users file that are not right must leave everything as it was.
    const renewCertificates = this.#entrances.certificateRenewal();
    this.#broker.reload(policyOf(fresh));
    renewCertificates();
    const waiting = isSameServer(this.#opened, fresh) ? [] : [NOT_YET];
    for (const text of waiting) this.#options.log.warn(text);
    const { plant, removed, added } = compare(old, fresh, this.#indexes);
    const take = async (): Promise<Plant> => {
      this.#plant = plant;
      this.#take(plant);
      await this.#uplinks.take(plant);
      return plant;
    };
    const release = this.#commands.hold([...removed, ...added].map(({ name }) => name));
    try {
      await this.#redundancy.replace(removed, take, added);
    } finally {
      release();
    }
    return waiting;
  }

  /** Whoever reads this gateway's values while another one polls must not take them for today's. */
  #roleChanged(about: RedundancyAbout): void {
    const nowMs = this.#options.clock.nowMs();
    const { tags, batches } = this.#plant;
    if (!about.active)
      for (const buffer of offlineParcels(tags, batches, nowMs))
        this.#telemetry.publish(new ParcelReader(buffer));
    this.#status.event('redundancy', { t: nowMs, ...about });
  }

  #take(plant: Plant): void {
    this.#telemetry.take(plant);
    this.#remember(plant);
    this.#status.take(plant);
    this.#commands.take(plant);
    this.#homeAssistant.take(plant);
    this.#requests.take(plant.gateway.topics);
  }

  /** Only where somebody can look at it: what the page shows of the last hour, and the log as it comes. */
  #remember(plant: Plant): void {
    if (plant.web === null) return;
    const indexes = new Set(plant.tags.map(({ index }) => index));
    this.#history ??= new History(plant.tags.length, () => this.#options.clock.nowMs());
    this.#history.keep((index) => indexes.has(index));
    this.#telemetry.remember(this.#history);
    this.#log.tell((line) => this.#status.event('log', line));
  }

  /** Why clients should go elsewhere for now; null: they should not. */
  #notReady(): string | null {
    if (this.#isStopping) return 'stopping';
    return this.#isReady ? null : 'starting';
  }

  /** In one turn: what clients were acknowledged before it is queued for the far sides, and after it nobody is. */
  #farewell(): void {
    this.#uplinks.leave();
    this.#log.tell(null);
    this.#fieldwork.close();
    this.#unrest.stop();
    this.#commands.close();
    this.#homeAssistant.close();
    this.#requests.close();
    this.#status.stop();
    this.#broker.dismiss();
  }

  #poolOf(plant: Plant): Pool {
    const { log, clock, metrics } = this.#options;
    const listener: PoolListener = {
      samples: (parcel) => this.#telemetry.publish(parcel),
      results: (parcel) => this.#commands.results(parcel),
      deviceChanged: (index, state, since, error) => {
        this.#status.deviceChanged(index, state, since, error);
        const device = this.#plant.devices.find((one) => one.index === index)?.name;
        if (device !== undefined) this.#uplinks.deviceChanged({ device, state, since, error });
      },
      busChanged: (index, isUp, error) => {
        this.#status.busChanged(index, isUp, error);
        const bus = this.#plant.buses.find((one) => one.index === index)?.name;
        if (bus === undefined) return;
        if (isUp) this.#unrest.tell('info', 'bus-up', { bus });
        else this.#unrest.tell('warn', 'bus-down', { bus, error: `${error}; ${adviceOn(error)}` });
      },
      statistics: (bus, statistics) => this.#status.statistics(bus, statistics),
      frame: (bus, frame) => this.#fieldwork.frame(bus, frame),
      event: (what, fields) => {
        const level = (fields['error'] ?? '') === '' ? 'info' : 'warn';
        const said = advised(what, fields, this.#plant);
        // A device that comes and goes is one thing; all else (a tag is refused, another master writes) is one of its kind.
        const of = what.startsWith('device-') ? '' : `${what} ${String(fields['tag'] ?? '')}`;
        this.#unrest.tell(level, what, said, of);
        this.#status.event('field', { t: clock.nowMs(), what, ...fields });
      },
    };
    const { fence } = this.#redundancy;
    // With another gateway beside this one nothing is polled before the lease is there.
    const polled = fence === null ? plant : { ...plant, buses: [], devices: [], tags: [], batches: [] };
    const knowledgeFolder = knowledgeFolderOf(plant);
    return new Pool({ plant: polled, listener, log, clock, metrics, knowledgeFolder, fence });
  }
}

/** The log says what to do about a device or tag that gives no value, and which register was asked for. */
function advised(
  what: string,
  fields: Readonly<Record<string, unknown>>,
  { tags, buses }: Plant,
): Readonly<Record<string, unknown>> {
  const { error } = fields;
  if (typeof error !== 'string' || (what !== 'device-offline' && what !== 'tag-refused')) return fields;
  const bus = buses.find(({ name }) => name === fields['bus']);
  const told = { ...fields, error: `${error}; ${adviceOn(error, bus)}` };
  const tag = tags.find(({ name, device }) => name === fields['tag'] && device.name === fields['device']);
  return tag === undefined ? told : { ...told, register: addressText(tag.table, tag.address) };
}

function policyOf({ broker, gateway, web }: Plant): BrokerPolicy {
  const { anonymous, anonymousBeyondLoopback, usersFile, access, listeners } = broker;
  return {
    listeners,
    anonymous,
    anonymousBeyondLoopback,
    hostNames: web?.hostNames ?? [],
    usersFile,
    access,
    neverRetained: [...gateway.topics.commandFilters, `${gateway.topics.requestPrefix}+`],
  };
}

function storeOf(plant: Plant, { log, clock, metrics }: GatewayOptions): Store {
  const { store } = plant.broker;
  return store.kind === 'memory' ? new MemoryStore() : new DiskStore(store, { log, metrics, clock });
}

/** A store like the one that is used, but nothing of it reaches the disk. */
function rehearsalStoreOf(store: Plant['broker']['store'], clock: Clock): Store {
  if (store.kind === 'memory') return new MemoryStore();
  const lock = (): Promise<Lock> => Promise.resolve({ release: () => {} });
  const files = new VolatileFiles();
  return new DiskStore(
    { ...store, path: '' },
    { log: silentLog, metrics: new Metrics(), clock, files, lock },
  );
}

/** What devices taught is kept beside what clients were promised. */
function knowledgeFolderOf(plant: Plant): string | null {
  const { store } = plant.broker;
  return store.kind === 'memory' ? null : join(store.path, 'learned');
}
