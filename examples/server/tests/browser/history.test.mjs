import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from './support/wait.mjs';
import { useWorld } from './support/world.mjs';

const world = useWorld();
const COUNT = 500;

async function longChat() {
  const [ada, grace] = await Promise.all([world.person('Ada Lovelace'), world.person('Grace Hopper')]);
  const chat = await ada.openDirect(grace);
  for (let number = 1; number <= COUNT; number += 1) await ada.send(chat, `Message number ${number}`);
  await grace.api('PUT', `/chats/${chat.id}/read`, { seq: COUNT });
  return { ada, grace, chat };
}

const seqs = (screen) => screen.log.locator('article').evaluateAll((rows) => rows.map((row) => Number(row.dataset.seq)));

test('scrolling back reaches the first of 500 messages, and what one reads stays in place', async () => {
  const { ada, grace, chat } = await longChat();
  const screen = await world.open(grace);
  await screen.openChat('Ada Lovelace');
  await screen.sees(`Message number ${COUNT}`);
  const { page } = screen;
  assert.ok((await seqs(screen)).length < 200, 'the page asks only for the newest messages at first');

  while ((await seqs(screen))[0] > 1) {
    const { oldest, seq, top } = await scrollNearTheTop(page);
    await eventually(`older messages than ${oldest} come`, async () => assert.ok((await seqs(screen))[0] < oldest));
    const moved = await screen.log.locator(`article[data-seq="${seq}"]`).evaluate((row) => row.getBoundingClientRect().top) - top;
    assert.ok(Math.abs(moved) < 2, `the row ${seq} that one was reading moved by ${moved} pixels when older ones came`);
  }
  await page.locator('.scroller').hover();
  await page.mouse.wheel(0, -100_000);
  await page.getByText('The beginning of this chat').waitFor();
  await eventually('the first is in sight', () => inSight(screen, 'Message number 1'));
  assert.deepEqual(await seqs(screen), Array.from({ length: COUNT }, (_, at) => at + 1));

  await ada.send(chat, 'While you were reading old ones');
  await screen.sees('While you were reading old ones');
  await inSight(screen, 'Message number 1');
  await screen.button('Newest messages: 1 unread below').click();
  await eventually('the newest is in sight', () => inSight(screen, 'While you were reading old ones'));
});

/** Scrolls in one step, and tells which row is then at the top of the view, before anything can have been put in above it. */
const scrollNearTheTop = (page) =>
  page.locator('.scroller').evaluate((scroller) => {
    const rows = [...scroller.querySelectorAll('article')];
    scroller.scrollTop = 150;
    const edge = scroller.getBoundingClientRect().top;
    const row = rows.find((candidate) => candidate.getBoundingClientRect().top >= edge);
    return { oldest: Number(rows[0].dataset.seq), seq: row.dataset.seq, top: row.getBoundingClientRect().top };
  });

async function inSight(screen, text) {
  const box = await screen.message(text).boundingBox();
  const view = await screen.page.locator('.scroller').boundingBox();
  assert.ok(box.y + box.height > view.y && box.y < view.y + view.height, `“${text}” is out of sight`);
}

test('a quote leads to a message that was not loaded yet', async () => {
  const { ada, grace, chat } = await longChat();
  const { items: [first] } = await ada.api('GET', `/chats/${chat.id}/messages?after=0&limit=1`);
  await grace.send(chat, 'Remember this?', { replyTo: first.id });
  const screen = await world.open(grace);
  await screen.openChat('Ada Lovelace');
  await screen.message('Remember this?').getByRole('button', { name: 'In reply to Ada Lovelace: Message number 1' }).click();
  await eventually('the quoted message has the focus', async () =>
    assert.equal(await screen.page.evaluate(() => document.activeElement.dataset.seq), '1'));
});
