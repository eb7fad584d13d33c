/**
 * What of a queue goes to the far side, and when: within a window, the backlog at its rate, live messages first where
 * that is asked for. A message leaves the queue when the far side has acknowledged it. A message that ends every
 * connection is told from a far side that is broken by the message behind it.
 */
import type { Cancel, Clock } from '../clock.js';
import type { Log } from '../log.js';
import { PACKET_TOO_LARGE, type Remote } from './client.js';
import type { Entry } from './entry.js';
import { Lanes } from './lanes.js';
import { viaBytes } from './properties.js';
import { Pace } from './pace.js';
import type { Outgoing } from './publications.js';
import type { UplinkQueue } from './queue.js';
import { Recurrence } from './recurrence.js';
import { Unwanted } from './unwanted.js';

export interface SenderOptions {
  readonly name: string;
  readonly queue: UplinkQueue;
  readonly clock: Clock;
  readonly log: Log;
  readonly order: 'oldest-first' | 'live-first';
  /** Messages a second while the backlog drains; Infinity: no limit. */
  readonly drainPerS: number;
  /** Messages of one topic sent and not acknowledged, at most. */
  readonly perTopic: number;
  /** Named in what is forwarded, so that a loop is seen. */
  readonly gatewayId: string;
  /** Not while another gateway is the active one, whose newer values the far side is to retain. */
  readonly isActive: () => boolean;
  /** What waited when the connection began is over there. */
  readonly drained: () => void;
  /** The connection is no good. */
  readonly failed: (reason: string) => void;
}

/** Messages sent and not acknowledged, at most. */
const WINDOW = 200;
/** Messages read from the queue that wait for their topic's turn, at most. */
const AHEAD = 1000;
const AHEAD_BYTES = 4 << 20;
/** Bytes sent and not acknowledged above which nothing more is sent. */
const IN_FLIGHT_BYTES = 4 << 20;
const TICK_MS = 100;
/** An acknowledgement is overdue so long after the one before it, or its message; twice as long after each connection on which none came. */
const PATIENCE_MIN_MS = 10_000;
const PATIENCE_MAX_MS = 160_000;
const QUOTA_EXCEEDED = 0x97;
/** Reason codes that another try may cure: unspecified, implementation specific, quota exceeded. */
const PASSING = new Set([0x80, 0x83, QUOTA_EXCEEDED]);
/** Nothing of the queue is sent for so long once a quota is exceeded; twice as long while nothing is acknowledged in between. */
const HELD_MIN_MS = 1000;
/** Twice within this acknowledgements came and so many then did not: the far side passes over what is too much for it. */
const STALLED_AGAIN_MS = 60_000;
const STALLED_MIN = 5;
/** That is no reason to send fewer a second than this. */
const STALLED_PACE_PER_S = 10;
/** So long everything is refused, and another connection is tried. */
const REFUSED_MAX_MS = 3_000;
/** So many connections in a row on which nothing was acknowledged, and messages go one at a time: after one where that has just helped. */
const CAREFUL_AFTER = 3;
/** How far behind the suspect one of another topic is looked for. */
const PROBE_REACH = 1000;

export class Sender {
  sent = 0;
  refused = 0;
  expired = 0;
  readonly #options: SenderOptions;
  /** Says who forwards a message. */
  readonly #via: Uint8Array;
  /** Where the queue goes; null when nothing more of it is sent. */
  #remote: Remote | null = null;
  /** Where what the uplink itself has to say goes, until the connection is over. */
  #listener: Remote | null = null;
  /** What the uplink itself has to say, ahead of the queue, and how many of it have gone. */
  #unsaid: Outgoing[] = [];
  #saidCount = 0;
  /** Counts connections, so that answers of an old one are known as such. */
  #generation = 0;
  #patienceMs = PATIENCE_MIN_MS;
  #acknowledged = 0;
  /** Connections in a row that ended with messages under way and none acknowledged. */
  #failures = 0;
  /** While careful: the oldest message, and how many connections ended with it that took another one before. */
  #suspect: { entry: Entry; convictions: number } | null = null;
  /** Topics of which one was sent to see whether the far side takes it; and that of which it took the last one. */
  readonly #tried = new Set<string>();
  #takenTopic = '';
  /** Two places in the queue to send from: the backlog, which ends where the connection began, and what came since. */
  #backlogAt = 1;
  #backlogEnd = 0;
  #isDrained = false;
  #liveAt = 1;
  /** Live first: the newest of each topic that went ahead of a backlog, this one or that of a connection before. */
  readonly #ahead = new Map<string, number>();
  /** When what is sent and not answered was sent: by sequence, and below zero what the uplink itself said. */
  readonly #inFlight = new Map<number, number>();
  /** Since when the oldest of them is the oldest: acknowledgements come one after the other, on a slow line slowly. */
  #oldestSinceMs = 0;
  #bytesInFlight = 0;
  readonly #lanes: Lanes;
  readonly #unwanted = new Unwanted();
  readonly #refusals: Recurrence;
  /** Sent and not acknowledged, at most: less for a far side that could not take as many. */
  #window = WINDOW;
  /** Nothing of the queue is sent until then, because the far side could not take it; and how long that is, 0 once it takes. */
  #heldUntilMs = -Infinity;
  #heldMs = 0;
  readonly #pace: Pace;
  /** When acknowledgements last stopped to come on a connection on which there were some. */
  #stalledAtMs = -Infinity;
  /** Since when all answers are such codes. */
  #refusedSinceMs = Infinity;
  #isPumping = false;
  #wantsPump = false;
  #isPumpDue = false;
  #allowance = 0;
  #cancelTick: Cancel | null = null;

  constructor(options: SenderOptions) {
    this.#options = options;
    this.#via = viaBytes(options.gatewayId);
    this.#lanes = new Lanes(options.perTopic);
    this.#refusals = new Recurrence(options.clock);
    this.#pace = new Pace(options.clock);
  }

  /** Something was acknowledged on this connection. */
  get hasProgress(): boolean {
    return this.#acknowledged > 0;
  }

  start(remote: Remote): void {
    const { queue, drainPerS } = this.#options;
    this.#remote = this.#listener = remote;
    this.#generation++;
    this.#acknowledged = 0;
    this.#inFlight.clear();
    this.#bytesInFlight = 0;
    this.#lanes.clear();
    this.#backlogAt = 1;
    this.#liveAt = queue.nextSequence;
    this.#backlogEnd = queue.nextSequence - 1;
    this.#isDrained = false;
    this.#heldUntilMs = -Infinity;
    this.#heldMs = 0;
    this.#refusedSinceMs = Infinity;
    this.#allowance = drainPerS / 10;
    this.#pace.begin();
    this.#sayMore();
    this.#tick(this.#generation);
  }

  /** It was sent too much. */
  slowDown(): void {
    this.#pace.exceeded(1);
  }

  /** A message that is not of the queue goes ahead of it, as soon as the far side takes another one. */
  say(message: Outgoing): void {
    this.#unsaid.push(message);
    this.#sayMore();
  }

  /** Something was to be said and has not gone. */
  get hasUnsaid(): boolean {
    return this.#unsaid.length > 0;
  }

  /** Nothing more of the queue is sent, and what is under way may still be acknowledged, until stop(). */
  finish(): void {
    this.#remote = null;
    this.#cancelTick?.();
  }

  /** Nothing is sent any more; what was not acknowledged is still queued. */
  stop(): void {
    this.finish();
    this.#listener = null;
    this.#unsaid = [];
    this.#generation++;
    const isUnderWay = [...this.#inFlight.keys()].some((sequence) => sequence > 0);
    this.#convict();
    this.#inFlight.clear();
    this.#bytesInFlight = 0;
    if (this.#suspect !== null) return;
    if (this.#acknowledged > 0) this.#failures = 0;
    else if (isUnderWay) this.#failures++;
  }

  /** Sends as much as window and allowance permit. One at a time; a call meanwhile makes it look once more. */
  pump(): void {
    if (this.#remote === null || this.#isHeld) return;
    this.#wantsPump = true;
    if (this.#isPumping) return;
    this.#isPumping = true;
    const generation = this.#generation;
    this.#pumpAll()
      .catch((error: unknown) => this.#fail(generation, String(error)))
      .finally(() => {
        this.#isPumping = false;
      });
  }

  /** Once for all acknowledgements that came together. */
  #pumpSoon(): void {
    if (this.#isPumpDue) return;
    this.#isPumpDue = true;
    setImmediate(() => {
      this.#isPumpDue = false;
      this.pump();
    });
  }

  /** The far side could not take what it was sent a moment ago. */
  get #isHeld(): boolean {
    return this.#options.clock.monotonicMs() < this.#heldUntilMs;
  }

  get #isCareful(): boolean {
    const isLikely = this.#unwanted.endedLately(this.#options.clock.monotonicMs());
    return this.#failures >= (isLikely ? 1 : CAREFUL_AFTER);
  }

  /** Ten times a second: a new allowance for the backlog, and a look whether it is through or an acknowledgement overdue. */
  #tick(generation: number): void {
    if (generation !== this.#generation) return;
    const { clock, drainPerS } = this.#options;
    this.#allowance = Math.min(drainPerS, this.#allowance + (drainPerS * TICK_MS) / 1000);
    const sentMs = this.#inFlight.values().next().value ?? Infinity;
    if (clock.monotonicMs() - Math.max(sentMs, this.#oldestSinceMs) > this.#patienceMs) {
      const waitedMs = this.#patienceMs;
      if (this.#acknowledged === 0) this.#patienceMs = Math.min(PATIENCE_MAX_MS, 2 * this.#patienceMs);
      else this.#stalled(clock.monotonicMs());
      return this.#fail(generation, `an acknowledgement did not come within ${waitedMs / 1000} s`);
    }
    this.#cancelTick = clock.after(TICK_MS, () => this.#tick(generation));
    this.#lanes.release(clock.monotonicMs());
    this.#lookWhetherDrained();
    this.pump();
  }

  #stalled(nowMs: number): void {
    const overdue = [...this.#inFlight.values()].filter((sentMs) => nowMs - sentMs > this.#patienceMs / 2);
    if (overdue.length < STALLED_MIN) return;
    if (nowMs - this.#stalledAtMs <= STALLED_AGAIN_MS) this.#pace.exceeded(STALLED_PACE_PER_S);
    this.#stalledAtMs = nowMs;
  }

  #lookWhetherDrained(): void {
    const { queue, drained } = this.#options;
    if (this.#isDrained || !queue.isDoneTo(this.#backlogEnd)) return;
    this.#isDrained = true;
    this.#ahead.clear();
    drained();
  }

  #fail(generation: number, reason: string): void {
    if (generation === this.#generation) this.#options.failed(reason);
  }

  async #pumpAll(): Promise<void> {
    while (this.#wantsPump) {
      this.#wantsPump = false;
      const remote = this.#remote;
      if (remote === null) return;
      if (this.#isCareful) await this.#sendCarefully(remote);
      else await this.#sendMany(remote);
    }
  }

  async #sendMany(remote: Remote): Promise<void> {
    const isLiveFirst = this.#options.order === 'live-first';
    if (isLiveFirst && !(await this.#readLive(remote, this.#room, true))) return;
    // Reading a few at a time would cost more than it gives.
    const room = this.#room < AHEAD / 2 ? 0 : this.#room;
    if (!(await this.#readBacklog(remote, Math.min(room, Math.floor(this.#allowance))))) return;
    const isLiveDue = !isLiveFirst && this.#backlogAt > this.#backlogEnd;
    if (isLiveDue && !(await this.#readLive(remote, room, false))) return;
    this.#sendReady(remote);
    // Another block may hold more.
    if (this.#room > AHEAD / 2 && this.#hasMore) this.#wantsPump = true;
  }

  /** So many more may wait for their topic's turn. */
  get #room(): number {
    return this.#lanes.bytes > AHEAD_BYTES ? 0 : AHEAD - this.#lanes.count;
  }

  /** Something could be read at once. */
  get #hasMore(): boolean {
    const { queue, order } = this.#options;
    const hasLive = this.#liveAt < queue.nextSequence;
    if (this.#backlogAt > this.#backlogEnd) return hasLive;
    return this.#allowance >= 1 || (hasLive && order === 'live-first');
  }

  /** False when the connection has ended meanwhile. */
  async #readLive(remote: Remote, limit: number, isUrgent: boolean): Promise<boolean> {
    const { queue } = this.#options;
    const end = queue.nextSequence;
    if (limit <= 0 || this.#liveAt === end) return true;
    const entries = await queue.read(this.#liveAt, limit);
    if (remote !== this.#remote) return false;
    for (const entry of entries) this.#lanes.add(entry, isUrgent);
    const last = entries.at(-1);
    this.#liveAt = last === undefined ? end : last.sequence + 1;
    return true;
  }

  async #readBacklog(remote: Remote, limit: number): Promise<boolean> {
    if (limit <= 0 || this.#backlogAt > this.#backlogEnd) return true;
    const entries = await this.#options.queue.read(this.#backlogAt, limit);
    if (remote !== this.#remote) return false;
    const waiting = entries.filter(({ sequence }) => sequence <= this.#backlogEnd);
    for (const entry of waiting) this.#lanes.add(entry, false);
    this.#allowance -= waiting.length;
    const isOver = waiting.length < entries.length || waiting.length === 0;
    this.#backlogAt = (isOver ? this.#backlogEnd : (waiting.at(-1)?.sequence ?? 0)) + 1;
    return true;
  }

  #mayTake(remote: Remote): boolean {
    return this.#inFlight.size < Math.min(this.#window, remote.receiveMaximum);
  }

  #sayMore(): void {
    const remote = this.#listener;
    const generation = this.#generation;
    while (remote !== null && this.#mayTake(remote)) {
      const message = this.#unsaid.shift();
      if (message === undefined) return;
      const key = -++this.#saidCount;
      this.#inFlight.set(key, this.#options.clock.monotonicMs());
      remote.publish(message, () => {
        if (generation === this.#generation) this.#settle(key);
      });
    }
  }

  /** One that was under way is answered: there is room for another. */
  #settle(key: number): void {
    if (this.#inFlight.keys().next().value === key) this.#oldestSinceMs = this.#options.clock.monotonicMs();
    this.#inFlight.delete(key);
    this.#sayMore();
    this.#pumpSoon();
  }

  /** Whatever its topic's turn and the window permit. */
  #sendReady(remote: Remote): void {
    while (
      this.#mayTake(remote) &&
      !this.#isHeld &&
      this.#bytesInFlight < IN_FLIGHT_BYTES &&
      this.#pace.isOpen
    ) {
      const entry = this.#lanes.next();
      if (entry === undefined) return;
      this.#send(remote, entry);
    }
  }

  /** First one that is not the suspect, to see that the far side takes messages; then the suspect, alone. */
  async #sendCarefully(remote: Remote): Promise<void> {
    if (this.#inFlight.size > 0) return;
    const [oldest, ...behind] = await this.#options.queue.read(1, PROBE_REACH);
    if (remote !== this.#remote || oldest === undefined) return;
    if (this.#suspect?.entry.sequence !== oldest.sequence) this.#suspect = { entry: oldest, convictions: 0 };
    const probe = this.#acknowledged === 0 ? this.#probeOf(oldest, behind) : undefined;
    this.#send(remote, probe ?? oldest);
    // It may have been one that is not even sent.
    if (this.#inFlight.size === 0) this.#wantsPump = true;
  }

  /**
   * The first of another topic, since order is within one: of that which was taken last, else of any that was not tried in vain,
   * because others may end the connection too.
   */
  #probeOf({ topic: suspected }: Entry, behind: readonly Entry[]): Entry | undefined {
    const firsts = new Map<string, Entry>();
    for (const entry of behind)
      if (entry.topic !== suspected && !firsts.has(entry.topic)) firsts.set(entry.topic, entry);
    const untried = [...firsts.values()].filter(({ topic }) => !this.#tried.has(topic));
    if (untried.length === 0) this.#tried.clear();
    const probe = firsts.get(this.#takenTopic) ?? untried[0] ?? firsts.values().next().value ?? behind[0];
    if (probe !== undefined) this.#tried.add(probe.topic);
    return probe;
  }

  /** The connection has ended: was it the suspect that ended it, and not for the first time? */
  #convict(): void {
    const suspect = this.#suspect;
    if (suspect === null || this.#acknowledged === 0 || !this.#inFlight.has(suspect.entry.sequence)) return;
    const { topic, sequence } = suspect.entry;
    suspect.convictions++;
    if (suspect.convictions < this.#unwanted.endingsOf(topic)) return;
    this.#acquit();
    this.#unwanted.ended(topic, this.#options.clock.monotonicMs());
    this.#options.queue.done(sequence);
    this.#refuse(suspect.entry, 'it ends the connection whenever this one comes');
  }

  /** From now on messages go together again. */
  #acquit(): void {
    this.#suspect = null;
    this.#failures = 0;
  }

  #send(remote: Remote, entry: Entry): void {
    const { clock, queue } = this.#options;
    const leftMs = queue.leftMs(entry);
    const isExpired = leftMs <= 0;
    const nowMs = clock.monotonicMs();
    if (isExpired || this.#unwanted.isBarred(entry.topic, nowMs)) {
      queue.done(entry.sequence);
      this.#lanes.done(entry.topic);
      if (isExpired) this.expired++;
      else this.#refuse(entry, 'others of its topic ended the connection');
      return;
    }
    const generation = this.#generation;
    this.#pace.sent();
    this.#inFlight.set(entry.sequence, nowMs);
    this.#bytesInFlight += entry.payload.length;
    const properties =
      entry.properties.length === 0 ? this.#via : Buffer.concat([entry.properties, this.#via]);
    const expiryS = leftMs === Infinity ? -1 : Math.min(0xffffffff, Math.ceil(leftMs / 1000));
    const { topic, payload, qos } = entry;
    const retain = this.#mayBeRetained(entry);
    remote.publish({ topic, payload, qos, retain, properties, expiryS }, (outcome) => {
      if (generation === this.#generation) this.#answered(entry, outcome);
    });
  }

  /** Not where a newer one of its topic has gone ahead, which would give way to it over there. */
  #mayBeRetained({ topic, sequence, retain }: Entry): boolean {
    const { isActive, order } = this.#options;
    if (!retain || !isActive()) return false;
    if (this.#isDrained || order === 'oldest-first') return true;
    if (sequence > this.#backlogEnd) this.#ahead.set(topic, sequence);
    return sequence >= (this.#ahead.get(topic) ?? 0);
  }

  #answered(entry: Entry, outcome: number): void {
    if (outcome < 0) return this.#fail(this.#generation, 'a message could not be sent');
    // As if it had ended the connection: one that took another message before.
    if (this.#isCareful && PASSING.has(outcome) && outcome !== QUOTA_EXCEEDED)
      return this.#fail(this.#generation, cannotTake(outcome));
    const { clock, queue } = this.#options;
    const nowMs = clock.monotonicMs();
    const sentMs = this.#inFlight.get(entry.sequence) ?? 0;
    if (nowMs - sentMs < PATIENCE_MIN_MS / 2) this.#patienceMs = PATIENCE_MIN_MS;
    this.#settle(entry.sequence);
    this.#bytesInFlight -= entry.payload.length;
    if (PASSING.has(outcome) && this.#isPostponed(entry, outcome)) return this.#lookWhetherUseless(outcome);
    this.#lanes.done(entry.topic);
    this.#acknowledged++;
    if (this.#suspect === null || entry.sequence === this.#suspect.entry.sequence) this.#acquit();
    queue.done(entry.sequence);
    if (outcome !== 0) return this.#refuse(entry, whyRefused(outcome));
    this.sent++;
    this.#pace.took(nowMs);
    this.#takenTopic = entry.topic;
    this.#unwanted.took(entry.topic, nowMs);
    this.#window = Math.min(WINDOW, this.#window + 1);
    this.#heldMs = 0;
    this.#refusedSinceMs = Infinity;
  }

  /**
   * It goes again in a while, ahead of what follows in its topic. All else waits with it when a quota is exceeded, which is
   * never the fault of one message, and fewer are under way then. False: the far side does not want it.
   */
  #isPostponed(entry: Entry, outcome: number): boolean {
    const nowMs = this.#options.clock.monotonicMs();
    const isQuota = outcome === QUOTA_EXCEEDED;
    const pauseMs = isQuota ? 0 : this.#unwanted.refused(entry.topic, nowMs);
    if (!isQuota && pauseMs === 0) return false;
    this.#lanes.again(entry, nowMs + pauseMs);
    if (isQuota && !this.#isHeld) {
      this.#heldMs = Math.max(HELD_MIN_MS, 2 * this.#heldMs);
      this.#heldUntilMs = nowMs + this.#heldMs;
      this.#window = Math.max(1, Math.floor(this.#window / 2));
    }
    return true;
  }

  /** A far side that takes nothing else either is left for the next node. After some of them one message at a time is tried. */
  #lookWhetherUseless(outcome: number): void {
    const nowMs = this.#options.clock.monotonicMs();
    this.#refusedSinceMs = Math.min(this.#refusedSinceMs, nowMs);
    if (this.#inFlight.size > 0) return;
    if (this.#acknowledged > 0 && nowMs - this.#refusedSinceMs <= REFUSED_MAX_MS) return;
    if (outcome !== QUOTA_EXCEEDED) this.#failures++;
    this.#fail(this.#generation, cannotTake(outcome));
  }

  /** Refused for good: it would be refused again and hold up all behind it. */
  #refuse({ topic, payload }: Entry, reason: string): void {
    this.refused++;
    const messages = this.#refusals.add(1);
    if (messages === 0) return;
    const { log, name: uplink } = this.#options;
    log.error('the far side refuses messages; they are dropped and counted', {
      uplink,
      topic,
      bytes: payload.length,
      reason,
      messages,
    });
  }
}

function whyRefused(outcome: number): string {
  return outcome === PACKET_TOO_LARGE
    ? 'it is larger than the far side takes'
    : `it answers reason ${outcome}`;
}

function cannotTake(reason: number): string {
  return `the far side cannot take messages now (reason ${reason})`;
}
