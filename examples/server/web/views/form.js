import { el } from '../dom.js';

/** Codes that name no field by a pointer, and the field that they are about. */
const FIELD_OF_CODE = { usernameTaken: ['username'], emailTaken: ['email'], invalidCredentials: ['current', 'password'] };

let lastId = 0;

/** A labelled input with room for a hint and for what is wrong with it. */
export function field({ label, name, hint, ...input }) {
  const id = `field-${++lastId}`;
  return el(
    'div',
    { class: 'field' },
    el('label', { for: id }, label),
    el('input', { id, name, 'aria-describedby': `${id}-hint ${id}-error`, autocapitalize: 'none', spellcheck: 'false', ...input }),
    el('p', { class: 'hint', id: `${id}-hint` }, hint ?? ''),
    el('p', { class: 'error', id: `${id}-error`, 'data-error-for': name }),
  );
}

/** A labelled choice of `[value, text]`. */
export function selectField({ label, name, value, choices }) {
  const id = `field-${++lastId}`;
  const options = choices.map(([choice, text]) => el('option', { value: choice, selected: choice === value }, text));
  return el(
    'div',
    { class: 'field' },
    el('label', { for: id }, label),
    el('select', { id, name, 'aria-describedby': `${id}-error` }, options),
    el('p', { class: 'error', id: `${id}-error`, 'data-error-for': name }),
  );
}

/**
 * A form that sends its values as an object and shows the problem of a refused one: beside the field that it names, else above the button.
 * Empty optional values are left out.
 */
export function form({ label, fields, submit, kind = 'primary', inline = false, onSubmit }) {
  const general = el('p', { class: 'error', role: 'alert' });
  const button = el('button', { type: 'submit', class: `button ${kind}` }, submit);
  const element = el('form', { class: inline ? 'form inline' : 'form', 'aria-label': label, novalidate: true }, fields, general, button);

  element.addEventListener('submit', async (event) => {
    event.preventDefault();
    if (button.disabled) return;
    clearProblem(element, general);
    button.disabled = true;
    try {
      await onSubmit(valuesOf(element), element);
    } catch (problem) {
      showProblem(element, general, problem);
    } finally {
      button.disabled = false;
    }
  });
  return element;
}

function valuesOf(element) {
  const values = {};
  for (const input of element.querySelectorAll('input')) {
    if (input.type === 'checkbox') values[input.name] = input.checked;
    else if (input.value !== '' || input.required) values[input.name] = input.value;
  }
  for (const select of element.querySelectorAll('select')) values[select.name] = select.value;
  return values;
}

function clearProblem(element, general) {
  general.textContent = '';
  element.querySelectorAll('[data-error-for]').forEach((error) => (error.textContent = ''));
  element.querySelectorAll('[aria-invalid]').forEach((input) => input.removeAttribute('aria-invalid'));
}

function showProblem(element, general, problem) {
  const problems = problem.errors?.length ? problem.errors : [{ pointer: '', detail: problem.message, names: FIELD_OF_CODE[problem.code] }];
  const unplaced = problems.filter(({ pointer, detail, names }) => {
    const candidates = names ?? [pointer.replace(/^#?\//, '').split('/')[0]];
    return !candidates.some((name) => markInvalid(element, name, detail));
  });
  general.textContent = unplaced.map(({ detail }) => asSentence(detail)).join(' ');
  element.querySelector('[aria-invalid]')?.focus();
}

function markInvalid(element, name, detail) {
  const input = name && element.querySelector(`:is(input, select)[name="${CSS.escape(name)}"]`);
  if (!input) return false;
  input.setAttribute('aria-invalid', 'true');
  element.querySelector(`[data-error-for="${CSS.escape(name)}"]`).textContent = asSentence(detail);
  return true;
}

function asSentence(text) {
  const sentence = text[0].toUpperCase() + text.slice(1);
  return /[.!?]$/.test(sentence) ? sentence : `${sentence}.`;
}
