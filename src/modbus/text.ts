/** Strings in registers: which bytes hold characters, how they are encoded, and what fills the rest. */
import { byteAt } from './bytes.js';

/** The Plant's TextFormat is one. */
export interface TextForm {
  readonly bytes: 'both' | 'swapped' | 'high' | 'low';
  readonly encoding: 'ascii' | 'latin1' | 'utf-8' | 'utf-16';
  /** A byte value that fills the rest when written; in utf-16 a character of this value. */
  readonly pad: number;
}

export const PLAIN_TEXT: TextForm = { bytes: 'both', encoding: 'ascii', pad: 0 };

/** What devices fill the end of a text with. */
const PADDING: readonly number[] = [0x00, 0x20, 0xff];

export function readText(bytes: Uint8Array, at: number, registers: number, form: TextForm): string {
  const characters = new Uint8Array(charactersMax(registers, form));
  for (let index = 0; index < characters.length; index += 1) {
    characters[index] = byteAt(bytes, at + placeOf(index, form));
  }
  return form.encoding === 'utf-16' ? decodeWide(characters) : decode(characters, form.encoding);
}

/** The registers of a text, or what is wrong with it. */
export function writeText(text: string, registers: number, form: TextForm): Uint8Array | string {
  const characters = encode(text, form.encoding);
  if (characters === null) return `"${text}" has characters that ${form.encoding} lacks`;
  const most = charactersMax(registers, form);
  if (characters.length > most) return `${characters.length} bytes are more than the ${most} there are`;
  const bytes = new Uint8Array(2 * registers);
  for (let index = 0; index < most; index += 1)
    bytes[placeOf(index, form)] = characters[index] ?? padAt(index, form);
  return bytes;
}

function charactersMax(registers: number, form: TextForm): number {
  return form.bytes === 'high' || form.bytes === 'low' ? registers : 2 * registers;
}

/** A space of two bytes is 0x0020; what is all ones stays so. */
function padAt(index: number, { encoding, pad }: TextForm): number {
  const isUpperHalf = encoding === 'utf-16' && index % 2 === 0;
  return isUpperHalf && pad !== 0xff ? 0 : pad;
}

/** Where a character's byte lies among the registers' bytes. */
function placeOf(index: number, { bytes }: TextForm): number {
  switch (bytes) {
    case 'both':
      return index;
    case 'swapped':
      return index ^ 1;
    case 'high':
      return 2 * index;
    case 'low':
      return 2 * index + 1;
  }
}

/** A zero ends a text wherever it stands; spaces and 0xFF only at its end. */
function decode(characters: Uint8Array, encoding: 'ascii' | 'latin1' | 'utf-8'): string {
  const zero = characters.indexOf(0);
  let end = zero < 0 ? characters.length : zero;
  while (end > 0 && PADDING.includes(byteAt(characters, end - 1))) end -= 1;
  const text = Buffer.from(characters.buffer, 0, end);
  if (encoding === 'utf-8') return text.toString('utf8');
  return encoding === 'ascii'
    ? text.toString('latin1').replace(/[\x80-\xff]/g, '\ufffd')
    : text.toString('latin1');
}

function decodeWide(characters: Uint8Array): string {
  let text = '';
  for (let at = 0; at + 1 < characters.length; at += 2) {
    const unit = (byteAt(characters, at) << 8) | byteAt(characters, at + 1);
    if (unit === 0) break;
    text += String.fromCharCode(unit);
  }
  return text.replace(/[ \uffff]+$/, '');
}

/** Null when the encoding has no such character. */
function encode(text: string, encoding: TextForm['encoding']): Uint8Array | null {
  if (encoding === 'utf-8') return Buffer.from(text, 'utf8');
  if (encoding === 'utf-16') return Buffer.from(text, 'utf16le').swap16();
  const most = encoding === 'ascii' ? 0x7f : 0xff;
  for (const character of text) if ((character.codePointAt(0) ?? 0) > most) return null;
  return Buffer.from(text, 'latin1');
}
