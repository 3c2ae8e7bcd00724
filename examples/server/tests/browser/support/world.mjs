import assert from 'node:assert/strict';
import { after, afterEach, before } from 'node:test';
import { launchBrowser, watchForTrouble } from './browser.mjs';
import { Screen } from './screen.mjs';
import { startProxy } from './proxy.mjs';
import { registerPerson } from './rest.mjs';
import { startServer } from './server.mjs';

/**
 * A server and a browser for the tests of one file. After each test the windows it opened are closed, and whatever went wrong
 * behind the page (an error on the console, a violated policy) fails the test. `transport` is what the pages connect over if a
 * window has none of its own; none of both leaves the choice to the page. `settings` are variables for the server, and `prepare` is
 * called with it before the first test.
 */
export function useWorld({ transport: usual = process.env.MESSENGER_BROWSER_TRANSPORT, settings, prepare } = {}) {
  const world = { server: null, browser: null };
  const windows = [];

  before(async () => {
    world.server = await startServer(settings);
    await prepare?.(world.server);
    world.browser = await launchBrowser();
  });

  afterEach(async () => {
    const troubles = windows.flatMap(({ name, watch }) => watch.troubles.map((trouble) => `${name}: ${trouble}`));
    for (const { context, proxy } of windows.splice(0)) {
      await context.close();
      await proxy.close();
    }
    assert.deepEqual(troubles, []);
  });

  after(async () => {
    await world.browser?.close();
    try {
      await world.server?.stop();
    } finally {
      await world.server?.remove();
    }
  });

  world.person = (displayName) => registerPerson(world.server.url, displayName);

  /** A browser context of its own, with a line of its own to the server, on the page for those who aren't logged in. */
  world.visit = async (name, { transport = usual, ...options } = {}) => {
    const proxy = await startProxy(world.server.port);
    const context = await world.browser.newContext({ viewport: { width: 1100, height: 720 }, ...options });
    context.setDefaultTimeout(15_000);
    const page = await context.newPage();
    const watch = await watchForTrouble(page);
    windows.push({ name, context, proxy, watch });
    await page.goto(transport ? `${proxy.url}/?transport=${transport}` : proxy.url);
    return Object.assign(new Screen(page), { proxy, watch, context });
  };

  /** A window in which a person has logged in. */
  world.open = async (person, options) => {
    const screen = await world.visit(person.displayName, options);
    await screen.logIn(person);
    return screen;
  };

  return world;
}
