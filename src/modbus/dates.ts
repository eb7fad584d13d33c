/**
 * Dates and times as devices keep them. A date without a zone is told as the device shows it ("2026-11-22T21:30:00"),
 * seconds since 1970 in UTC. What is no date (a month 0, all ones) is not available.
 */
import { byteAt, setWord, wordAt } from './bytes.js';

export type DateType =
  /** Year, month, day, hour, minute, second: two a register, high byte first; the year counts from 2000. */
  | 'datetime3'
  /** Four registers of IEC 60870-5-4: year from 2000; month and day; hour and minute; milliseconds. */
  | 'datetime4'
  /** One register each for year, month, day, hour, minute, second; a year below 100 counts from 2000. */
  | 'datetime6'
  /** Seconds since 1970 in 32 bits. */
  | 'unixtime'
  /** Hour in the high byte, minute in the low one. */
  | 'hhmm';

interface Moment {
  year: number;
  month: number;
  day: number;
  hour: number;
  minute: number;
  second: number;
  millisecond: number;
}

const DAYS = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

function textOf(moment: Moment): string {
  const { year, month, day, hour, minute, second, millisecond } = moment;
  const daysInMonth = month === 2 && !isLeap(year) ? 28 : (DAYS[month - 1] ?? 0);
  if (day < 1 || day > daysInMonth || hour > 23 || minute > 59 || second > 59 || year > 9999) return '';
  const fraction = millisecond === 0 ? '' : `.${String(millisecond).padStart(3, '0')}`;
  const date = `${String(year).padStart(4, '0')}-${two(month)}-${two(day)}`;
  return `${date}T${two(hour)}:${two(minute)}:${two(second)}${fraction}`;
}

function isLeap(year: number): boolean {
  return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
}

function two(part: number): string {
  return String(part).padStart(2, '0');
}

const DATE = /^(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,3}))?)?(?:Z|\+00:00)?$/;

/** Null when the text is no date. */
function momentOf(text: string): Moment | null {
  const match = DATE.exec(text);
  if (match === null) return null;
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match
    .slice(1, 7)
    .map((part) => Number(part ?? 0));
  const millisecond = Number((match[7] ?? '0').padEnd(3, '0'));
  const moment = { year, month, day, hour, minute, second, millisecond };
  return textOf(moment) === '' ? null : moment;
}

/** Why a text cannot be written as this type, null when it can. */
export function dateProblem(type: DateType, text: string): string | null {
  if (type === 'hhmm') {
    return /^([01]\d|2[0-3]):[0-5]\d$/.test(text) ? null : `"${text}" is not a time like 21:30`;
  }
  const moment = momentOf(text);
  if (moment === null) return `"${text}" is not a date like 2026-11-22T21:30:00`;
  if (type === 'unixtime') {
    return moment.year >= 1970 && moment.year < 2106 ? null : `${moment.year} is beyond 32 bits of seconds`;
  }
  const [first, last] =
    type === 'datetime6' ? [100, 9999] : type === 'datetime4' ? [2000, 2127] : [2000, 2099];
  return moment.year >= first && moment.year <= last
    ? null
    : `year ${moment.year} is not ${first} to ${last}`;
}

/** One form: what it takes, and how it is read ('' when there is no date) and written (the text has no problem). */
export interface DateRow {
  readonly registers: number;
  read(bytes: Uint8Array, at: number): string;
  write(bytes: Uint8Array, text: string): void;
}

function row(
  registers: number,
  read: DateRow['read'],
  write: (bytes: Uint8Array, moment: Moment, text: string) => void,
): DateRow {
  return { registers, read, write: (bytes, text) => write(bytes, momentOf(text) ?? EPOCH, text) };
}

const EPOCH: Moment = { year: 1970, month: 1, day: 1, hour: 0, minute: 0, second: 0, millisecond: 0 };

export const DATE_TYPES: Readonly<Record<DateType, DateRow>> = {
  datetime3: row(
    3,
    (bytes, at) => {
      const part = (index: number): number => byteAt(bytes, at + index);
      const [month, day, hour, minute, second] = [part(1), part(2), part(3), part(4), part(5)];
      if (part(0) > 99) return '';
      return textOf({ year: 2000 + part(0), month, day, hour, minute, second, millisecond: 0 });
    },
    (bytes, { year, month, day, hour, minute, second }) => {
      bytes.set([year - 2000, month, day, hour, minute, second]);
    },
  ),
  datetime4: row(
    4,
    (bytes, at) => {
      const [years, date, time, milliseconds] = [0, 2, 4, 6].map((next) => wordAt(bytes, at + next));
      if (years === 0xffff || date === undefined || time === undefined || milliseconds === undefined)
        return '';
      return textOf({
        year: 2000 + ((years ?? 0) & 0x7f),
        month: (date >>> 8) & 0xf,
        day: date & 0x1f,
        hour: (time >>> 8) & 0x1f,
        minute: time & 0x3f,
        second: Math.floor(milliseconds / 1000),
        millisecond: milliseconds % 1000,
      });
    },
    (bytes, { year, month, day, hour, minute, second, millisecond }) => {
      setWord(bytes, 0, year - 2000);
      setWord(bytes, 2, (month << 8) | day);
      setWord(bytes, 4, (hour << 8) | minute);
      setWord(bytes, 6, second * 1000 + millisecond);
    },
  ),
  datetime6: row(
    6,
    (bytes, at) => {
      const part = (index: number): number => wordAt(bytes, at + 2 * index);
      const year = part(0) < 100 ? 2000 + part(0) : part(0);
      const [month, day, hour, minute, second] = [part(1), part(2), part(3), part(4), part(5)];
      return textOf({ year, month, day, hour, minute, second, millisecond: 0 });
    },
    (bytes, { year, month, day, hour, minute, second }) => {
      [year, month, day, hour, minute, second].forEach((part, index) => setWord(bytes, 2 * index, part));
    },
  ),
  unixtime: row(
    2,
    (bytes, at) => {
      const seconds = wordAt(bytes, at) * 0x10000 + wordAt(bytes, at + 2);
      return seconds === 0xffff_ffff ? '' : new Date(seconds * 1000).toISOString().replace('.000', '');
    },
    (bytes, { year, month, day, hour, minute, second }) => {
      const seconds = Date.UTC(year, month - 1, day, hour, minute, second) / 1000;
      setWord(bytes, 0, Math.floor(seconds / 0x10000));
      setWord(bytes, 2, seconds % 0x10000);
    },
  ),
  hhmm: row(
    1,
    (bytes, at) => {
      const [hour, minute] = [byteAt(bytes, at), byteAt(bytes, at + 1)];
      return hour > 23 || minute > 59 ? '' : `${two(hour)}:${two(minute)}`;
    },
    (bytes, _moment, text) => {
      bytes.set([Number(text.slice(0, 2)), Number(text.slice(3, 5))]);
    },
  ),
};
