import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { startProxy } from '../../browser/support/proxy.mjs';
import { registerPerson } from '../../browser/support/rest.mjs';
import { startServer } from '../../browser/support/server.mjs';
import { Client } from './client.mjs';

/**
 * A server for the tests of one file, with two people. At the end of a test its clients are stopped, and a broken promise about
 * revisions at any of them fails it. `settings` are variables for the server, or tell them once the tests begin.
 */
export function useWorld(settings = {}) {
  const world = { server: null, ada: null, bob: null };

  before(async () => {
    world.server = await startServer(typeof settings === 'function' ? await settings() : settings);
    [world.ada, world.bob] = await Promise.all(['Ada Lovelace', 'Bob Noyce'].map(world.person));
  });

  after(async () => {
    try {
      await world.server?.stop();
    } finally {
      await world.server?.remove();
    }
  });

  world.person = (displayName) => registerPerson(world.server.url, displayName);

  world.hubUrl = (query = '', path = '') => `${world.server.url}/api/v1/hub${path}${query}`;

  /** A client that is not yet started. With `line` it has a proxy of its own between it and the server, `client.proxy`. */
  world.client = async (t, person, row, { line = false, ...options } = {}) => {
    const proxy = line ? await startProxy(world.server.port) : null;
    const client = Object.assign(new Client(person, proxy?.url ?? world.server.url, row, options), { proxy });
    t.after(async () => {
      await client.stop();
      await proxy?.close();
      assert.deepEqual(client.faults, []);
    });
    return client;
  };

  /** A client that is connected and, unless it is not to be `live` yet, is told what happens from now on. */
  world.connect = async (t, person, row, { live = true, ...options } = {}) => {
    const client = await world.client(t, person, row, options);
    await client.start();
    // Else the server holds events back for a while, so that `Resume` can come first.
    if (live) await client.call('Resume');
    return client;
  };

  /**
   * A chat of its own for each test, so that tests don't see each other's messages. To be made before its members connect: to
   * who is connected it comes as `chatAdded`, in its state of that moment, and what led there comes in no other event.
   */
  world.group = (owner = world.ada, others = [world.bob]) => owner.createGroup('Tea', others);

  return world;
}
