/** Figures and times as people read them, in the page's language. */
import { language, say } from './language.js';

export function clockText(ms: number): string {
  return new Intl.DateTimeFormat(language.value, { dateStyle: 'short', timeStyle: 'medium' }).format(ms);
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

/** A value for the eye: float32 has seven digits that mean something, and JSON shows seventeen. */
export function valueText(value: string, type: string): string {
  return type === 'float32' && value.includes('.') ? String(Number(Number(value).toPrecision(7))) : value;
}
