import { chromium } from 'playwright-core';

export const launchBrowser = () =>
  chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });

/** What the browser itself says when the line is cut: not an error of the page. */
const LINE_ERRORS = [/WebSocket connection to .* failed/, /WebSocket is closed/, /net::ERR_/];

/** Collects everything that a page must not cause. `allow` takes patterns of console errors that a test provokes on purpose. */
export async function watchForTrouble(page) {
  const troubles = [];
  const allowed = [];
  await page.exposeFunction('reportViolation', (text) => troubles.push(`CSP: ${text}`));
  await page.addInitScript(() => {
    addEventListener('securitypolicyviolation', (event) => window.reportViolation(`${event.violatedDirective} ${event.blockedURI}`));
  });
  page.on('pageerror', (error) => troubles.push(`uncaught: ${error.stack}`));
  page.on('console', (message) => {
    if (!['error', 'warning'].includes(message.type())) return;
    const text = `${message.text()} (${message.location().url})`;
    if (!allowed.some((pattern) => pattern.test(text))) troubles.push(`console: ${text}`);
  });
  return {
    troubles,
    allow: (...patterns) => allowed.push(...patterns),
    allowLineErrors: () => allowed.push(...LINE_ERRORS),
  };
}
