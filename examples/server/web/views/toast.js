import { el } from '../dom.js';

const SHOWN_MS = 6_000;

/** A short notice at the edge of the page, read out politely. */
export function notify(text) {
  const toast = el('p', { class: 'toast' }, text);
  document.getElementById('toasts').append(toast);
  setTimeout(() => toast.remove(), SHOWN_MS);
}
