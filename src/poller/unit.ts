/**
 * One device as its bus's poller sees it: its tags, the blocks that read them, what it taught, whether it answers and
 * how fast. Decides nothing about time on the line; that is the poller's.
 */
import { fastestOf, type Batch, type Device, type Range, type Tag, type WriteStep } from '../config/plant.js';
import type { Answer, ModbusError, Request } from '../modbus/client.js';
import { isBitTable, type Table } from '../modbus/protocol.js';
import { Breaker } from './breaker.js';
import { type Command, CommandQueue } from './commands.js';
import { Knowledge } from './knowledge.js';
import { LatencyRing, Slope } from './latency.js';
import { isLine, isSerial, readCost, type ReadCost, silenceMs } from './linecost.js';
import { sampleCode } from './parcel.js';
import type { DeviceState } from './sample.js';
import { pageOf, planReads, type ReadRequest } from './readplan.js';
import type { TagState } from './report.js';
import type { Work } from './schedule.js';
import { Sounding } from './sounding.js';
import { Tally } from './tally.js';
import { Terrain, type Learned, type Span } from './terrain.js';

type Good = Answer & { readonly ok: true };

/** A refused request cut in two: its halves are on trial, and when both are accepted it is asked why the whole was not. */
export interface Split {
  readonly whole: Block;
  /** Of its tags, the first one of the right half. */
  readonly at: number;
  /** Addresses between the halves that no tag asks for; empty when from is to. */
  readonly gapFrom: number;
  readonly gapTo: number;
  /** Both halves can be read as they are. */
  readonly isPair: boolean;
  /** Registers or bits of the larger one. */
  readonly halfQuantity: number;
  /** The whole was not refused in words. */
  readonly isSilent: boolean;
  goodCount: number;
}

/** One read request that is carried out again and again: which tags it feeds, when it is due, how it has fared. */
export class Block implements Work {
  readonly unit: Unit;
  readonly table: Table;
  readonly address: number;
  readonly quantity: number;
  readonly intervalMs: number;
  /** As it was planned, with what was known of its unit then. */
  costMs: number;
  countedMs = 0;
  readonly states: readonly TagState[];
  /** Of each tag: byte offset in the answer, or bit offset. */
  readonly positions: Int32Array;
  /** What has to be written first, so that these registers hold its page; null: nothing. */
  readonly select: WriteStep | null;
  /** Batches that wait for this block's tags. */
  batches: BatchState[] = [];

  dueMs = 0;
  deadlineMs = 0;
  slot = -1;
  isReady = false;
  /** When it was planned to be read: due times that a pause put off do not move the grid. */
  gridMs = 0;
  /** It has no place of its own in the period: not yet, or not any more after a pause. */
  isUnplaced = true;
  isUnderWay = false;
  /** How long its last good answer took. */
  tookMs = 0;
  /** Where those of its tags stand that others take a factor from, each behind what its own comes from. */
  readonly #scales: readonly number[];
  #wasted: number | null = null;
  /** Tags that are calculated from its own, those that come first first. */
  readonly dependents: readonly TagState[];

  wasGood = false;
  isRetry = false;
  /** Refusals or unanswered requests in a row, since when, and how often its unit had given a value then. */
  refusals = 0;
  refusedSinceMs = 0;
  refusedAtValue = 0;
  /** It is refused by silence, and in no other words than these. */
  unanswered: ModbusError | null = null;
  /** How often its unit had given a value when it went on trial. */
  triedAtValue = 0;
  /** Since when its unit has been busy with it each time, and its last pause for that; Infinity: it is not. */
  busySinceMs = Infinity;
  busyPauseMs = 0;
  /** Exceptions in a row that say nothing of the map. */
  serverFailures = 0;
  silences = 0;
  /** Requests in a row that it led, with others riding along, and that were not answered. */
  lostRides = 0;
  unitGoodCountAtSilence = -1;
  /** On trial: half of a refused request, or a question about it. */
  split: Split | null = null;
  about: 'half' | 'gap' | 'whole' = 'half';
  /** What is read instead of it this time. */
  detour: Span | null = null;
  readonly tally = new Tally();
  /** Read once and dropped: a read-back, a read that somebody asked for, a second try of a refused tag. */
  isTransient = false;
  /** Commands that asked for this read, each for one of its tags. */
  asked: Command[] = [];

  constructor(unit: Unit, request: ReadRequest, states: readonly TagState[]) {
    this.unit = unit;
    this.table = request.table;
    this.address = request.address;
    this.quantity = request.quantity;
    this.intervalMs = request.intervalMs;
    this.costMs = request.costMs;
    this.select = request.select;
    this.states = states;
    this.#scales = [...states.keys()]
      .filter((at) => states[at]?.isScale === true)
      .sort((a, b) => depthOf(states[a]) - depthOf(states[b]));
    this.dependents = dependentsOf(states);
    const scale = isBitTable(request.table) ? 1 : 2;
    this.positions = Int32Array.from(states, ({ tag }) => scale * (tag.address - request.address));
  }

  /** The read of this block alone. */
  request(): Request {
    const { table, address, quantity } = this;
    return { kind: 'read', unitId: this.unit.device.unitId, table, address, quantity };
  }

  /** Whether these are its tags. */
  feeds(states: readonly TagState[]): boolean {
    return states.length === this.states.length && states.every((state, at) => state === this.states[at]);
  }

  /** How long it has the line: as long as the last time, if that was longer than planned. */
  get lineMs(): number {
    return Math.max(this.costMs, this.tookMs);
  }

  /** How many bytes an answer with so many registers or bits has. */
  bytesOf(quantity: number): number {
    return isBitTable(this.table) ? Math.ceil(quantity / 8) : 2 * quantity;
  }

  /** Hands a good answer that begins at address to those of its tags that others take a factor from. */
  takeScales(answer: Good, address: number, timeMs: number, mark: number): void {
    for (const at of this.#scales) this.#takeOne(at, answer, address, timeMs, mark);
  }

  /** Hands it to the others. */
  take(answer: Good, address: number, timeMs: number, mark: number): void {
    const { states } = this;
    for (let at = 0; at < states.length; at += 1)
      if (states[at]?.isScale === false) this.#takeOne(at, answer, address, timeMs, mark);
  }

  /** What was read before, or while, its tag was written may be the old value: it is dropped. */
  #takeOne(at: number, answer: Good, address: number, timeMs: number, mark: number): void {
    const state = this.states[at];
    if (state === undefined || state.writeMark > mark || state.writesUnderWay > 0) return;
    const shift = (this.address - address) * (isBitTable(this.table) ? 1 : 2);
    state.take(answer.data, (this.positions[at] ?? 0) + shift, timeMs, answer.receivedAtMs);
  }

  /** Whether a longer read may stand in for it: its own addresses are known to be good, or are what is to be found out. */
  mayDetour(nowMs: number): boolean {
    if (this.select !== null || this.isTransient) return false;
    if (this.isSilentPart) return true;
    return this.wasGood && this.split === null && nowMs >= this.unit.noRidesUntilMs;
  }

  /** A part of what is never answered. */
  get isSilentPart(): boolean {
    return this.split?.isSilent === true;
  }

  /** It was never answered, or not the last time: what rides with it, or across it, may fail with it. */
  get isDoubtful(): boolean {
    return !this.wasGood || this.isRetry || this.silences > 0 || this.refusals > 0;
  }

  /** Its unit answers, but perhaps never this. */
  get isSuspect(): boolean {
    return this.unit.goodCount > 0 && (!this.wasGood || this.split !== null || this.silences > 1);
  }

  /** It was answered: what failures left is over. */
  succeeded(): void {
    this.wasGood = true;
    this.isRetry = false;
    this.refusals = 0;
    this.unanswered = null;
    this.busySinceMs = Infinity;
    this.busyPauseMs = 0;
    this.serverFailures = 0;
    this.silences = 0;
  }

  /** What was never answered is waited for ever longer: its silence is taken for a refusal in the end. Of a part that is said of the whole. */
  get patience(): number {
    if (this.wasGood) return 1;
    if (!this.isSilentPart) return 2 ** this.silences;
    return this.about === 'whole' ? PATIENCE_OF_WHOLE : 1;
  }

  /** It was not answered; that counts when its unit answered others meanwhile. */
  wasSilent(): void {
    if (this.unitGoodCountAtSilence !== this.unit.goodCount) this.silences += 1;
    this.unitGoodCountAtSilence = this.unit.goodCount;
  }

  /** Its last silence may have struck any request of its unit; that of what is never answered, or not any more, says nothing of others. */
  get wasChance(): boolean {
    return this.wasGood && this.split === null && this.silences <= LOSSES_COUNTED;
  }

  /** On a line that is short of time those go first who hold it up least, and before them what many tags wait for. */
  get handicapMs(): number {
    return this.unit.latency.p99Ms - (this.isSilentPart ? this.intervalMs : 0);
  }

  get end(): number {
    return this.address + this.quantity;
  }

  /** Registers or bits read only because that is cheaper than reading around them. */
  get wasted(): number {
    if (this.#wasted === null) this.#wasted = this.#countWasted();
    return this.#wasted;
  }

  #countWasted(): number {
    let used = 0;
    let end = 0;
    for (const { tag } of this.states) {
      const to = tag.address + tag.quantity;
      if (to <= end) continue;
      used += to - Math.max(end, tag.address);
      end = to;
    }
    return this.quantity - used;
  }
}

/** A batch under way: published once all blocks with its fastest tags were read. */
export interface BatchState {
  readonly batch: Batch;
  readonly states: readonly TagState[];
  /** Blocks whose answers it waits for, and those that have come. */
  readonly awaited: Set<Block>;
  readonly arrived: Set<Block>;
  /** Some of its tags were read apart from the others meanwhile: the next one is told. */
  hasNews: boolean;
}

/** A request that is not answered though each of its halves is may only take long. */
const PATIENCE_OF_WHOLE = 4;

const CODE_EXCEPTION = sampleCode('bad', 'exception');
const CODE_TIMEOUT = sampleCode('bad', 'timeout');

/** What one answer takes away from what lateness and broken connections added. */
const TIMEOUT_DECAY = 0.995;
const BREAK_DECAY = 0.25;
const DOUBT_DECAY = 0.2;
/** Answers known before learned times are trusted. */
const KNOWN_AFTER = 4;
/** So many silences of a request in a row are taken for chance. */
const LOSSES_COUNTED = 3;
/** What one request counts among those that are answered or not. */
const LOSS_WEIGHT = 0.05;
/** Tags that are told by name when they have no value. */
const NAMES_SHOWN = 3;

/** After so many further answers it is asked whether the plan still fits; it is made anew beyond this difference. */
const REVIEW_EVERY = 32;
const OUTDATED_SHARE = 0.15;
/** After so many probes in a row that were not answered another address is asked for. */
const VAIN_PROBES_MAX = 4;

function isFar(ms: number, plannedMs: number): boolean {
  return Math.abs(ms - plannedMs) > OUTDATED_SHARE * plannedMs;
}

export class Unit {
  readonly device: Device;
  readonly states: readonly TagState[];
  readonly knowledge: Knowledge;
  readonly breaker: Breaker;
  readonly latency = new LatencyRing();
  /** What a request cost when the plan was made. */
  #plannedCost: ReadCost = { fixedMs: 0, registerMs: 0, bitMs: 0 };
  readonly slope = new Slope();
  readonly commands = new CommandQueue();
  readonly statistics = new Tally();
  readonly batches: readonly BatchState[];
  blocks: Block[] = [];

  /** Not to be addressed before: it said busy, or a late answer may still come. */
  holdUntilMs = 0;
  busyPauseMs = 0;
  /** Answers so far, exceptions included. */
  goodCount = 0;
  firstFailureMs = 0;
  /** A late answer showed that learned times are too short: no timeout below this. */
  timeoutMinMs = 0;
  /** When the oldest request was sent that it did not answer in time, and whose answer may still come. */
  missedAtMs = -Infinity;
  /** That was sent soon after one to another unit that was given up. */
  wasBehind = false;
  /** It is silent but for a late answer: the next probe gives it that time. */
  answersLate = false;
  /** A write of this unit is on its way: the next one waits, so that order is kept. */
  isWriting = false;
  /** What that write is held back from asking: nothing that looks like it is asked meanwhile, or the wait had no end. */
  awaited: Request | null = null;
  /** How long that write has let others have the line. */
  pausedMs = 0;
  /** Parts of refused requests that are still on trial. */
  openSplits = 0;
  /** Cuts with a gap of which one part was refused: whether the gap is as well is asked when all tags have had their turn. */
  doubtfulCuts: Split[] = [];
  needsPlan = false;
  readonly sounding = new Sounding();
  /** Probes that were not answered; what was asked by the one that was is asked again next time. */
  vainProbes = 0;
  /** Only what is suspected of never being answered was not answered: a probe is to show whether the unit is silent. */
  isOnTrial = false;
  /** No second try of a refused tag before. */
  retestAfterMs = 0;
  /** When one refused tag is answered, all are asked again: not before. */
  amnestyAfterMs = 0;
  /** A connection that was made anew at once says nothing of what was refused before. */
  anewAfterMs = 0;
  /** A probe sent earlier could be taken for the last one's late answer. */
  probeHeldUntilMs = 0;
  /** Silent, and a command found it so lately: commands are answered without another try before. */
  triedUntilMs = 0;
  noRidesUntilMs = 0;
  /** Before this no value of it grows stale and no heartbeat is due. */
  agesAtMs = 0;
  /** Requests that it did not answer, less what has gone well since. */
  doubt = 0;
  /** Share of its requests that are not answered, whatever they ask for. */
  lossShare = 0;
  /** Connections that broke while it was asked, less what has gone well since. */
  breaks = 0;
  readBack = new Set<TagState>();
  /** Of those that were written. */
  readonly #touched = new Map<TagState, readonly TagState[]>();
  readonly #terrains = new Map<Table, Terrain>();
  #terrainsVersion = 0;

  /** Wall time. */
  revivedAtMs = 0;
  state: DeviceState = 'offline';
  /** The last one that was news. */
  toldState: DeviceState | null = null;
  /** Tags without a value when its state was told last. */
  toldBadCount = 0;
  /** What its last request came to that brought no value. */
  lastError = '';
  error = '';
  sinceMs = 0;

  constructor(
    device: Device,
    states: readonly TagState[],
    batches: readonly Batch[],
    knowledge: Knowledge,
    random: () => number,
  ) {
    this.device = device;
    this.states = states;
    this.knowledge = knowledge;
    this.breaker = new Breaker(device.offline, random);
    const byIndex = new Map(states.map((state) => [state.tag.index, state]));
    for (const state of states) {
      if (state.tag.scaleFrom === null) continue;
      state.scaleTag = byIndex.get(state.tag.scaleFrom.tag) ?? null;
      if (state.scaleTag !== null) state.scaleTag.isScale = true;
    }
    for (const state of states) {
      const { formula } = state.tag;
      if (formula === null) continue;
      state.inputs = formula.inputs.flatMap((index) => byIndex.get(index) ?? []);
      for (const input of state.inputs) input.dependents = [...input.dependents, state];
    }
    this.batches = batches.map((batch) => ({
      batch,
      states: batch.tags.flatMap((tag) => byIndex.get(tag.index) ?? []),
      awaited: new Set(),
      arrived: new Set(),
      hasNews: false,
    }));
  }

  /** By the index of its tag. States lie in the order of those; nobody needs a table of them but commands. */
  stateOf(tagIndex: number): TagState | undefined {
    let [low, high] = [0, this.states.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.states[middle]?.tag.index ?? 0) < tagIndex) low = middle + 1;
      else high = middle;
    }
    const state = this.states[low];
    return state?.tag.index === tagIndex ? state : undefined;
  }

  /** Its own response times are known well enough for timeouts. */
  get isKnown(): boolean {
    return this.missingCount === 0;
  }

  /** How many more answers that takes. */
  get missingCount(): number {
    return this.knowledge.responseMs === null ? Math.max(0, KNOWN_AFTER - this.latency.count) : 0;
  }

  /** The longest usual response time. */
  get slowestMs(): number {
    if (this.latency.count >= KNOWN_AFTER) return this.latency.p99Ms;
    return this.knowledge.responseMs?.p99 ?? this.latency.p99Ms;
  }

  get cost(): ReadCost {
    const { bus } = this.device;
    if (isSerial(bus)) {
      // What was measured begins with the silence that tells the unit that the request has ended, which a read costs anyway.
      const measuredMs = this.latency.p50Ms - silenceMs(bus);
      return readCost(bus, this.latency.count >= KNOWN_AFTER ? measuredMs : bus.turnaroundMs);
    }
    const slope = this.slope.perUnitMs;
    const isKnown = this.latency.count >= KNOWN_AFTER;
    const usual = isKnown ? this.latency.p50Ms : Math.max(1, bus.turnaroundMs);
    // Behind a converter most of the time may be that of the registers.
    return readCost(bus, isKnown && slope > 0 && isLine(bus) ? this.slope.fixedMs : usual, slope);
  }

  /** On a line: the unit, or the line behind a converter, turned out quicker or slower than its reads were cut for. Asked now and then, not each time. */
  get isPlanOutdated(): boolean {
    const { count } = this.latency;
    if (count < KNOWN_AFTER || count % REVIEW_EVERY !== KNOWN_AFTER || !isLine(this.device.bus)) return false;
    const { fixedMs, registerMs } = this.#plannedCost;
    const { cost } = this;
    return isFar(cost.fixedMs, fixedMs) || isFar(cost.registerMs, registerMs);
  }

  /** Tags that the device does not give a value for; a sentinel is a value that it gave. */
  countBad(): number {
    let count = 0;
    for (const state of this.states) if (this.#isBad(state)) count += 1;
    return count;
  }

  /** How many have no value, which, and what the device said last instead of one. */
  badText(): string {
    const names = this.states.filter((state) => this.#isBad(state)).map(({ tag }) => tag.name);
    const shown = `${names.slice(0, NAMES_SHOWN).join(', ')}${names.length > NAMES_SHOWN ? ', ...' : ''}`;
    const reason = this.lastError === '' ? '' : `: ${this.lastError}`;
    return `${names.length} of ${this.states.length} tags without an answer (${shown})${reason}`;
  }

  #isBad({ code, timeMs, tag }: TagState): boolean {
    if (tag.formula !== null || (code !== CODE_EXCEPTION && code !== CODE_TIMEOUT)) return false;
    // What failed before it came back has not been asked yet.
    return timeMs > this.revivedAtMs || this.knowledge.refusals.has(tag.name);
  }

  /** Makes the blocks anew from tags and knowledge; blocks that stay the same keep what they went through. */
  plan(): { readonly added: Block[]; readonly removed: Block[]; readonly unreadable: TagState[] } {
    const byTag = new Map(this.states.map((state) => [state.tag, state]));
    // Nobody answers a read of unit 0 on a line.
    const isBroadcast = this.device.unitId === 0 && isLine(this.device.bus);
    const wanted = this.states.filter(({ tag }) => !isBroadcast && !this.knowledge.refusals.has(tag.name));
    const { cost } = this;
    this.#plannedCost = cost;
    const plan = planReads(
      this.device,
      wanted.map(({ tag }) => tag),
      cost,
      this.#learned(),
    );
    const before = new Map(this.blocks.map((block) => [keyOf(block), block]));
    const added: Block[] = [];
    this.blocks = plan.requests.map((request) => {
      const states = request.tags.flatMap((tag) => byTag.get(tag) ?? []);
      const known = before.get(keyOf(request));
      if (known?.feeds(states) === true) {
        before.delete(keyOf(request));
        known.split = null;
        known.costMs = request.costMs;
        return known;
      }
      const block = new Block(this, request, states);
      added.push(block);
      return block;
    });
    this.openSplits = 0;
    this.doubtfulCuts = [];
    this.needsPlan = false;
    this.#joinBatches();
    return {
      added,
      removed: [...before.values()],
      unreadable: plan.unreadable.flatMap((tag) => byTag.get(tag) ?? []),
    };
  }

  /** With what they are scaled by: a factor that was read before may not be the one that belongs to a value read now. */
  withScales(states: readonly TagState[]): readonly TagState[] {
    const all = new Set(states);
    for (const scale of states.flatMap(({ scales }) => scales))
      if (!this.knowledge.refusals.has(scale.tag.name)) all.add(scale);
    return all.size === states.length ? states : [...all];
  }

  /** Blocks for some of its tags, to be read once, now. */
  planOnce(states: readonly TagState[], intervalMs: number): Block[] {
    const byTag = new Map(states.map((state) => [state.tag, state]));
    const plan = planReads(this.device, [...byTag.keys()], this.cost, this.#learned(states));
    return plan.requests.map((request) => {
      const block = new Block(
        this,
        { ...request, intervalMs },
        request.tags.flatMap((tag) => byTag.get(tag) ?? []),
      );
      block.isTransient = true;
      return block;
    });
  }

  /** Made anew when the device taught something: each read asks for it. */
  terrain(table: Table): Terrain {
    if (this.#terrainsVersion !== this.knowledge.version) this.#terrains.clear();
    this.#terrainsVersion = this.knowledge.version;
    const known = this.#terrains.get(table);
    if (known !== undefined) return known;
    const terrain = new Terrain(this.device, table, this.#learned());
    this.#terrains.set(table, terrain);
    return terrain;
  }

  /** The read that costs least, of what was read before if anything was; another one when that is not answered. */
  shortestRead(): { table: Table; address: number; quantity: number } | null {
    let best: TagState | null = null;
    if (this.vainProbes >= VAIN_PROBES_MAX) best = this.#otherRead();
    else {
      for (const state of this.states) {
        if (state.tag.formula !== null || this.knowledge.refusals.has(state.tag.name)) continue;
        if (best === null || rankOf(state) < rankOf(best)) best = state;
      }
    }
    if (best === null) best = this.states.find(({ tag }) => tag.formula === null) ?? null;
    if (best === null) return null;
    const { table, address, quantity } = best.tag;
    const span = new Terrain(this.device, table).fit(address, address + quantity);
    return span === null ? null : { table, ...span };
  }

  /** The address that was asked for may be the only one that is not answered: all have their turn, the cheap ones first. */
  #otherRead(): TagState | null {
    const others = this.states.filter(
      ({ tag }) => tag.formula === null && tag.select === null && !this.knowledge.refusals.has(tag.name),
    );
    others.sort((a, b) => rankOf(a) - rankOf(b));
    return others[Math.trunc(this.vainProbes / VAIN_PROBES_MAX) % others.length] ?? null;
  }

  /** Tags that share a register or bit with what a write of this one changes; itself always. */
  touchedBy(written: TagState): readonly TagState[] {
    const known = this.#touched.get(written);
    if (known !== undefined) return known;
    const { write, quantity } = written.tag;
    const others =
      write === null ? [] : this.statesWithin(write.table, write.address, write.address + quantity);
    const touched = others.includes(written) ? others : [written, ...others];
    this.#touched.set(written, touched);
    return touched;
  }

  /** Tags with a register or bit from address up to end. */
  statesWithin(table: Table, address: number, end: number): TagState[] {
    return this.states.filter(
      ({ tag }) => tag.table === table && tag.address < end && tag.address + tag.quantity > address,
    );
  }

  /** It answered, if only with an exception. */
  answered(): void {
    this.goodCount += 1;
    this.timeoutMinMs *= TIMEOUT_DECAY;
    this.breaks = Math.max(0, this.breaks - BREAK_DECAY);
    this.doubt = Math.max(0, this.doubt - DOUBT_DECAY);
    this.lossShare -= LOSS_WEIGHT * this.lossShare;
  }

  /** It did not answer what it answers else. */
  lost(): void {
    this.lossShare += LOSS_WEIGHT * (1 - this.lossShare);
  }

  /**
   * What of these addresses no tag asks for. Between two tags of one request there may be others, that are read at other
   * times: whether those are legal their own requests tell.
   */
  unasked(range: Range, except: readonly TagState[] = []): Range[] {
    let parts = [range];
    for (const state of this.statesWithin(range.table, range.address, range.address + range.quantity))
      if (!this.#isRefused(state, except)) parts = parts.flatMap((part) => without(part, state.tag));
    return parts;
  }

  /** Refused tags are out of bounds for every joined read; what keeps others from being joined keeps no tag from being read. */
  #learned(except: readonly TagState[] = []): Learned {
    const { registersMax, bitsMax, holes, refusals } = this.knowledge;
    const limits = {
      registersMax: registersMax === Infinity ? Infinity : Math.max(registersMax, this.#longest(except)),
      bitsMax,
      holes: holes.flatMap((hole) => this.unasked(hole, except)),
    };
    if (refusals.size === 0) return limits;
    const refused = this.states.filter((state) => this.#isRefused(state, except)).map(({ tag }) => tag);
    // A legal tag may overlap a refused one (another type, a bit of it): that stretch stays readable.
    const others = this.states.filter(({ tag }) => !refusals.has(tag.name)).map(({ tag }) => tag);
    const outOfBounds = refused.filter(
      (tag) =>
        !others.some(
          (other) =>
            other.table === tag.table &&
            other.address < tag.address + tag.quantity &&
            other.address + other.quantity > tag.address,
        ),
    );
    return { ...limits, holes: [...limits.holes, ...outOfBounds] };
  }

  /** Registers of the longest tag that is read. */
  #longest(except: readonly TagState[]): number {
    let longest = 0;
    for (const state of this.states)
      if (!this.#isRefused(state, except)) longest = Math.max(longest, state.tag.quantity);
    return longest;
  }

  #isRefused(state: TagState, except: readonly TagState[]): boolean {
    return this.knowledge.refusals.has(state.tag.name) && !except.includes(state);
  }

  /** Each batch waits for the blocks that hold its fastest tags. */
  #joinBatches(): void {
    for (const block of this.blocks) block.batches = [];
    for (const joined of this.batches) {
      joined.awaited.clear();
      joined.arrived.clear();
      const own = this.blocks.filter((block) =>
        [...block.states, ...block.dependents].some((state) => joined.states.includes(state)),
      );
      const fastestMs = fastestOf(own.map((block) => block.intervalMs));
      for (const block of own) {
        if (block.intervalMs !== fastestMs) continue;
        joined.awaited.add(block);
        block.batches.push(joined);
      }
    }
  }
}

/** A range without what a tag takes of it. */
function without(range: Range, { address, quantity }: Tag): Range[] {
  const [end, from] = [range.address + range.quantity, address + quantity];
  if (address >= end || from <= range.address) return [range];
  return [
    { ...range, quantity: address - range.address },
    { ...range, address: from, quantity: end - from },
  ].filter((part) => part.quantity > 0);
}

/** How many others the factor of a tag comes from. */
function depthOf(state: TagState | undefined): number {
  return state?.scales.length ?? 0;
}

/** What is calculated from these, directly or by way of others, in an order in which it can be. */
export function dependentsOf(states: readonly TagState[]): readonly TagState[] {
  const last: TagState[] = [];
  const visit = (state: TagState): void => {
    if (last.includes(state)) return;
    for (const dependent of state.dependents) visit(dependent);
    last.push(state);
  };
  for (const state of states) for (const dependent of state.dependents) visit(dependent);
  return last.reverse();
}

/** Plain registers before pages; ever read before never read; then the fewest bytes. */
function rankOf(state: TagState): number {
  const bytes = isBitTable(state.tag.table) ? 1 : 2 * state.tag.quantity;
  return bytes + (state.readAtMs === -Infinity ? 1000 : 0) + (state.tag.select === null ? 0 : 2000);
}

function keyOf({ table, address, quantity, intervalMs, select }: Block | ReadRequest): string {
  return `${table}:${address}:${quantity}:${intervalMs}:${select === null ? '' : pageOf(select)}`;
}
