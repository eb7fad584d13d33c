/** Texts by key, in two languages from two catalogues with the same keys; `{name}` in a text is filled in. */
import { signal } from '@preact/signals';
import en from './en.json';
import zh from './zh-CN.json';

export type Key = keyof typeof en;
export type Language = 'en' | 'zh-CN';

const CATALOGUES: Record<Language, Record<Key, string>> = { en, 'zh-CN': zh };

export const language = signal<Language>(remembered());

export function setLanguage(next: Language): void {
  language.value = next;
  localStorage.setItem('language', next);
  document.documentElement.lang = next;
}

export function say(key: Key, values: Record<string, string | number> = {}): string {
  return CATALOGUES[language.value][key].replace(/\{(\w+)\}/g, (_all, name: string) =>
    String(values[name] ?? ''),
  );
}

function remembered(): Language {
  const kept = localStorage.getItem('language');
  const chosen =
    kept === 'en' || kept === 'zh-CN' ? kept : navigator.language.startsWith('zh') ? 'zh-CN' : 'en';
  document.documentElement.lang = chosen;
  return chosen;
}
