/**
 * The one base class of errors that people see: a stable code, the thing it is about, and a message made from both.
 * Each family is raised in one room and ends in one place; expected outcomes are values, not errors.
 */

/** What an error or a log line is about. Every field is optional; those that are set are named in the message. */
export interface Subject {
  file?: string;
  line?: number;
  column?: number;
  bus?: string;
  device?: string;
  unitId?: number;
  tag?: string;
  client?: string;
  topic?: string;
  listener?: string;
}

export class HoldfastError extends Error {
  readonly code: string;
  readonly subject: Subject;

  constructor(code: string, subject: Subject, text: string, cause?: unknown) {
    super(describe(subject) + text, cause === undefined ? undefined : { cause });
    this.name = new.target.name;
    this.code = code;
    this.subject = subject;
  }
}

/** A config file that is not valid; ends in main.ts with exit code 3. */
export class ConfigError extends HoldfastError {}

/** A store that cannot be read or written; on open it ends the start, later it holds acknowledgements back. */
export class StoreError extends HoldfastError {}

/** Says what an error is about, ending in ": ", or "" when the subject is empty. */
export function describe(subject: Subject): string {
  const parts: string[] = [];
  if (subject.file !== undefined) {
    parts.push([subject.file, subject.line, subject.column].filter((part) => part !== undefined).join(':'));
  }
  for (const key of ['bus', 'device', 'unitId', 'tag', 'client', 'topic', 'listener'] as const) {
    if (subject[key] !== undefined) parts.push(`${key === 'unitId' ? 'unit' : key} ${String(subject[key])}`);
  }
  return parts.length === 0 ? '' : `${parts.join(', ')}: `;
}

/** What stands where a secret was. */
export const MASK = '********';
/** Up to the last @ of the word: a password may hold one. Both parts are bounded, so that no text takes long to search. */
export const IN_ADDRESS = /(?<=:\/\/[^\s"'/@:]{0,256}:)[^\s"']{1,256}(?=@)/g;

/** A text without the passwords of the addresses in it, as in mqtt://user:password@host. */
export function withoutPasswords(text: string): string {
  return text.includes('://') ? text.replaceAll(IN_ADDRESS, MASK) : text;
}

/** The message of anything that was thrown. */
export function messageOf(thrown: unknown): string {
  // Of a name with several addresses Node says nothing but what became of each.
  if (thrown instanceof AggregateError && thrown.message === '')
    return thrown.errors.map(messageOf).join('; ');
  return withoutPasswords(thrown instanceof Error ? thrown.message : String(thrown));
}
