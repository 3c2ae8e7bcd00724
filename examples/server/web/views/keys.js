const STEPS = { ArrowDown: 1, ArrowUp: -1 };

/** Arrow keys, Home and End move the focus among the elements that match inside of a list. */
export function moveFocus(event, list, selector) {
  const items = [...list.querySelectorAll(selector)];
  const at = items.indexOf(event.target.closest(selector));
  const next = targetOf(event.key, at, items.length);
  if (at < 0 || next === null) return;
  event.preventDefault();
  items[next]?.focus();
}

function targetOf(key, at, length) {
  if (key === 'Home') return 0;
  if (key === 'End') return length - 1;
  if (!(key in STEPS)) return null;
  return Math.min(length - 1, Math.max(0, at + STEPS[key]));
}
