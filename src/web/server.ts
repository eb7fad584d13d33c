/**
 * The HTTP server: the page's files, /healthz, /readyz, /metrics, and the WebSocket upgrade at /mqtt, which is handed to
 * the broker. It changes nothing: whatever the page does, it does as an MQTT client under that client's rights. The one
 * exception is /setup, where the first user is made while there is none.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import {
  type CertificateFiles,
  isOwnName,
  plainAddress,
  refuseUpgrade,
  renewalOf,
  secureContext,
} from '../broker/door.js';
import { greetInTurns } from '../broker/greetings.js';
import { HoldfastError } from '../errors.js';
import type { Log } from '../log.js';
import type { Metrics } from '../metrics.js';
import { PageFiles } from './pagefiles.js';

export interface FirstRun {
  readonly isNeeded: boolean;
  /** Null, or why not. */
  make(first: { code: string; user: string; password: string }, host: string): Promise<string | null>;
}

export interface WebOptions {
  readonly host: string;
  readonly port: number;
  readonly tls: CertificateFiles | null;
  /** Host names that the page may be reached by, beside addresses, localhost and this machine's name. */
  readonly hostNames: readonly string[];
  /** Folder of the built page; the endpoints work without it. */
  readonly pageFolder: string;
  readonly metrics: Metrics;
  readonly log: Log;
  /** Null when all is well, else what is not; /readyz answers 503 with it. */
  readonly notReady: () => string | null;
  /** What the page must know before it connects: gateway, topics, whether a user is needed. Nothing secret. */
  readonly about: () => Readonly<Record<string, unknown>>;
  /** Makes the first user; null: there is one, or none is wanted. */
  readonly setup: FirstRun | null;
  /** Of page, metrics and WebSockets together: descriptors are left for everything else. */
  readonly connectionsMax: number;
  /** For TLS, for a request, and for taking some of the answer. */
  readonly timeoutMs?: number;
  /** Takes over a WebSocket upgrade at /mqtt. */
  readonly upgrade: (request: IncomingMessage, socket: Duplex, head: Buffer) => void;
}

const SECURITY_HEADERS = {
  'content-security-policy':
    "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
} as const;

/** One address has half of the connections at most, and what a browser with its page wants anyway. */
const ADDRESS_SHARE = 1 / 2;
const ADDRESS_MIN = 16;
const HEADER_BYTES_MAX = 16_384;
const BODY_MAX = 4096;
const TIMEOUT_MS = 10_000;

export class WebServer {
  readonly #options: WebOptions;
  readonly #server: Server | TlsServer;
  #renewal: (() => () => void) | null = null;
  readonly #page: PageFiles;
  /** Connections with a request that is not answered yet. */
  readonly #answering = new WeakSet<Duplex>();
  /** Connections of each address. */
  readonly #perAddress = new Map<string, number>();
  /** Who wants the metrics of now. */
  readonly #scrapers: ServerResponse[] = [];

  constructor(options: WebOptions) {
    this.#options = options;
    const { tls, timeoutMs = TIMEOUT_MS } = options;
    const limits = {
      maxHeaderSize: HEADER_BYTES_MAX,
      requestTimeout: timeoutMs,
      headersTimeout: timeoutMs,
      connectionsCheckingInterval: timeoutMs / 4,
    };
    this.#server =
      tls === null
        ? createServer(limits)
        : createTlsServer({
            ...limits,
            ...secureContext(tls),
            handshakeTimeout: timeoutMs,
          });
    if (tls !== null) greetInTurns(this.#server, timeoutMs);
    this.#page = new PageFiles(options.pageFolder);
    this.#server.maxConnections = options.connectionsMax;
    this.#server.timeout = timeoutMs;
    this.#server.prependListener('connection', (socket: Socket) => this.#arrived(socket));
    this.#server.on('request', (request: IncomingMessage, response: ServerResponse) =>
      this.#take(request, response),
    );
    this.#server.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head));
    this.#server.on('clientError', (_error, socket) => socket.destroy());
    this.#server.on('error', (error) => {
      // Why it cannot listen is said by whoever asked for it.
      if (this.#server.listening) options.log.error('web server', { listener: 'web', error: error.message });
    });
  }

  /** Resolves with the address to show, such as "http://127.0.0.1:8080/". */
  async listen(): Promise<string> {
    const { host, port, tls } = this.#options;
    if (tls !== null && 'setSecureContext' in this.#server)
      this.#renewal = await renewalOf(this.#server, tls);
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', (cause) =>
        reject(
          new HoldfastError(
            'HF5001',
            { listener: `web ${host}:${port}` },
            `cannot listen: ${cause.message}`,
            cause,
          ),
        ),
      );
      this.#server.listen(port, host, resolve);
    });
    const address = this.#server.address() as AddressInfo;
    const shown = address.family === 'IPv6' ? `[${address.address}]` : address.address;
    return `${tls === null ? 'http' : 'https'}://${shown}:${address.port}/`;
  }

  /** Reads certificate and key again, and throws when they are not right; what it answers takes them over. */
  certificateRenewal(): () => void {
    return this.#renewal?.() ?? ((): void => {});
  }

  async close(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }

  #arrived(socket: Socket): void {
    const address = plainAddress(socket.remoteAddress);
    const count = this.#perAddress.get(address) ?? 0;
    if (count >= Math.max(ADDRESS_MIN, this.#options.connectionsMax * ADDRESS_SHARE)) {
      socket.on('error', () => {}).destroy();
      return;
    }
    this.#perAddress.set(address, count + 1);
    socket.once('close', () => {
      const left = (this.#perAddress.get(address) ?? 1) - 1;
      if (left > 0) this.#perAddress.set(address, left);
      else this.#perAddress.delete(address);
    });
  }

  /**
   * One request of a connection at a time. Browsers and scrapers wait for each answer; one who does not could ask for
   * thousands in a single packet, and have them all made before anybody else has his turn.
   */
  #take(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request;
    if (this.#answering.has(socket)) {
      socket.destroy();
      return;
    }
    this.#answering.add(socket);
    response.once('close', () => this.#answering.delete(socket));
    this.#answer(request, response);
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    for (const [name, value] of Object.entries(SECURITY_HEADERS)) response.setHeader(name, value);
    if (!this.#isOurHost(request))
      return reply(response, 421, 'this host name is not served here; add it to web.host_names\n');
    const [path = ''] = (request.url ?? '').split('?', 1);
    if (path === '/setup') return this.#setup(request, response);
    if (request.method !== 'GET' && request.method !== 'HEAD')
      return reply(response, 405, 'only GET and HEAD\n');
    if (path === '/healthz') return reply(response, 200, 'ok\n');
    if (path === '/readyz') return this.#ready(response);
    if (path === '/metrics') return this.#metrics(response);
    if (path === '/about.json')
      return reply(response, 200, JSON.stringify(this.#about()), 'application/json');
    if (!this.#page.answer(path, request, response)) reply(response, 404, 'not found\n');
  }

  #about(): Readonly<Record<string, unknown>> {
    const { about, setup } = this.#options;
    return setup?.isNeeded === true ? { ...about(), needsSetup: true } : about();
  }

  /** A page from elsewhere cannot send JSON here without asking first, and is not answered when it asks. */
  #setup(request: IncomingMessage, response: ServerResponse): void {
    const { setup, log } = this.#options;
    if (setup?.isNeeded !== true) return reply(response, 404, 'not found\n');
    if (request.method !== 'POST') return reply(response, 405, 'only POST\n');
    if (request.headers['content-type'] !== 'application/json' || !isSameOrigin(request))
      return reply(response, 403, 'only from the page\n');
    const host = plainAddress(request.socket.remoteAddress);
    body(request)
      .then(firstUserOf)
      .catch(() => null)
      .then((first) => {
        if (first === null) return reply(response, 400, 'not what the page sends\n');
        return setup
          .make(first, host)
          .then((refused) => reply(response, refused === null ? 200 : 403, `${refused ?? 'made'}\n`));
      })
      .catch((error: unknown) => {
        log.error('the first user could not be made', { error: String(error) });
        reply(response, 500, 'the first user could not be made; see the log\n');
      });
  }

  #ready(response: ServerResponse): void {
    const problem = this.#options.notReady();
    reply(response, problem === null ? 200 : 503, `${problem ?? 'ready'}\n`);
  }

  /** Written once a turn for all who ask, so that many who ask do not hold up everybody else. */
  #metrics(response: ServerResponse): void {
    if (this.#scrapers.push(response) > 1) return;
    setImmediate(() => {
      const scrapers = this.#scrapers.splice(0);
      const answer = (status: number, text: string, type?: string): void =>
        scrapers.forEach((scraper) => reply(scraper, status, text, type));
      import('./prometheus.js')
        .then(({ exposition }) => exposition(this.#options.metrics))
        .then(({ type, text }) => answer(200, text, type))
        .catch((error: unknown) => {
          this.#options.log.error('metrics could not be written', { error: String(error) });
          answer(500, 'metrics could not be written; see the log\n');
        });
    });
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on('error', () => socket.destroy());
    const path = (request.url ?? '').split('?', 1)[0];
    if (path === '/mqtt' && this.#isOurHost(request) && isSameOrigin(request))
      return this.#options.upgrade(request, socket, head);
    refuseUpgrade(socket, '403 Forbidden');
  }

  /** A name that is not ours means DNS rebinding: a foreign page that made its own name point here. */
  #isOurHost(request: IncomingMessage): boolean {
    return isOwnName(hostOf(request.headers.host ?? ''), this.#options.hostNames);
  }
}

/** A browser sends Origin; other programs need not. */
function isSameOrigin(request: IncomingMessage): boolean {
  const { origin, host } = request.headers;
  if (origin === undefined) return true;
  return URL.canParse(origin) && new URL(origin).host === host;
}

async function body(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of request.setEncoding('utf8')) {
    text += String(chunk);
    if (text.length > BODY_MAX) throw new Error('a request of more than 4 KiB');
  }
  return text;
}

/** What is no text is empty, and refused as such. */
function firstUserOf(text: string): { code: string; user: string; password: string } {
  const json: unknown = JSON.parse(text);
  const fields = new Map<string, unknown>(
    typeof json === 'object' && json !== null ? Object.entries(json) : [],
  );
  const field = (name: string): string => {
    const value = fields.get(name);
    return typeof value === 'string' ? value : '';
  };
  return { code: field('code'), user: field('user'), password: field('password') };
}

function hostOf(header: string): string {
  const bracketed = /^\[([^\]]*)\]/.exec(header);
  return (bracketed?.[1] ?? header.split(':', 1)[0] ?? '').toLowerCase();
}

function reply(
  response: ServerResponse,
  status: number,
  text: string,
  type = 'text/plain; charset=utf-8',
): void {
  response.writeHead(status, {
    'content-type': type,
    'content-length': Buffer.byteLength(text),
    'cache-control': 'no-store',
  });
  response.end(response.req.method === 'HEAD' ? undefined : text);
}
