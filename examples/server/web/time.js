const LANGUAGE = 'en';
const MINUTE = 60_000;

const clock = new Intl.DateTimeFormat(undefined, { hour: 'numeric', minute: '2-digit' });
const weekday = new Intl.DateTimeFormat(LANGUAGE, { weekday: 'long' });
const shortWeekday = new Intl.DateTimeFormat(LANGUAGE, { weekday: 'short' });
const shortDate = new Intl.DateTimeFormat(LANGUAGE, { day: 'numeric', month: 'short' });
const longDate = new Intl.DateTimeFormat(LANGUAGE, { weekday: 'long', day: 'numeric', month: 'long' });
const longDateOfYear = new Intl.DateTimeFormat(LANGUAGE, { day: 'numeric', month: 'long', year: 'numeric' });
const full = new Intl.DateTimeFormat(LANGUAGE, { dateStyle: 'full', timeStyle: 'short' });

export const timeOf = (iso) => clock.format(new Date(iso));
export const fullTime = (iso) => full.format(new Date(iso));
export const dayKey = (iso) => new Date(iso).toDateString();

/** For a separator between days: Today, Yesterday, Monday, or a date. */
export function dayName(iso) {
  const date = new Date(iso);
  const age = daysAgo(date);
  if (age === 0) return 'Today';
  if (age === 1) return 'Yesterday';
  if (age < 7) return weekday.format(date);
  return date.getFullYear() === new Date().getFullYear() ? longDate.format(date) : longDateOfYear.format(date);
}

/** For the chat list: the time if it is today, else something as short. */
export function shortTime(iso) {
  const date = new Date(iso);
  const age = daysAgo(date);
  if (age === 0) return clock.format(date);
  if (age === 1) return 'Yesterday';
  return age < 7 ? shortWeekday.format(date) : shortDate.format(date);
}

/** For a last seen time: “just now”, “12 minutes ago”, “yesterday at 14:02”. */
export function since(iso) {
  const date = new Date(iso);
  const minutes = Math.floor((Date.now() - date) / MINUTE);
  if (minutes < 1) return 'just now';
  if (minutes < 60) return minutes === 1 ? '1 minute ago' : `${minutes} minutes ago`;
  const age = daysAgo(date);
  if (age === 0) return `today at ${clock.format(date)}`;
  if (age === 1) return `yesterday at ${clock.format(date)}`;
  return `on ${shortDate.format(date)}`;
}

function daysAgo(date) {
  const midnight = (day) => new Date(day.getFullYear(), day.getMonth(), day.getDate());
  return Math.round((midnight(new Date()) - midnight(date)) / (24 * 60 * MINUTE));
}
