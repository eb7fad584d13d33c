/** Figures and times as people read them, in the page's language. */
import { language, say } from './language.js';

export function clockText(ms: number): string {
  return new Intl.DateTimeFormat(language.value, { dateStyle: 'short', timeStyle: 'medium' }).format(ms);
}

/** How often something is done. */
export function intervalText(ms: number): string {
  return ms < 1000 ? milliseconds(ms) : ageText(ms);
}

export function ageText(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 120) return say('seconds', { n: seconds });
  if (seconds < 7200) return say('minutes', { n: Math.round(seconds / 60) });
  return say('hours', { n: Math.round(seconds / 3600) });
}

export function milliseconds(ms: number | undefined): string {
  return ms === undefined ? '–' : `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
}

export function percent(share: number | undefined): string {
  return share === undefined ? '–' : `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`;
}

/** Of a day, to the second. */
export function timeText(ms: number): string {
  return new Intl.DateTimeFormat(language.value, { timeStyle: 'medium', hourCycle: 'h23' }).format(ms);
}

/** With milliseconds, of today. */
export function momentText(ms: number): string {
  const time = new Intl.DateTimeFormat(language.value, {
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    fractionalSecondDigits: 3,
    hourCycle: 'h23',
  });
  return time.format(ms);
}

/** A value for the eye: five digits of a fraction are more than a glance takes in; all of them are in its title. */
export function valueText(value: string, type: string): string {
  const number = Number(value);
  if (!type.startsWith('float') || !value.includes('.') || !Number.isFinite(number)) return value;
  return Math.abs(number) >= 10_000 ? String(Math.round(number)) : String(Number(number.toPrecision(5)));
}
