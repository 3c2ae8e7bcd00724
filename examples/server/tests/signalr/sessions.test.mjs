// What becomes of connections whose session has ended.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ROWS, WEB_SOCKETS } from './support/rows.mjs';
import { useWorld } from './support/world.mjs';

const world = useWorld();

const variants = [
  ...ROWS.map((row) => [row.name, row, {}]),
  ...WEB_SOCKETS.map((row) => [`${row.name}, stateful`, row, { stateful: true }]),
];

describe('sessions', { concurrency: 3 }, () => {
  for (const [name, row, options] of variants) {
    test(`${name}: a log-out ends the connections of the session, and they don't come back`, async (t) => {
      const session = await world.bob.logInAgain();
      const others = await world.connect(t, world.bob, row, options);
      const plain = await world.connect(t, session, row, options);
      const stubborn = await world.connect(t, session, row, { ...options, reconnect: [0, 50] });
      await session.api('POST', '/auth/logout');

      await plain.isIn('closed');
      await stubborn.isIn('reconnecting', 'closed');
      assert.ok(stubborn.reasons.slice(1).length >= 1);
      for (const reason of stubborn.reasons.slice(1)) assert.match(reason, /401/);
      await assert.rejects(plain.start(), /401/);
      assert.equal((await others.call('GetMe')).id, world.bob.id);
      assert.deepEqual(others.stateNames(), []);
    });
  }

  for (const row of ROWS) {
    test(`${row.name}: the hub's own LogOut is answered before the connection ends`, async (t) => {
      const session = await world.ada.logInAgain();
      const client = await world.connect(t, session, row);
      assert.equal((await client.call('LogOut')) ?? null, null);
      await client.isIn('closed');
    });

    test(`${row.name}: a session that is revoked elsewhere ends its connection`, async (t) => {
      const session = await world.ada.logInAgain();
      const client = await world.connect(t, session, row);
      const { items } = await client.call('ListSessions');
      await world.ada.api('DELETE', `/auth/sessions/${items.find(({ current }) => current).id}`);
      await client.isIn('closed');
    });
  }

  test('a new password ends the connections of all other sessions', async (t) => {
    const guest = await world.person('Guest');
    const session = await guest.logInAgain();
    const [own, other] = [await world.connect(t, guest, ROWS[0]), await world.connect(t, session, ROWS[0])];
    await own.call('ChangePassword', { current: guest.password, new: 'another password' });
    await other.isIn('closed');
    assert.equal((await own.call('GetMe')).id, guest.id);
  });
});
