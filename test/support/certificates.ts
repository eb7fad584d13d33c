/** Authorities and certificates by them, made by openssl in a folder that goes with the tests of the file. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

export class Certificates {
  readonly #folder = mkdtempSync(join(tmpdir(), 'holdfast-tls-'));

  /** The path of NAME.crt or NAME.key. */
  file(name: string): string {
    return join(this.#folder, name);
  }

  text(name: string): string {
    return readFileSync(this.file(name), 'utf8');
  }

  authority(name: string): void {
    const files = ['-keyout', `${name}.key`, '-out', `${name}.crt`];
    this.#openssl('req', '-x509', ...NEW_KEY, '-days', '2', '-subj', `/CN=${name}`, ...files);
  }

  /** Signed by that authority, for these names, such as "IP:127.0.0.1,DNS:meter.example". */
  certificate(name: string, by: string, alternative: string): void {
    const names = ['-addext', `subjectAltName=${alternative}`];
    const files = ['-keyout', `${name}.key`, '-out', `${name}.csr`];
    this.#openssl('req', ...NEW_KEY, '-subj', `/CN=${name}`, ...names, ...files);
    const signer = ['-CA', `${by}.crt`, '-CAkey', `${by}.key`, '-CAcreateserial'];
    const form = ['-days', '2', '-copy_extensions', 'copy', '-out', `${name}.crt`];
    this.#openssl('x509', '-req', '-in', `${name}.csr`, ...signer, ...form);
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #openssl(...args: string[]): void {
    execFileSync('openssl', args, { cwd: this.#folder, stdio: 'pipe' });
  }
}
