/** `holdfast cert`: an authority of one's own, and certificates for servers and clients from it. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Authority, Issued } from './authority.js';
import { inputFile } from './inputfile.js';
import { EXIT, numberOption, textOption, UsageError, type Context, type Verb, VerbError } from './verb.js';

const FOLDER = 'certs';
const DAYS = { ca: 3650, server: 825, client: 825 } as const;

export const verb: Verb = {
  name: 'cert',
  summary: 'make certificates for TLS from an authority of your own',
  arguments: 'KIND [NAME...]',
  argumentHelp: [
    { name: 'KIND', description: 'ca, server, client, or show' },
    { name: 'NAME', description: 'of a server: each host name and address that clients use; of a client: its user; of show: a file' },
  ],
  options: [
    { flags: '-d, --folder FOLDER', description: 'where they are kept', default: FOLDER },
    { flags: '--days NUMBER', description: 'how long it is valid; 3650 for ca, 825 for others unless given' },
    { flags: '--force', description: 'replace what is there' },
    { flags: '--json', description: 'with show: one JSON document' },
  ],
  examples: [
    { command: 'cert ca', meaning: 'certs/ca.crt, and the key that signs' },
    { command: 'cert server gateway.lan 10.0.0.5', meaning: 'certs/server.crt and server.key; also makes the ca' },
    { command: 'cert client scada', meaning: 'certs/scada.crt and scada.key, for user scada' },
    { command: 'cert show certs/server.crt', meaning: 'for whom, and how long it is valid' },
  ],
  run,
}; // prettier-ignore

async function run(context: Context): Promise<number> {
  const { args, options, stdout, stderr } = context;
  const [kind, ...names] = args;
  const folder = textOption(options, 'folder') ?? FOLDER;
  const days = numberOption(options, 'days', 1, 36_500);
  switch (kind) {
    case 'ca':
      await makeAuthority(context, folder, days ?? DAYS.ca, options['force'] === true);
      return EXIT.ok;
    case 'server': {
      if (names.length === 0) throw new UsageError("for which names? 'holdfast cert server gateway.lan 10.0.0.5'");
      const authority = await authorityOf(context, folder);
      keep(context, folder, 'server', await authority.server(names, days ?? DAYS.server));
      stderr.write(`in the listener: tls: { cert: ${join(folder, 'server.crt')}, key: ${join(folder, 'server.key')} }; clients trust ${join(folder, 'ca.crt')}\n`);
      return EXIT.ok;
    }
    case 'client': {
      const [user, ...others] = names;
      if (user === undefined || others.length > 0 || !/^[\w.-]+$/.test(user)) throw new UsageError("for whom? 'holdfast cert client scada'");
      const authority = await authorityOf(context, folder);
      keep(context, folder, user, await authority.client(user, days ?? DAYS.client));
      stderr.write(`in the listener: tls: { ..., client_ca: ${join(folder, 'ca.crt')} }\n`);
      return EXIT.ok;
    }
    case 'show': {
      const [file] = names;
      if (file === undefined) throw new UsageError("which file? 'holdfast cert show certs/server.crt'");
      const text = (await authorities()).textOfCertificate(inputFile(file).toString(), file);
      stdout.write(options['json'] === true ? `${JSON.stringify(text, null, 2)}\n` : `${Object.entries(text).map(([key, value]) => `${key.padEnd(12)}${String(value)}`).join('\n')}\n`);
      return EXIT.ok;
    }
    default:
      throw new UsageError("what kind? 'holdfast cert ca', 'cert server NAME...', 'cert client USER' or 'cert show FILE'");
  }
} // prettier-ignore

/** Loaded when it is needed: help is there without it. */
function authorities(): Promise<typeof import('./authority.js')> {
  return import('./authority.js');
}

async function makeAuthority(context: Context, folder: string, days: number, isForced: boolean): Promise<Authority> {
  if (existsSync(join(folder, 'ca.key')) && !isForced)
    throw new VerbError(EXIT.failed, `${join(folder, 'ca.key')} is there; what it signed is void without it, so only --force replaces it`);
  const { authority, issued } = await (await authorities()).Authority.create(days);
  keep(context, folder, 'ca', issued, true);
  return authority;
} // prettier-ignore

async function authorityOf(context: Context, folder: string): Promise<Authority> {
  const [cert, key] = [join(folder, 'ca.crt'), join(folder, 'ca.key')];
  if (!existsSync(key)) return makeAuthority(context, folder, DAYS.ca, false);
  return (await authorities()).Authority.load(readFileSync(cert, 'utf8'), readFileSync(key, 'utf8'));
}

/** The key is its owner's alone. */
function keep({ options, stderr }: Context, folder: string, name: string, { cert, key }: Issued, isCa = false): void {
  const files = [join(folder, `${name}.crt`), join(folder, `${name}.key`)] as const;
  if (!isCa && name === 'ca') throw new UsageError('a client named ca would replace the authority; choose another name');
  const there = files.find((file) => existsSync(file));
  if (there !== undefined && options['force'] !== true) throw new VerbError(EXIT.failed, `${there} is there; --force replaces it`);
  mkdirSync(folder, { recursive: true });
  writeFileSync(files[0], cert);
  writeFileSync(files[1], key, { mode: 0o600 });
  stderr.write(`wrote ${files.join(' and ')}\n`);
} // prettier-ignore
