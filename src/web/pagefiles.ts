/**
 * The files of the built page, read once when the page is opened: to serve them takes no descriptor, and nothing that can
 * fail, however many ask and go away before they have it. A Range is not looked at, as HTTP allows [RFC 9110 14.2].
 */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { extname, join } from 'node:path';

/** In the order in which they are preferred. */
const CODINGS = [
  { name: 'br', suffix: '.br' },
  { name: 'gzip', suffix: '.gz' },
] as const;

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.woff2': 'font/woff2',
};

/** One file, plain or compressed beforehand. */
interface Form {
  readonly bytes: Buffer;
  readonly headers: Readonly<Record<string, string | number>>;
  readonly etag: string;
}

export class PageFiles {
  readonly #forms = new Map<string, Form>();

  /** Of a folder that is not there nothing is served. */
  constructor(folder: string) {
    if (!existsSync(folder)) return;
    for (const entry of readdirSync(folder, { withFileTypes: true }))
      if (entry.isFile())
        this.#forms.set(entry.name, formOf(entry.name, readFileSync(join(folder, entry.name))));
  }

  /** Whether there is such a file; it was answered then. */
  answer(path: string, request: IncomingMessage, response: ServerResponse): boolean {
    const form = this.#best(path === '/' ? 'index.html' : path.slice(1), request);
    if (form === undefined) return false;
    const isKnown = request.headers['if-none-match'] === form.etag;
    response.writeHead(isKnown ? 304 : 200, form.headers);
    response.end(isKnown || request.method === 'HEAD' ? undefined : form.bytes);
    return true;
  }

  #best(name: string, request: IncomingMessage): Form | undefined {
    const accepted = String(request.headers['accept-encoding'] ?? '');
    for (const coding of CODINGS) {
      const form = this.#forms.get(name + coding.suffix);
      if (form !== undefined && isAccepted(coding.name, accepted)) return form;
    }
    return this.#forms.get(name);
  }
}

function formOf(file: string, bytes: Buffer): Form {
  const coding = CODINGS.find(({ suffix }) => file.endsWith(suffix));
  const name = coding === undefined ? file : file.slice(0, -coding.suffix.length);
  const etag = `"${createHash('sha256').update(bytes).digest('base64url').slice(0, 22)}"`;
  // Built files carry a hash of their content in the name; the page itself is asked for anew each time.
  const isHashed = /-[0-9A-Z]{8}\.(js|css|woff2|svg)$/.test(name);
  const headers = {
    'content-type': TYPES[extname(name)] ?? 'application/octet-stream',
    'content-length': bytes.length,
    'cache-control': isHashed ? 'public, max-age=31536000, immutable' : 'no-cache',
    vary: 'accept-encoding',
    etag,
    ...(coding === undefined ? undefined : { 'content-encoding': coding.name }),
  };
  return { bytes, headers, etag };
}

/** Whether a list such as "gzip;q=0.5, br" has it, and not with the weight nought. */
function isAccepted(coding: string, list: string): boolean {
  return list.split(',').some((item) => {
    const [name = '', weight = ''] = item.split(';', 2).map((part) => part.trim().toLowerCase());
    return name === coding && !/^q=0(\.0*)?$/.test(weight);
  });
}
