/** The page in Debian's Chromium, on a gateway of its own. */
import { after, before } from 'node:test';
import { chromium, type Browser, type Page } from 'playwright-core';
import { Daemon } from './daemon.js';

const CHROMIUM = '/usr/bin/chromium';
/** Long enough for a busy machine. */
const DEADLINE_MS = 60_000;
/** Nothing but the page: no sandbox (tests run as root too), no GPU, none of the browser's own connections. */
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

export const VIEWS = ['tags', 'devices', 'buses', 'broker', 'uplinks', 'trend', 'log', 'config'] as const;

/** How the gateway files of these tests begin, with what the broker lets in. */
export function withPage(who = 'anonymous: true', port = 0): string {
  return `version: 1
gateway: { id: p7 }
broker: { listeners: [{ protocol: mqtt, host: 127.0.0.1, port: 0 }], ${who}, store: memory }
web: { host: 127.0.0.1, port: ${port} }
`;
}

export interface PageSite {
  readonly daemon: Daemon;
  /** The page as somebody sees it who just came, at one of its views. */
  open(view: string, options?: Parameters<Browser['newPage']>[0]): Promise<Page>;
}

/** A gateway and a browser for all tests of a file; the config is asked for when they begin. */
export function pageSite(configOf: () => string | Promise<string>): PageSite {
  let daemon: Daemon;
  let browser: Browser;
  let begun: Promise<void> | undefined;
  const begin = async (): Promise<void> => {
    // Known before it is started, so that one that does not come up is ended, too.
    daemon = new Daemon(await configOf());
    await daemon.start();
    browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS });
  };
  before(() => (begun = begin()));
  after(async () => {
    await browser?.close();
    await daemon?.remove();
  });
  return {
    get daemon() {
      return daemon;
    },
    async open(view, options = {}) {
      // Hooks of a file run beside each other.
      await begun;
      const page = await browser.newPage(options);
      page.setDefaultTimeout(DEADLINE_MS);
      await page.goto(`http://127.0.0.1:${daemon.port('http')}/#${view}`);
      return page;
    },
  };
}

/** Until values are live. */
export async function isLive(page: Page): Promise<void> {
  await page.getByRole('status').getByText('live').waitFor();
}
