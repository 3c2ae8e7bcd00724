import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from './support/wait.mjs';
import { useWorld } from './support/world.mjs';

const KEY = 'operators-know-this-key';
const KIND = 'invoices.send';

const world = useWorld({
  settings: { MESSENGER_OPERATOR_KEY: KEY },
  prepare: async (server) => {
    const program = process.env.MESSENGER_TEST_JOBS;
    assert.ok(program, 'MESSENGER_TEST_JOBS must name the program browser-jobs');
    await server.runOnStore(program);
  },
});

/** The page, before anybody has given a key. */
async function visit() {
  const { page, proxy, watch } = await world.visit('operator');
  const answers = [];
  page.on('response', async (response) => {
    if (response.url().includes('/ops/')) answers.push({ url: response.url(), text: await response.text().catch(() => '') });
  });
  await page.goto(`${proxy.url}/ops`);
  const section = (name) => page.locator('section').filter({ has: page.getByRole('heading', { name, exact: true }) });
  const give = async (key) => {
    await page.getByLabel("The operator's key").fill(key);
    await page.getByRole('button', { name: 'Show' }).click();
  };
  return { page, watch, answers, section, give };
}

async function open() {
  const ops = await visit();
  await ops.give(KEY);
  await ops.section('Queues').getByRole('row', { name: KIND }).waitFor();
  return ops;
}

/** What the queue of the kind shows, by the names of the columns. */
async function queue({ section }) {
  const table = section('Queues').getByRole('table');
  const names = await table.getByRole('columnheader').allTextContents();
  const cells = await table.getByRole('row', { name: KIND }).getByRole('cell').allTextContents();
  return Object.fromEntries(names.map((name, at) => [name, cells[at]]));
}

const shows = (ops, expected) =>
  eventually(`the queue has ${JSON.stringify(expected)}`, async () => {
    const shown = await queue(ops);
    assert.deepEqual(shown, { ...shown, ...expected });
  });

/** What the server says of the jobs, without the page. */
async function stored(path) {
  const response = await fetch(`${world.server.url}/ops/${path}`, { headers: { authorization: `Bearer ${KEY}` } });
  assert.equal(response.status, 200);
  return response.json();
}

test('jobs are shown for the key alone', async () => {
  const { page, watch, give, section } = await visit();
  watch.allow(/401/);
  assert.equal(await section('Queues').isVisible(), false);
  await give('operators-know-this-keys');
  await page.getByRole('status').getByText("The operator's key is missing or wrong.").waitFor();
  assert.equal(await section('Queues').isVisible(), false);
  assert.equal(await page.getByLabel("The operator's key").inputValue(), '', 'what was wrong is not kept');
  await give(KEY);
  await section('Queues').waitFor();
  assert.equal(await page.getByText("The operator's key is missing or wrong.").count(), 0);
  assert.equal(await page.getByLabel("The operator's key").isVisible(), false);
  await page.reload();
  await page.getByLabel("The operator's key").waitFor();
  assert.equal(await section('Queues').isVisible(), false, 'the key is kept in memory only');
});

test('the size of each queue is shown, what is at work, and what is tried again when', async () => {
  const ops = await open();
  await shows(ops, { Kind: KIND, Due: '0', Later: '2', Blocked: '0', 'At work': '1', Done: '1', Dead: '1', Cancelled: '0' });
  await ops.section('At work').getByRole('row', { name: KIND }).getByText('1 of 3').waitFor();
  const again = ops.section('Failed, tried again').getByRole('row', { name: 'the line was cut' });
  const { jobs } = await stored(`jobs?kind=${KIND}&state=waiting`);
  const at = jobs.find((job) => job.reason).runAt;
  await again.getByText(await ops.page.evaluate((time) => new Date(time).toLocaleString(), at)).waitFor();
});

test('nothing of what jobs are about is shown', async () => {
  const { page, answers } = await open();
  await eventually('all that the page shows has come', async () => assert.ok(answers.length >= 3));
  for (const { url, text } of answers) assert.ok(!text.includes('secret'), url);
  assert.ok(!(await page.content()).includes('secret'));
});

test('a look counts the jobs once', async () => {
  const { answers } = await open();
  const asked = () => answers.filter(({ url }) => url.includes('/ops/jobs?'));
  await eventually('the page has looked twice', async () => assert.ok(asked().length >= 6), 20_000);
  const counted = asked().slice(0, 6).filter(({ text }) => 'counts' in JSON.parse(text));
  assert.equal(counted.length, 2);
});

test('a kind is paused and resumed', async () => {
  const ops = await open();
  const button = (name) => ops.section('Queues').getByRole('row', { name: KIND }).getByRole('button', { name });
  const isPaused = async () => (await stored('jobs')).counts.find((of) => of.kind === KIND).paused;
  await button('Pause').click();
  await button('Resume').waitFor();
  assert.equal(await isPaused(), true);
  await button('Resume').click();
  await button('Pause').waitFor();
  assert.equal(await isPaused(), false);
});

test('what is dead is shown with its reason and put back', async () => {
  const ops = await open();
  const dead = ops.section('Failed for good').getByRole('row', { name: 'the printer is on fire' });
  await dead.getByText('1 of 3').waitFor();
  await dead.getByRole('button', { name: 'Retry' }).click();
  await ops.section('Failed for good').getByText('None.').waitFor();
  await shows(ops, { Due: '1', Dead: '0' });
  const { jobs } = await stored(`jobs?kind=${KIND}&state=waiting`);
  assert.ok(jobs.some((job) => job.attempt === 0 && job.reason === 'the printer is on fire'), 'it has all its attempts');
  const back = ops.section('Failed, tried again').getByRole('row', { name: 'the printer is on fire' });
  await back.getByRole('button', { name: 'Cancel' }).click();
  await shows(ops, { Due: '0', Cancelled: '1' });
});

test('what cannot be done is said', async () => {
  const ops = await open();
  ops.watch.allow(/403/);
  await ops.page.route('**/cancel', async (route) => {
    // Somebody else is faster.
    const faster = await fetch(route.request().url(), { method: 'POST', headers: { authorization: `Bearer ${KEY}` } });
    assert.equal(faster.status, 204);
    await route.continue();
  });
  await ops.section('At work').getByRole('row', { name: KIND }).getByRole('button', { name: 'Cancel' }).click();
  await ops.page.getByRole('status').getByText('The job has ended.').waitFor();
  await ops.section('At work').getByText('None.').waitFor();
});
