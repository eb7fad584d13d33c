/** The page's frame: navigation by the URL's hash, connection state, theme and language, and the view in the middle. */
import { signal } from '@preact/signals';
import type { FunctionComponent } from 'preact';
import { BrokerView } from './broker.js';
import { BusView } from './bus.js';
import { ConfigView } from './config.js';
import { DeviceView } from './device.js';
import { language, say, setLanguage, type Key } from './language.js';
import { LogView } from './log.js';
import { LoginView } from './login.js';
import { gatewayName, link, signOut } from './session.js';
import { SetupView } from './setup.js';
import { TagsView } from './tags.js';
import { clockText } from './texts.js';
import { TrendView } from './trend.js';
import { UplinksView } from './uplinks.js';

const VIEWS = {
  tags: TagsView,
  devices: DeviceView,
  buses: BusView,
  broker: BrokerView,
  uplinks: UplinksView,
  trend: TrendView,
  log: LogView,
  config: ConfigView,
} satisfies Record<string, FunctionComponent>;

type ViewName = keyof typeof VIEWS;

const THEMES = ['auto', 'light', 'dark'] as const;
type Theme = (typeof THEMES)[number];

const view = signal<ViewName>(fromHash());
const theme = signal<Theme>('auto');
const systemIsDark = matchMedia('(prefers-color-scheme: dark)');
systemIsDark.addEventListener('change', showTheme);
addEventListener('hashchange', () => (view.value = fromHash()));
setTheme((localStorage.getItem('theme') ?? 'auto') as Theme);

function fromHash(): ViewName {
  const name = location.hash.slice(1).split('/', 1)[0] ?? '';
  return name in VIEWS ? (name as ViewName) : 'tags';
}

function setTheme(next: Theme): void {
  theme.value = THEMES.includes(next) ? next : 'auto';
  localStorage.setItem('theme', theme.value);
  showTheme();
}

function showTheme(): void {
  const isDark = theme.value === 'auto' ? systemIsDark.matches : theme.value === 'dark';
  document.documentElement.dataset['theme'] = isDark ? 'dark' : 'light';
}

export const Frame: FunctionComponent = () => {
  const { state } = link.value;
  if (state === 'setup') return <SetupView />;
  if (state === 'sign-in' || state === 'refused') return <LoginView />;
  const View = VIEWS[view.value];
  return (
    <>
      <a class="skip" href="#main">
        {say('skip')}
      </a>
      <header>
        <h1>{gatewayName.value || 'holdfast'}</h1>
        <nav aria-label="holdfast">
          {(Object.keys(VIEWS) as ViewName[]).map((name) => (
            <a key={name} href={`#${name}`} aria-current={name === view.value ? 'page' : undefined}>
              {say(name)}
            </a>
          ))}
        </nav>
        <LinkState />
        <Preferences />
      </header>
      <main id="main" tabIndex={-1}>
        <View />
      </main>
    </>
  );
};

/** Says when values are not live; never by colour alone. */
const LinkState: FunctionComponent = () => {
  const { state, sinceMs } = link.value;
  const isLive = state === 'live';
  return (
    <p class={isLive ? 'link live' : 'link lost'} role="status">
      {isLive
        ? say('live')
        : sinceMs === 0
          ? say('connecting')
          : say('not_connected', { time: clockText(sinceMs) })}
    </p>
  );
};

const Preferences: FunctionComponent = () => (
  <div class="preferences">
    <select
      aria-label={say('theme')}
      value={theme.value}
      onChange={(event) => setTheme(event.currentTarget.value as Theme)}
    >
      {THEMES.map((name) => (
        <option key={name} value={name}>
          {say(`theme_${name}` as Key)}
        </option>
      ))}
    </select>
    <select
      aria-label={say('language')}
      value={language.value}
      onChange={(event) => setLanguage(event.currentTarget.value === 'zh-CN' ? 'zh-CN' : 'en')}
    >
      <option value="en">English</option>
      <option value="zh-CN">简体中文</option>
    </select>
    {link.value.isSignedIn && (
      <button type="button" onClick={signOut}>
        {say('sign_out')}
      </button>
    )}
  </div>
);
