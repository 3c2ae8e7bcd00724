import assert from 'node:assert/strict';
import { test } from 'node:test';
import { requestsOf } from './support/requests.mjs';
import { eventually } from './support/wait.mjs';
import { useWorld } from './support/world.mjs';

const world = useWorld();
const LINE = { name: 'New messages' };

/** A direct chat in which Grace has read so many messages of Ada's, and not so many more. */
async function chatWith({ read = 0, unread = 0 }) {
  const [ada, grace] = await Promise.all([world.person('Ada Lovelace'), world.person('Grace Hopper')]);
  const chat = await ada.openDirect(grace);
  const say = async (count, from) => {
    const numbers = Array.from({ length: count }, (_, at) => from + at);
    // Some at a time: their order among themselves is nothing to these tests.
    while (numbers.length) await Promise.all(numbers.splice(0, 20).map((number) => ada.send(chat, `Message number ${number}`)));
  };
  await say(read, 1);
  if (read) await grace.api('PUT', `/chats/${chat.id}/read`, { seq: read });
  await say(unread, read + 1);
  const stored = async () => (await grace.api('GET', `/chats/${chat.id}`)).me;
  return { ada, grace, chat, stored, say };
}

async function open(grace, options) {
  const screen = await world.open(grace, options);
  await screen.isConnected();
  await screen.openChat('Ada Lovelace');
  await eventually('messages are on screen', async () => assert.notDeepEqual(await screen.shownSeqs(), []));
  return screen;
}

const line = (screen) => screen.log.getByRole('separator', LINE);
const toUnread = (screen) => screen.page.getByRole('button', { name: /^Jump to first unread/ });
const toEnd = (screen) => screen.page.getByRole('button', { name: /^Newest messages/ });

/** The seq of the message right below the line. */
const belowLine = (screen) => line(screen).evaluate((element) => Number(element.nextElementSibling.dataset.seq));

const isMarked = (stored, seq) =>
  eventually(`the store has the mark at ${seq}`, async () => assert.equal((await stored()).readSeq, seq));

/** All that the page tells of what was read, once the last of it is `seq`. */
const toldUpTo = (marks, seq) =>
  eventually(`the page tells of ${seq}`, async () => assert.equal(marks.at(-1)?.fields.seq, seq));

test('a chat opens at the first unread message, with a line above it', async () => {
  const { grace } = await chatWith({ read: 80, unread: 60 });
  const screen = await open(grace);
  await line(screen).waitFor();
  assert.equal(await belowLine(screen), 81);
  const shown = await screen.shownSeqs();
  assert.ok(shown.includes(81) && shown[0] < 81, `what was read is above it, and ${shown} are on screen`);
  assert.ok(shown.at(-1) < 140, 'the newest is further down');
});

test('a chat in which all is read opens at its end, without a line', async () => {
  const { grace } = await chatWith({ read: 80 });
  const screen = await open(grace);
  assert.equal((await screen.shownSeqs()).at(-1), 80);
  assert.equal(await line(screen).count(), 0);
  assert.equal(await toEnd(screen).count(), 0);
});

test('only what has been on screen is read, and the list counts what the store does', async () => {
  const { grace, stored } = await chatWith({ read: 10, unread: 60 });
  const screen = await open(grace);
  await eventually('what is on screen is read', async () => {
    const last = (await screen.shownSeqs()).at(-1);
    assert.ok(last < 70, `${last}`);
    assert.deepEqual(await stored(), { ...(await stored()), readSeq: last, unread: 70 - last });
    await screen.hasUnread('Ada Lovelace', 70 - last);
  });
  const before = (await stored()).readSeq;
  await screen.scrollBy(300);
  await eventually('what came into sight is read, and no more', async () => {
    const last = (await screen.shownSeqs()).at(-1);
    assert.ok(last > before && last < 70);
    assert.equal((await stored()).readSeq, last);
    await screen.hasUnread('Ada Lovelace', 70 - last);
    assert.equal(await toEnd(screen).getAttribute('data-unread'), String(70 - last));
  });
  await screen.scrollBy(-300);
  await toEnd(screen).waitFor();
  assert.equal(await belowLine(screen), 11, 'the line stays while one reads');
});

test('a message longer than the screen is read when its end was there', async () => {
  const { ada, grace, chat, stored } = await chatWith({ read: 1 });
  const { seq } = await ada.send(chat, Array.from({ length: 80 }, (_, at) => `Line ${at}`).join('\n'));
  const screen = await open(grace);
  const scroller = screen.page.locator('.scroller');
  await screen.scrollBy(350);
  const marks = await eventually('most of it is on screen', async () => {
    const { top, bottom, end } = await scroller.evaluate((view, at) => {
      const row = view.querySelector(`[data-seq="${at}"]`).getBoundingClientRect();
      return { top: row.top, bottom: row.bottom, end: view.getBoundingClientRect().bottom };
    }, seq);
    assert.ok(top < 80 && bottom > end);
    return stored();
  });
  assert.equal(marks.readSeq, 1);
  await screen.scrollBy(10_000);
  await isMarked(stored, seq);
});

for (const [how, set] of [['the focus', 'setFocused'], ['being in front', 'setVisible']]) {
  test(`without ${how} nothing is read, and the title counts`, async () => {
    const { ada, grace, chat, stored } = await chatWith({ read: 5 });
    const screen = await open(grace);
    const marks = requestsOf(screen.page, 'MarkRead');
    await screen.page.reload();
    await screen.isConnected();
    await screen.sees('Message number 5');
    await screen[set](false);
    await ada.send(chat, 'Are you there?');
    await ada.send(chat, 'Hello?');
    await screen.sees('Hello?');
    await screen.hasUnread('Ada Lovelace', 2);
    await eventually('the title counts', async () => assert.equal(await screen.page.title(), '(2) Messenger'));
    await line(screen).waitFor();
    assert.equal(await belowLine(screen), 6);
    assert.deepEqual([(await stored()).readSeq, marks.length], [5, 0]);

    await screen[set](true);
    await isMarked(stored, 7);
    await screen.hasUnread('Ada Lovelace', 0);
    await eventually('the title has no number', async () => assert.equal(await screen.page.title(), 'Messenger'));
  });
}

test('behind a dialog nothing is read', async () => {
  const { ada, grace, chat, stored } = await chatWith({ read: 5 });
  const screen = await open(grace, { viewport: { width: 390, height: 844 } });
  await screen.button('Chat details').click();
  await ada.send(chat, 'Are you there?');
  await screen.log.getByText('Are you there?').waitFor();
  await line(screen).waitFor({ state: 'attached' });
  assert.equal((await stored()).readSeq, 5);
  await screen.button('Close').click();
  await isMarked(stored, 6);
});

test('what comes while nobody looks stays in reach: the view follows until the line is at its top', async () => {
  const { grace, stored, say } = await chatWith({ read: 30 });
  const screen = await open(grace);
  await screen.setFocused(false);
  await say(60, 31);
  await screen.hasUnread('Ada Lovelace', 60);
  await eventually('the first unread is at the top', async () => {
    const [first] = await screen.shownSeqs();
    assert.ok(first >= 30 && first <= 31, `${first}`);
  });
  assert.equal((await stored()).readSeq, 30);
  const last = (await screen.shownSeqs()).at(-1);
  await screen.setFocused(true);
  await isMarked(stored, last);
});

test('what comes while one reads further up moves nothing and is counted; the button leads there', async () => {
  const { ada, grace, chat, stored } = await chatWith({ read: 60 });
  const screen = await open(grace);
  await screen.scrollBy(-500);
  await toEnd(screen).waitFor();
  assert.equal(await toEnd(screen).getAttribute('data-unread'), '0');
  const shown = await screen.shownSeqs();
  const place = () => screen.log.locator(`article[data-seq="${shown[0]}"]`).evaluate((row) => row.getBoundingClientRect().top);
  const before = await place();
  await ada.send(chat, 'News');
  await ada.send(chat, 'More news');
  await screen.page.getByRole('button', { name: 'Newest messages: 2 unread below' }).waitFor();
  await screen.hasUnread('Ada Lovelace', 2);
  assert.equal(await place(), before);
  assert.equal((await stored()).readSeq, 60);

  await toEnd(screen).click();
  await isMarked(stored, 62);
  assert.equal((await screen.shownSeqs()).at(-1), 62);
  await eventually('there is no button at the end', async () => assert.equal(await toEnd(screen).count(), 0));
});

test('at the end, with the focus, what comes is read at once', async () => {
  const { ada, grace, chat, stored } = await chatWith({ read: 60 });
  const screen = await open(grace);
  await ada.send(chat, 'News');
  await isMarked(stored, 61);
  await screen.hasUnread('Ada Lovelace', 0);
  assert.equal(await line(screen).count(), 0);
});

test('what one jumps over stays unread, and can be gone back to, or taken as read', async () => {
  const { grace, stored } = await chatWith({ read: 50, unread: 200 });
  const screen = await open(grace);
  await line(screen).waitFor();
  const read = await eventually('what is on screen is read', async () => {
    const last = (await screen.shownSeqs()).at(-1);
    assert.equal((await stored()).readSeq, last);
    return last;
  });

  await toEnd(screen).click();
  await eventually('the newest is on screen', async () => assert.equal((await screen.shownSeqs()).at(-1), 250));
  const seen = (await screen.shownSeqs()).length;
  const above = () => toUnread(screen).getAttribute('data-unread').then(Number);
  await eventually('the rest is counted above', async () => assert.ok(Math.abs((await above()) - (250 - read - seen)) <= 1, `${await above()}`));
  assert.equal((await stored()).readSeq, read);

  await toUnread(screen).click();
  await eventually('the first unread is on screen, below the line', async () => {
    assert.ok((await screen.shownSeqs()).includes(read + 1));
    assert.equal(await belowLine(screen), read + 1);
  });
  await eventually('it has the focus', async () =>
    assert.equal(await screen.page.evaluate(() => document.activeElement.dataset.seq), String(read + 1)));
  await eventually('it is read', async () => assert.ok((await stored()).readSeq > read));

  await toEnd(screen).click();
  await toUnread(screen).waitFor();
  await screen.button('Mark all as read').click();
  await isMarked(stored, 250);
  await toUnread(screen).waitFor({ state: 'hidden' });
  await screen.hasUnread('Ada Lovelace', 0);
});

test('marks are told at most once a second, and only forward', async () => {
  const { ada, grace, chat, stored } = await chatWith({ read: 5 });
  const screen = await open(grace);
  const marks = requestsOf(screen.page, 'MarkRead');
  await screen.page.reload();
  await screen.isConnected();
  await screen.sees('Message number 5');
  const startedAt = Date.now();
  for (let number = 6; number <= 25; number += 1) await ada.send(chat, `Message number ${number}`);
  await toldUpTo(marks, 25);
  await isMarked(stored, 25);
  const seqs = marks.map(({ fields }) => fields.seq);
  assert.deepEqual(seqs, [...new Set(seqs)].sort((a, b) => a - b));
  const seconds = (marks.at(-1).at - startedAt) / 1000;
  assert.ok(marks.length <= 1 + Math.ceil(seconds), `${marks.length} in ${seconds} s`);
  for (const [at, { at: moment }] of marks.entries()) {
    if (at > 0) assert.ok(moment - marks[at - 1].at > 700, `${moment - marks[at - 1].at} ms after the one before`);
  }

  await screen.scrollBy(-400);
  await toEnd(screen).waitFor();
  await screen.scrollBy(400);
  // Only who is at the end follows what comes.
  await toEnd(screen).waitFor({ state: 'hidden' });
  await ada.send(chat, 'One more');
  await toldUpTo(marks, 26);
  assert.deepEqual(marks.map(({ fields }) => fields.seq), [...seqs, 26], 'what is read is not told again');
});

test('the list goes by the store, and a mark that got lost is told again', async () => {
  const { ada, grace, chat, stored } = await chatWith({ read: 5 });
  const screen = await open(grace);
  screen.watch.allowLineErrors();
  await screen.setFocused(false);
  await ada.send(chat, 'Who reads this?');
  await screen.hasUnread('Ada Lovelace', 1);
  screen.proxy.holdReplies();
  await screen.setFocused(true);
  await isMarked(stored, 6);
  await screen.hasUnread('Ada Lovelace', 1);

  screen.proxy.cut();
  await screen.bannerSays('Connection lost');
  screen.proxy.restore();
  await screen.hasUnread('Ada Lovelace', 0);
});

test('what one reads while the connection is lost is told when it is back', async () => {
  const { grace, stored } = await chatWith({ read: 5, unread: 40 });
  const screen = await open(grace);
  screen.watch.allowLineErrors();
  const marks = requestsOf(screen.page, 'MarkRead');
  await screen.page.reload();
  const read = await eventually('what is on screen is read', async () => {
    const last = (await screen.shownSeqs()).at(-1);
    assert.equal((await stored()).readSeq, last);
    return last;
  });
  await screen.scrollBy(60);
  await eventually('more is told', () => assert.ok(marks.at(-1)?.fields.seq > read));
  await isMarked(stored, marks.at(-1).fields.seq);
  screen.proxy.cut();
  await screen.bannerSays('Connection lost');
  // So long after the last mark the next one is told at once, and does not get through.
  await eventually('a second has passed', () => assert.ok(Date.now() - marks.at(-1).at > 1_500));
  await screen.scrollBy(200);
  const last = await eventually('more is on screen', async () => {
    const seq = (await screen.shownSeqs()).at(-1);
    assert.ok(seq > marks.at(-1).fields.seq);
    return seq;
  });
  assert.equal((await stored()).readSeq, marks.at(-1).fields.seq);
  screen.proxy.restore();
  await isMarked(stored, last);
  await screen.hasUnread('Ada Lovelace', 45 - last);
});

test('what one reads elsewhere counts here, too', async () => {
  const { grace, chat } = await chatWith({ read: 10, unread: 60 });
  const screen = await open(grace);
  const other = await world.open(grace);
  await eventually('what is on screen is read', async () => screen.hasUnread('Ada Lovelace', 70 - (await screen.shownSeqs()).at(-1)));
  await grace.api('PUT', `/chats/${chat.id}/read`, { seq: 60 });
  for (const one of [screen, other]) await one.hasUnread('Ada Lovelace', 10);
  await eventually('the button counts', async () => assert.equal(await toEnd(screen).getAttribute('data-unread'), '10'));
  await grace.api('PUT', `/chats/${chat.id}/read`, { seq: 70 });
  for (const one of [screen, other]) await one.hasUnread('Ada Lovelace', 0);
  await eventually('the button has no number', async () => assert.equal(await toEnd(screen).getAttribute('data-unread'), '0'));
});

test('one’s own message is read, and so is all before it', async () => {
  const { grace, stored } = await chatWith({ read: 10, unread: 60 });
  const screen = await open(grace);
  await line(screen).waitFor();
  await screen.say('I have seen enough');
  await screen.hasStatus('I have seen enough', 'sent');
  await isMarked(stored, 71);
  await screen.hasUnread('Ada Lovelace', 0);
  await eventually('the view is at the end, without a line', async () => {
    assert.equal((await screen.shownSeqs()).at(-1), 71);
    assert.equal(await line(screen).count(), 0);
    assert.equal(await toUnread(screen).isVisible(), false);
  });
});

test('from the middle of a long chat one scrolls both ways, and the page keeps only so much of it', async () => {
  const { ada, grace, chat, stored } = await chatWith({ read: 300, unread: 500 });
  const screen = await open(grace);
  const seqs = () => screen.log.locator('article').evaluateAll((rows) => rows.map((row) => Number(row.dataset.seq)));
  const isUnbroken = (all) => assert.deepEqual(all, Array.from(all, (_, at) => all[0] + at));
  const scrollTo = (end) => screen.page.locator('.scroller').evaluate((scroller, to) => (scroller.scrollTop = to ? scroller.scrollHeight : 0), end);
  assert.ok((await seqs()).length <= 200, 'it asks for what is about the first unread message');

  for (let last = (await seqs()).at(-1); last < 800; last = (await seqs()).at(-1)) {
    await scrollTo(true);
    await eventually(`newer messages than ${last} come`, async () => assert.ok((await seqs()).at(-1) > last));
  }
  const atEnd = await seqs();
  isUnbroken(atEnd);
  assert.ok(atEnd.length <= 600, `${atEnd.length} rows`);
  await scrollTo(true);
  await ada.send(chat, 'The newest');
  await screen.sees('The newest');

  for (let first = (await seqs())[0]; first > 1; first = (await seqs())[0]) {
    await scrollTo(false);
    await eventually(`older messages than ${first} come`, async () => assert.ok((await seqs())[0] < first));
  }
  const atStart = await seqs();
  isUnbroken(atStart);
  assert.ok(atStart.length <= 600 && atStart[0] === 1, `${atStart.length} rows from ${atStart[0]}`);
  await ada.send(chat, 'Not in sight');
  await screen.hasUnread('Ada Lovelace', (await stored()).unread);
  await toEnd(screen).click();
  await screen.sees('Not in sight');
  isUnbroken(await seqs());
});

test('the buttons are reached and used by keyboard, and say what they do', async () => {
  const { grace, stored } = await chatWith({ read: 50, unread: 200 });
  const screen = await open(grace);
  const { keyboard } = screen.page;
  const has = (locator) => locator.evaluate((element) => element === document.activeElement);
  const tabTo = async (locator) => {
    await screen.input.focus();
    for (let presses = 0; presses < 10 && !(await has(locator)); presses += 1) await keyboard.press('Shift+Tab');
    assert.ok(await has(locator), `not reached: ${locator}`);
  };
  await tabTo(toEnd(screen));
  assert.match(await toEnd(screen).getAttribute('aria-label'), /^Newest messages: (\d+|99\+) unread below$/);
  await keyboard.press('Enter');
  await eventually('the newest has the focus', async () =>
    assert.equal(await screen.page.evaluate(() => document.activeElement.dataset.seq), '250'));

  await toUnread(screen).waitFor();
  assert.match(await toUnread(screen).getAttribute('aria-label'), /^Jump to first unread: 99\+ unread above$/);
  const { readSeq } = await stored();
  await tabTo(toUnread(screen));
  await keyboard.press('Enter');
  await eventually('the first unread has the focus', async () =>
    assert.equal(await screen.page.evaluate(() => document.activeElement.dataset.seq), String(readSeq + 1)));

  await keyboard.press('End');
  await eventually('the newest has the focus', async () =>
    assert.equal(await screen.page.evaluate(() => document.activeElement.dataset.seq), '250'));
  await tabTo(screen.button('Mark all as read'));
  await keyboard.press('Enter');
  await isMarked(stored, 250);
  assert.ok(await screen.page.evaluate(() => document.activeElement.closest('article') !== null), 'the focus is not lost with the button');
});
