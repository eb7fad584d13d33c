/**
 * Certificates (RFC 5280) with keys on P-256. The only importer of @peculiar/x509, which wants reflect-metadata there
 * first; cert.ts loads this file when a certificate is made.
 */
import 'reflect-metadata';
import * as x509 from '@peculiar/x509';
import { createHash, randomBytes, webcrypto, X509Certificate as NodeCertificate } from 'node:crypto';
import { hostname } from 'node:os';
import { isIP } from 'node:net';
import { UsageError } from './verb.js';

/** In PEM. */
export interface Issued {
  readonly cert: string;
  readonly key: string;
}

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const DAY_MS = 86_400_000;
/** Clocks of devices that were just switched on are behind. */
const BACKDATE_MS = DAY_MS;

type KeyPair = { readonly privateKey: webcrypto.CryptoKey; readonly publicKey: webcrypto.CryptoKey };

// Node's own, whose types name other globals.
x509.cryptoProvider.set(webcrypto as never);

export class Authority {
  readonly #cert: string;
  readonly #key: webcrypto.CryptoKey;

  private constructor(cert: string, key: webcrypto.CryptoKey) {
    this.#cert = cert;
    this.#key = key;
  }

  static async create(days: number): Promise<{ authority: Authority; issued: Issued }> {
    const keys = await newKeys();
    const made = await x509.X509CertificateGenerator.createSelfSigned({
      serialNumber: serial(),
      name: [{ O: ['holdfast'] }, { CN: [`holdfast authority of ${hostname()}`] }],
      ...validity(days),
      keys: keys as never,
      signingAlgorithm: ALGORITHM,
      extensions: [
        new x509.BasicConstraintsExtension(true, 0, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey as never),
      ],
    });
    const cert = `${made.toString('pem')}\n`;
    return {
      authority: new Authority(cert, keys.privateKey),
      issued: { cert, key: await pemOf(keys) },
    };
  }

  static async load(cert: string, keyPem: string): Promise<Authority> {
    const der = Buffer.from(keyPem.replace(/-----[^-]+-----|\s/g, ''), 'base64');
    const key = await webcrypto.subtle.importKey('pkcs8', der, ALGORITHM, false, ['sign']);
    return new Authority(cert, key);
  }

  /** The first name is the one that is shown. */
  async server(names: readonly string[], days: number): Promise<Issued> {
    const alternatives = names.map((value) => ({
      type: isIP(value) === 0 ? ('dns' as const) : ('ip' as const),
      value,
    }));
    return this.#issue([{ CN: [names[0] ?? ''] }], days, [
      new x509.SubjectAlternativeNameExtension(alternatives),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
    ]);
  }

  async client(user: string, days: number): Promise<Issued> {
    return this.#issue([{ CN: [user] }], days, [
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth]),
    ]);
  }

  async #issue(subject: x509.JsonName, days: number, more: x509.Extension[]): Promise<Issued> {
    const keys = await newKeys();
    const issuer = new x509.X509Certificate(this.#cert);
    const made = await x509.X509CertificateGenerator.create({
      serialNumber: serial(),
      subject,
      issuer: issuer.subjectName.toJSON(),
      ...validity(days),
      publicKey: keys.publicKey as never,
      signingKey: this.#key as never,
      signingAlgorithm: ALGORITHM,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey as never),
        await x509.AuthorityKeyIdentifierExtension.create(issuer),
        ...more,
      ],
    });
    return { cert: `${made.toString('pem')}\n`, key: await pemOf(keys) };
  }
}

function newKeys(): Promise<KeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
}

async function pemOf({ privateKey }: KeyPair): Promise<string> {
  const text = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', privateKey)).toString('base64');
  return `-----BEGIN PRIVATE KEY-----\n${text.replace(/.{1,64}/g, '$&\n')}-----END PRIVATE KEY-----\n`;
}

/** Positive, and never the same twice. */
function serial(): string {
  return `01${randomBytes(15).toString('hex')}`;
}

function validity(days: number): { notBefore: Date; notAfter: Date } {
  const now = Date.now();
  return { notBefore: new Date(now - BACKDATE_MS), notAfter: new Date(now + days * DAY_MS) };
}

/** What people look for in a certificate. */
export function textOfCertificate(pem: string, file: string): Record<string, string | number> {
  let cert: NodeCertificate;
  try {
    cert = new NodeCertificate(pem);
  } catch {
    throw new UsageError(`${file} is no certificate in PEM; it begins with -----BEGIN CERTIFICATE-----`);
  }
  const left = Math.floor((Date.parse(cert.validTo) - Date.now()) / DAY_MS);
  return {
    subject: cert.subject.replaceAll('\n', ', '),
    issuer: cert.issuer.replaceAll('\n', ', '),
    names: cert.subjectAltName ?? '',
    from: new Date(cert.validFrom).toISOString(),
    until: new Date(cert.validTo).toISOString(),
    days_left: left,
    sha256: createHash('sha256').update(cert.raw).digest('hex'),
  };
}
