// What the official client does, over every transport and protocol it has.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { describe, test } from 'node:test';
import { numbered } from './support/client.mjs';
import { invocationSize } from './support/records.mjs';
import { ROWS } from './support/rows.mjs';
import { useWorld } from './support/world.mjs';

const world = useWorld();
const LIMIT = 32_768;

const both = (t, row, options) =>
  Promise.all([world.connect(t, world.ada, row, options), world.connect(t, world.bob, row, options)]);

for (const row of ROWS) {
  const name = (what) => `${row.name}: ${what}`;

  test(name('a person connects and is asked who they are'), async (t) => {
    const ada = await world.connect(t, world.ada, row);
    assert.ok(ada.connection.connectionId);
    const { id, username, displayName, email } = await ada.call('GetMe');
    assert.deepEqual({ id, username, displayName, email }, {
      id: world.ada.id,
      username: world.ada.username,
      displayName: 'Ada Lovelace',
      email: world.ada.email,
    });
  });

  test(name('two people chat, and both are told the same in the same order'), async (t) => {
    const [ada, bob] = await both(t, row);
    const group = await ada.call('CreateGroupChat', { title: 'Tea', memberIds: [world.bob.id] });
    for (const client of [ada, bob]) {
      const { chat } = await client.gets('chatAdded', ({ chat }) => chat.id === group.id);
      assert.equal(chat.revision, 1);
      assert.equal(chat.me.role, client === ada ? 'owner' : 'member');
    }

    const sent = [];
    for (const [client, body] of [[ada, 'one'], [bob, 'two'], [ada, 'three ✓'], [bob, 'four']]) {
      sent.push(await client.send(group, body));
    }
    assert.deepEqual(sent.map(({ seq }) => seq), [2, 3, 4, 5]);
    for (const client of [ada, bob]) {
      await client.getsBodies(group, ['one', 'two', 'three ✓', 'four']);
      const events = client.payloads('messageCreated');
      assert.deepEqual(events.map(({ message }) => message), sent, 'the answer and the event have the same message');
      assert.deepEqual(events.map(({ chatId, revision }) => ({ chatId, revision })), [2, 3, 4, 5].map((revision) => ({ chatId: group.id, revision })));
    }
  });

  test(name('a direct chat, edited and deleted messages, a title and marks'), async (t) => {
    await world.ada.openDirect(world.bob);
    const [ada, bob] = await both(t, row);
    const direct = await ada.call('OpenDirectChat', { userId: world.bob.id });
    const first = await ada.send(direct, 'a slip');
    const second = await ada.send(direct, 'to be forgotten');
    const edited = await ada.call('EditMessage', { chatId: direct.id, messageId: first.id, body: 'mended' });
    const tombstone = await ada.call('DeleteMessage', { chatId: direct.id, messageId: second.id });
    assert.equal(edited.body, 'mended');
    assert.ok(edited.editedAt);
    assert.ok(tombstone.deletedAt);
    assert.ok(!('body' in tombstone));
    for (const client of [ada, bob]) {
      const { message: afterEdit } = await client.gets('messageEdited', ({ message }) => message.id === first.id);
      assert.deepEqual(afterEdit, edited);
      const { message: afterDelete } = await client.gets('messageDeleted', ({ message }) => message.id === second.id);
      assert.deepEqual(afterDelete, tombstone);
      const names = client.events.filter(({ payload }) => payload.chatId === direct.id && payload.revision).map((event) => event.name);
      assert.deepEqual(names, ['messageCreated', 'messageCreated', 'messageEdited', 'messageDeleted']);
    }

    const { readSeq } = await bob.call('MarkRead', { chatId: direct.id, seq: second.seq });
    assert.equal(readSeq, second.seq);
    const moved = await ada.gets('readMoved', ({ chatId }) => chatId === direct.id);
    assert.deepEqual(moved, { chatId: direct.id, userId: world.bob.id, seq: second.seq });

    const group = await ada.call('CreateGroupChat', { title: 'Tea', memberIds: [world.bob.id] });
    await bob.gets('chatAdded', ({ chat }) => chat.id === group.id);
    const renamed = await ada.call('UpdateChat', { chatId: group.id, title: 'Coffee' });
    assert.equal(renamed.title, 'Coffee');
    const updated = await bob.gets('chatUpdated', ({ chatId }) => chatId === group.id);
    assert.equal(updated.title, 'Coffee');
    assert.equal(updated.memberCount, 2);
    assert.equal(updated.message.system.event, 'titleChanged');
    // Clients read a result that is absent as undefined.
    assert.equal((await ada.call('RemoveMember', { chatId: group.id, userId: world.bob.id })) ?? null, null);
    await bob.gets('chatRemoved', ({ chatId }) => chatId === group.id);
  });

  test(name('others are told who is writing'), async (t) => {
    const group = await world.group();
    const [ada, bob] = await both(t, row);
    await ada.call('SetTyping', { chatId: group.id, typing: true });
    const typing = await bob.gets('typing', ({ chatId }) => chatId === group.id);
    assert.deepEqual(typing, { chatId: group.id, userId: world.ada.id, typing: true, expiresInMs: 6000 });
    await ada.call('SetTyping', { chatId: group.id, typing: false });
    await bob.gets('typing', (payload) => payload.chatId === group.id && !payload.typing && payload.expiresInMs === 0);
    await ada.send(group, 'written');
    await ada.getsBodies(group, ['written']);
    assert.deepEqual(ada.payloads('typing'), [], 'not the person who writes');
  });

  test(name('what comes over HTTP is told on the hub, and the other way round'), async (t) => {
    const group = await world.group();
    const ada = await world.connect(t, world.ada, row);
    const posted = await world.bob.send(group, 'by POST');
    const { message } = await ada.gets('messageCreated', ({ chatId }) => chatId === group.id);
    assert.deepEqual(message, posted);
    const sent = await ada.send(group, 'by hub', { replyTo: posted.id, clientId: `mine-${row.name.replace(' ', '-')}` });
    assert.deepEqual(await world.bob.api('GET', `/chats/${group.id}/messages/${sent.id}`), sent);
    assert.deepEqual(await ada.send(group, 'by hub', { replyTo: posted.id, clientId: `mine-${row.name.replace(' ', '-')}` }), sent, 'a repetition is the same message');
  });

  test(name('refusals say their code and their reason, and the connection goes on'), async (t) => {
    const group = await world.group();
    const ada = await world.connect(t, world.ada, row);
    const refused = (method, fields, pattern) =>
      assert.rejects(ada.call(method, fields), (error) => {
        assert.match(error.message, pattern);
        return true;
      });
    const threw = (method, rest) => new RegExp(`^An unexpected error occurred invoking '${method}' on the server\\. HubException: ${rest}`);

    await refused('GetChat', { chatId: randomUUID() }, threw('GetChat', 'notFound: \\S'));
    await refused('SendMessage', { chatId: group.id, body: 'x', colour: 'red' }, threw('SendMessage', 'malformed: .*colour'));
    await refused('SendMessage', { chatId: 'no-id', body: 'x' }, threw('SendMessage', 'malformed: \\S'));
    await refused('SendMessage', { chatId: group.id, body: 7 }, threw('SendMessage', 'malformed: \\S'));
    await refused('SendMessage', { chatId: group.id, body: '' }, threw('SendMessage', 'invalid: \\S'));
    await refused('SendMessage', { chatId: group.id, body: 'x'.repeat(8001) }, threw('SendMessage', 'invalid: \\S'));
    await refused('Sing', {}, /^Failed to invoke 'Sing' due to an error on the server\. HubException: Method does not exist\.$/);
    for (const method of ['RegisterUser', 'LogIn']) await refused(method, {}, /HubException: Method does not exist\.$/);
    await refused('StreamHistory', { chatId: group.id },
      /^The client attempted to invoke the streaming 'StreamHistory' method with a non-streaming invocation\.$/);
    await assert.rejects(ada.stream('GetChat', { chatId: group.id }).done, {
      message: "The client attempted to invoke the non-streaming 'GetChat' method with a streaming invocation.",
    });
    await assert.rejects(ada.stream('StreamHistory', { chatId: randomUUID() }).done, /HubException: notFound: \S/);
    await assert.rejects(ada.stream('StreamHistory', { chatId: group.id, colour: 'red' }).done, /HubException: malformed: .*colour/);
    await assert.rejects(ada.connection.invoke('GetMe', {}, {}), /^Error: Failed to invoke 'GetMe' due to an error on the server\./);

    assert.equal((await ada.call('GetMe')).id, world.ada.id);
    assert.deepEqual(ada.stateNames(), []);
  });

  test(name('methods are found without regard to case'), async (t) => {
    const group = await world.group();
    const ada = await world.connect(t, world.ada, row);
    for (const method of ['sendMessage', 'sendmessage', 'SENDMESSAGE']) {
      assert.equal((await ada.call(method, { chatId: group.id, body: method })).body, method);
    }
    assert.equal((await collected(ada.stream('streamhistory', { chatId: group.id }))).length, 4);
  });

  test(name('1,000 messages in a row are all answered, and come once and in order'), async (t) => {
    const group = await world.group();
    const [ada, bob] = await both(t, row);
    for (const client of [ada, bob]) client.knows(group);
    const bodies = numbered(1000);
    const answers = await ada.sendAll(group, bodies);
    assert.deepEqual(answers.map(({ body }) => body), bodies);
    assert.deepEqual(answers.map(({ seq }) => seq), bodies.map((_, index) => index + 2));
    for (const client of [ada, bob]) await client.getsBodies(group, bodies);
  });

  test(name('who sends without waiting for answers, and leaves, has sent it all'), async (t) => {
    const [ada, bob] = await both(t, row);
    const group = await world.group();
    bob.knows(group);
    const bodies = numbered(200);
    await Promise.all(bodies.map((body) => ada.connection.send('SendMessage', { chatId: group.id, body })));
    await ada.stop();
    await bob.getsBodies(group, bodies);
  });

  test(name('a history is streamed whole, in part, and until it is cancelled'), async (t) => {
    const group = await world.group();
    const ada = await world.connect(t, world.ada, row);
    await ada.sendAll(group, numbered(450));
    const history = await world.ada.history(group);

    assert.deepEqual(await collected(ada.stream('StreamHistory', { chatId: group.id })), history);
    const inside = await collected(ada.stream('StreamHistory', { chatId: group.id, after: 100, before: 351 }));
    assert.deepEqual(inside, history.slice(100, 350));
    assert.deepEqual(await collected(ada.stream('StreamHistory', { chatId: group.id, after: 451 })), []);

    const whole = ada.stream('StreamHistory', { chatId: group.id });
    const cancelled = streamUntil(ada, 7, { chatId: group.id });
    await cancelled.reached;
    await whole.done;
    assert.deepEqual(whole.items, history, 'a stream beside it is not touched');
    assert.deepEqual(cancelled.items, history.slice(0, 7));
    assert.equal((await ada.call('GetMe')).id, world.ada.id);
    assert.equal(cancelled.items.length, 7, 'nothing follows');
  });

  test(name('a record of 32,768 bytes is taken, and one byte more ends the connection'), async (t) => {
    const group = await world.group();
    const [ada, bob] = await both(t, row);
    const fields = (body) => ({ chatId: group.id, body });
    // The first invocation of a client has the id "0", the next one "1".
    const room = LIMIT - invocationSize(row.protocol(), 'SendMessage', fields('x'.repeat(30_000)), '0') + 30_000;
    assert.equal(invocationSize(row.protocol(), 'SendMessage', fields('x'.repeat(room)), '0'), LIMIT);

    await assert.rejects(ada.call('SendMessage', fields('x'.repeat(room))), /HubException: invalid: /);
    await assert.rejects(ada.call('SendMessage', fields('x'.repeat(room + 1))));
    await ada.isIn('closed');
    assert.match(ada.states[0].error.message, /Server returned an error on close: Connection closed with an error\./);

    await bob.send(group, 'still here');
    await bob.getsBodies(group, ['still here']);
    assert.deepEqual(bob.stateNames(), []);
  });
}

async function collected({ items, done }) {
  await done;
  return items;
}

/** Cancels a stream from within its own flow, so that no further item can slip in between. */
function streamUntil(client, count, fields) {
  const items = [];
  const reached = new Promise((resolve, reject) => {
    const subscription = client.connection.stream('StreamHistory', fields).subscribe({
      next: (item) => {
        if (items.push(item) < count) return;
        subscription.dispose();
        resolve();
      },
      complete: () => reject(new Error(`the stream ended after ${items.length} items`)),
      error: reject,
    });
  });
  return { items, reached };
}

describe('presence', { concurrency: true }, () => {
  for (const row of ROWS) {
    test(`${row.name}: others are told who comes and goes`, async (t) => {
      const [watcher, guest] = await Promise.all(['Watcher', 'Guest'].map(world.person));
      const ada = await world.connect(t, watcher, row);
      const about = ({ userId }) => userId === guest.id;
      const { items } = await ada.call('WatchPresence', { userIds: [guest.id] });
      assert.deepEqual(items, [{ userId: guest.id, online: false }]);

      const visit = await world.connect(t, guest, row);
      assert.equal((await ada.gets('presenceChanged', about)).online, true);
      await visit.stop();
      const gone = await ada.gets('presenceChanged', (presence) => about(presence) && !presence.online, 15_000);
      assert.ok(Date.parse(gone.lastSeenAt));
      assert.equal(ada.payloads('presenceChanged').filter(about).length, 2);
    });
  }
});
