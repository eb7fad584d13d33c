/**
 * How each requirement of docs/security.md is taken away: a text of the compiled program, and what takes its place. The
 * requirement's test must fail then.
 */

export interface Removal {
  /** Requirement in docs/security.md. */
  readonly row: string;
  /** Compiled file below src/, without its ending. */
  readonly file: string;
  /** Stands there exactly once. */
  readonly text: string;
  readonly instead: string;
}

const without = (row: string, file: string, text: string, instead: string): Removal => ({
  row,
  file,
  text,
  instead,
});

export const REMOVALS: readonly Removal[] = [
  without('R1', 'broker/framer', 'if (next - at > this.maxBytes)', 'if (false)'),
  without('R2', 'broker/framer', 'return body - start === 2 || bytes[body - 1] !== 0;', 'return true;'),
  without('R3', 'broker/connection', "if (this.#state !== 'new')", 'if (false)'),
  without('R4', 'broker/routing', 'levelsMax >= end - start ||', 'true ||'),
  without('R4b', 'broker/retained', 'change * placeBytes(topic, start, end)', '0'),
  without('R4b', 'broker/retained', 'if (topic[start] === DOLLAR)', 'if (false)'),
  without('R4b', 'broker/subscribe', 'session.deepLevels + levels > DEEP_LEVELS_MAX', 'false'),
  without('R5', 'broker/publish', 'client.unfinishedCount >=', '0 >'),
  without(
    'R6',
    'broker/connection',
    'return this.outbox.hasUnsent(this.#core.outboxBytes);',
    'return false;',
  ),
  without('R7', 'broker/backpressure', 'this.#outbox.hasUnsent(this.#core.readStopBytes)', 'false'),
  without('R8', 'broker/subscribe', '>= core.limits.maxSubscriptionsPerClient;', '< 0;'),
  without(
    'R8',
    'broker/connect',
    'this.#core.lifecycle.sessions.size >= this.#core.limits.maxSessions',
    'false',
  ),
  without('R8', 'broker/delivery', '!this.#retaining.hasRoom(incoming, this.isShort)', 'false'),
  without('R8b', 'broker/memory', 'if (share > VERY_SHORT)', 'if (false)'),
  without('R8b', 'broker/memory', 'this.#host.cutUnended();', ''),
  without('R8c', 'broker/route', 'this.#total <= LONG_MAX || oldest === route', 'true'),
  without('R9', 'broker/connection', 'Wheel.ticksOf(limits.connectTimeoutMs)', '0'),
  without('R9d', 'broker/listener', 'handshakeTimeout: this.#handshakeMs', 'handshakeTimeout: 120_000'),
  without('R9d', 'broker/connections', 'this.#arrivals.add(ends);', 'return;'),
  without('R6b', 'broker/core', 'this.isShort || held.bytes >', 'this.isShort || Infinity <'),
  without('R6c', 'broker/turns', '- this.#readingSinceMs > TURN_MS', '- this.#readingSinceMs < 0'),
  without('R6d', 'broker/connection', 'if (!turns.isTurnOverAmid)', 'if (true)'),
  without('R6e', 'broker/feeding', 'nowMs - this.#sinceMs > FEEDING_MS', 'false'),
  without('R6f', 'broker/turns', 'this.#outputBytes > OUTPUT_MAX', 'false'),
  without('R17b', 'broker/websocket', 'maxFragments: FRAGMENTS_MAX', 'maxFragments: 0'),
  without(
    'R24b',
    'broker/listener',
    'rejectUnauthorized: tls.requireClientCert',
    'rejectUnauthorized: false',
  ),
  without('R24b', 'broker/door', '|| !socket.authorized', ''),
  without('R27b', 'errors', "text.includes('://') ?", 'false ?'),
  without(
    'R9b',
    'broker/connections',
    'Math.min(maxConnections, this.#descriptorRoom)',
    'this.#descriptorRoom',
  ),
  without('R9b', 'broker/connections', '(this.#perHost.get(host) ?? 0) >= maxConnectionsPerAddress', 'false'),
  without('R9c', 'broker/connections', 'Math.min(maxConnections, this.#descriptorRoom)', 'maxConnections'),
  without('R25c', 'gateway/setup', 'if (this.#pauses.has(host))', 'if (false)'),
  without('R23d', 'broker/farewells', 'this.#told.takes(host)', 'true'),
  without('R24c', 'broker/greetings', '- sinceMs < TURN_MS', '- sinceMs < Infinity'),
  without('R9g', 'web/server', 'this.#options.connectionsMax * ADDRESS_SHARE', 'Infinity'),
  without('R9f', 'broker/broker', '<= mostBytes || change < 0', '<= Infinity'),
  without('R19b', 'poller/share', 'if (!isTaken)', 'if (false)'),
  without('R9e', 'broker/descriptors', 'descriptorLimit() * VISITORS_SHARE', 'Infinity'),
  without('R10', 'broker/connect', 'known?.holder?.giveUp(TAKEN_OVER);', ''),
  without('R11', 'broker/connect', 'session.identity.user !== user', 'false'),
  without(
    'R12',
    'broker/connect',
    'will !== null && !this.#mayLeave(identity, decoder.decode(will.topic))',
    'false',
  ),
  without(
    'R12',
    'broker/publish',
    '!route.isSystem && session.rights.mayWrite(route.topic)',
    '!route.isSystem',
  ),
  without('R12d', 'broker/subscribe', '!session.rights.maySubscribe(parsed.filter)', 'false'),
  without('R12b', 'broker/routing', '!owner.rights.mayRead(this.#topic)', 'false'),
  without(
    'R12b',
    'broker/retaining',
    '!session.rights.mayReadAt(message.topic, message.topicStart, message.topicEnd)',
    'false',
  ),
  without('R12b', 'broker/session', '!this.rights.mayReadAt(bytes, topicStart, topicEnd)', 'false'),
  without(
    'R12b',
    'broker/session',
    'this.rights.mayReadAt(message.topic, message.topicStart, message.topicEnd)',
    'true',
  ),
  without('R12c', 'broker/lifecycle', 'session.rights.mayWrite(decoder.decode(will.topic))', 'true'),
  without('R13', 'broker/access', "name !== '' && !/[+#/\\p{Cc}]/u.test(name)", 'true'),
  without(
    'R14',
    'broker/usersfile',
    "if (user === '' || scheme === null || rest.length > 0)",
    'if (scheme === null) return;\n        if (false)',
  ),
  without('R15', 'config/problems', "name === '__proto__' ? PROTO : name", 'name'),
  without(
    'R16',
    'broker/publish',
    '!route.isSystem && session.rights.mayWrite(route.topic)',
    'session.rights.mayWrite(route.topic)',
  ),
  without('R17', 'broker/websocket', '!isSameSite(request, host.hostNames())', 'false'),
  without('R17', 'broker/websocket', "&& isOwnName(name.replace(/^\\[|\\]$/g, ''), hostNames)", ''),
  without('R18', 'config/load', 'this.#aliasNodes > ALIAS_MAX_NODES', 'false'),
  without('R18b', 'config/loadaside', 'before.then(() => runNow(errand))', 'runNow(errand)'),
  without('R19', 'poller/seat', 'this.#cancelRestart = clock.after(', 'void ('),
  without('R20', 'gateway/commands', 'target.tag.write === null', 'false'),
  without('R21', 'store/lock', 'chmodSync(folder, 0o700);', ''),
  without('R22', 'web/server', '!this.#isOurHost(request)', 'false'),
  without('R22b', 'web/server', 'this.#answering.has(socket)', 'false'),
  without('R22c', 'web/server', 'this.#scrapers.push(response) > 1', 'this.#scrapers.push(response) > 99'),
  without('R22d', 'web/server', 'this.#server.timeout = timeoutMs;', ''),
  without('R23', 'log', 'visible(text.length > TEXT_MAX', 'visible(false'),
  without('R23b', 'log', 'this.#backlog() > BACKLOG_MAX_BYTES', 'false'),
  without('R23c', 'log', "sink.on('error', () => { });", ''),
  without(
    'R24',
    'broker/door',
    "minVersion: 'TLSv1.2',",
    "minVersion: 'TLSv1', ciphers: 'DEFAULT@SECLEVEL=0',",
  ),
  without('R25', 'broker/users', 'this.#waiting.length >= WAITING_MAX', 'false'),
  without('R25b', 'broker/users', 'if (this.isPaused(credentials.host))', 'if (false)'),
  without(
    'R26',
    'broker/broker',
    'steadyClock(options.clock ?? systemClock)',
    'options.clock ?? systemClock',
  ),
  without('R26a', 'broker/timekeeping', 'this.#clock.goOn(noted, NOTE_MS);', ''),
  without('R26b', 'poller/report', 'timeMs < CLOCK_SET_AFTER_MS', 'false'),
  without('R27', 'cli/effective', "SECRET.test(key) && typeof value === 'string'", 'false'),
  without('R27c', 'config/load', 'referred.replaceAll(value, () => written)', 'referred'),
  without('R28', 'cli/wipe', 'rmSync(folder, { recursive: true, force: true });', 'void folder;'),
  without('R29b', 'gateway/entrances', ", 'EADDRNOTAVAIL'", ''),
  without('R29', 'gateway/entrances', "new Set(['EADDRINUSE', 'EADDRNOTAVAIL'])", 'new Set()'),
  without('R30', 'gateway/commands', "user: sender?.user ?? '',", "user: '',"),
];
