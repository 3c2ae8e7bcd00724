import assert from 'node:assert/strict';
import { eventually } from './wait.mjs';

/** What one sees and does on the page, in the words of the people who use it. */
export class Screen {
  constructor(page) {
    this.page = page;
  }

  get chats() {
    return this.page.getByRole('navigation', { name: 'Chats' });
  }

  get log() {
    return this.page.getByRole('log', { name: 'Messages' });
  }

  get input() {
    return this.page.getByLabel('Message', { exact: true });
  }

  get banner() {
    return this.page.locator('#connection');
  }

  button(name, options = {}) {
    return this.page.getByRole('button', { name, exact: true, ...options });
  }

  chatLink(name) {
    return this.chats.getByRole('link', { name: new RegExp(`^${name}\\b`) });
  }

  message(text) {
    return this.log.getByRole('article').filter({ has: this.page.getByText(text, { exact: true }) });
  }

  async logIn({ username, password }) {
    await this.page.getByLabel('Username or email').fill(username);
    await this.page.getByLabel('Password').fill(password);
    await this.button('Log in').click();
    await this.chats.waitFor();
  }

  async register({ username, email, displayName, password }) {
    await this.button('Create an account').click();
    await this.page.getByLabel('Username').fill(username);
    await this.page.getByLabel('Email').fill(email);
    await this.page.getByLabel('Display name').fill(displayName);
    await this.page.getByLabel('Password').fill(password);
    await this.button('Create account').click();
  }

  async openChat(name) {
    await this.chatLink(name).click();
    await this.page.getByRole('heading', { level: 2, name }).waitFor();
    await this.input.waitFor();
  }

  /** Finds someone by their username and opens the direct chat with them. */
  async writeTo(person) {
    await this.page.getByRole('searchbox', { name: 'Find people and chats' }).fill(person.username);
    await this.page.getByRole('list', { name: 'People' }).getByRole('button', { name: person.displayName }).click();
    await this.page.getByRole('heading', { level: 2, name: person.displayName }).waitFor();
  }

  async say(text) {
    await this.input.fill(text);
    await this.button('Send').click();
  }

  async sees(text) {
    await this.message(text).waitFor();
  }

  async openMenu(text) {
    const row = this.message(text);
    await row.hover();
    await row.getByRole('button', { name: 'Message actions' }).click();
    await this.page.getByRole('menuitem', { name: 'Reply' }).waitFor();
  }

  /** Opens the menu of a message and chooses from it. */
  async choose(text, action) {
    await this.openMenu(text);
    await this.page.getByRole('menuitem', { name: action }).click();
  }

  /** The texts of all messages, oldest first. */
  texts() {
    return this.log.locator('article.text .body').allTextContents();
  }

  async showsExactly(texts) {
    await eventually(`the messages are ${texts.join(' | ')}`, async () => assert.deepEqual(await this.texts(), texts));
  }

  async status(text) {
    return this.message(text).getAttribute('data-status');
  }

  async hasStatus(text, expected) {
    await eventually(`“${text}” is ${expected}`, async () => assert.equal(await this.status(text), expected));
  }

  async hasUnread(name, count) {
    await eventually(`${name} has ${count} unread`, async () =>
      assert.equal(await this.chatLink(name).getAttribute('data-unread'), String(count)));
  }

  /** The seqs of the messages of which at least half is on screen, as a person sees them. */
  shownSeqs() {
    return this.page.locator('.scroller').evaluate((scroller) => {
      const view = scroller.getBoundingClientRect();
      return [...scroller.querySelectorAll('article[data-seq]')]
        .filter((row) => {
          const { top, bottom, height } = row.getBoundingClientRect();
          return Math.min(bottom, view.bottom) - Math.max(top, view.top) >= height / 2;
        })
        .map((row) => Number(row.dataset.seq));
    });
  }

  /** Scrolls the messages by so many pixels. */
  async scrollBy(pixels) {
    await this.page.locator('.scroller').evaluate((scroller, by) => scroller.scrollBy(0, by), pixels);
  }

  /** Another window is in front, or the page's own again. The driver of the browser gives each page the focus for good. */
  async setFocused(focused) {
    await this.page.evaluate((has) => {
      document.hasFocus = () => has;
      dispatchEvent(new Event(has ? 'focus' : 'blur'));
    }, focused);
  }

  /** The page's tab is in the background, or in front again. */
  async setVisible(visible) {
    await this.page.evaluate((state) => {
      Object.defineProperty(document, 'visibilityState', { configurable: true, get: () => state });
      document.dispatchEvent(new Event('visibilitychange'));
    }, visible ? 'visible' : 'hidden');
  }

  /** Waits until the page has its connection. */
  async isConnected() {
    await this.page.getByText(/^Connected over /).first().waitFor();
  }

  async bannerSays(text) {
    await this.banner.getByText(text).waitFor();
  }
}
