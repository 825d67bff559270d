// Form fields from declared types. Each has a node, and `read()`, which returns JSON text: numbers of 64 bits and more do
// not fit into JavaScript's numbers, so they stay text.

/** Input that does not have the field's type. */
class Invalid extends Error {
  constructor(input, message) { super(message); this.input = input; }
}

let fieldNumber = 0;
const nextId = () => `field-${fieldNumber += 1}`;

const INTEGERS = {
  I8: [-(2n ** 7n), 2n ** 7n - 1n], I16: [-(2n ** 15n), 2n ** 15n - 1n], I32: [-(2n ** 31n), 2n ** 31n - 1n],
  I64: [-(2n ** 63n), 2n ** 63n - 1n], I128: [-(2n ** 127n), 2n ** 127n - 1n], Isize: [-(2n ** 63n), 2n ** 63n - 1n],
  U8: [0n, 2n ** 8n - 1n], U16: [0n, 2n ** 16n - 1n], U32: [0n, 2n ** 32n - 1n],
  U64: [0n, 2n ** 64n - 1n], U128: [0n, 2n ** 128n - 1n], Usize: [0n, 2n ** 64n - 1n],
};

/** The maximum nesting of fields. Deeper values are entered as JSON. */
const MAX_DEPTH = 6;

const kindOf = (type) => (typeof type?.ty === 'string' ? type.ty : Object.keys(type?.ty ?? { Unknown: 0 })[0]);

/** The type as text, as far as its name is known. */
function typeText(type) {
  if (!type) return 'JSON';
  const [kind, ty] = [kindOf(type), type.ty];
  if (kind === 'Option') return `optional ${typeText(ty.Option)}`;
  if (kind === 'Seq') return `list of ${typeText(ty.Seq)}`;
  return type.text ?? type.name ?? kind;
}

/** A labelled field: `label` may be empty for an element of a list. */
function labelled(label, type, id, input) {
  const name = element('label', { for: id }, label, element('span', { class: 'type', text: typeText(type) }));
  return element('div', { class: 'field' }, name, input);
}

function textField(label, type, options, convert) {
  const id = nextId();
  const input = element(options.tag ?? 'input', { id, autocomplete: 'off', spellcheck: 'false', ...options.attributes });
  input.addEventListener('input', () => input.removeAttribute('aria-invalid'));
  return { node: labelled(label, type, id, input), read: () => convert(input.value, input), input };
}

function integerField(label, type, [least, most]) {
  const attributes = { type: 'text', inputmode: least < 0n ? 'text' : 'numeric' };
  return textField(label, type, { attributes }, (value, input) => {
    const text = value.trim();
    if (!/^-?\d+$/.test(text)) throw new Invalid(input, `${label}: expected a whole number`);
    const number = BigInt(text);
    if (number < least || number > most) throw new Invalid(input, `${label}: expected a number from ${least} to ${most}`);
    // Beyond 64 bits the server reads numbers from strings.
    return number < -(2n ** 63n) || number >= 2n ** 64n ? `"${number}"` : `${number}`;
  });
}

function floatField(label, type) {
  return textField(label, type, { attributes: { type: 'text', inputmode: 'decimal' } }, (value, input) => {
    const text = value.trim();
    if (/^(NaN|-?inf(inity)?)$/i.test(text)) return JSON.stringify(text);
    if (text === '' || !Number.isFinite(Number(text))) throw new Invalid(input, `${label}: expected a number`);
    return JSON.stringify(Number(text));
  });
}

function charField(label, type) {
  return textField(label, type, { attributes: { type: 'text' } }, (value, input) => {
    if ([...value].length !== 1) throw new Invalid(input, `${label}: expected one character`);
    return JSON.stringify(value);
  });
}

const stringField = (label, type) =>
  textField(label, type, { tag: 'textarea', attributes: { rows: 1 } }, (value) => JSON.stringify(value));

function jsonField(label, type) {
  return textField(label, type, { tag: 'textarea', attributes: { rows: 2, placeholder: 'JSON' } }, (value, input) => {
    try { JSON.parse(value); } catch { throw new Invalid(input, `${label}: expected JSON`); }
    return value;
  });
}

function boolField(label, type) {
  const id = nextId();
  const input = element('input', { type: 'checkbox', id });
  const name = element('label', { for: id, class: 'check' }, input, element('span', {}, label, element('span', { class: 'type', text: typeText(type) })));
  return { node: element('div', { class: 'field' }, name), read: () => `${input.checked}` };
}

/** The largest file that becomes an argument, in bytes. */
const MAX_FILE = 2 << 20;

/** Bytes: as text, as hexadecimal digits, or from a file. */
function bytesField(label, type) {
  const id = nextId();
  const mode = element('select', { 'aria-label': `${label}: format` }, ...['text', 'hex', 'file'].map((value) => element('option', { value, text: value })));
  const text = element('textarea', { id, rows: 1, spellcheck: 'false' });
  const file = element('input', { type: 'file', 'aria-label': `${label}: file`, hidden: true });
  let content = null;
  mode.addEventListener('change', () => { text.hidden = mode.value === 'file'; file.hidden = !text.hidden; });
  file.addEventListener('change', async () => {
    content = null;
    const chosen = file.files[0];
    if (chosen && chosen.size <= MAX_FILE) content = new Uint8Array(await chosen.arrayBuffer());
  });
  const read = () => {
    if (mode.value === 'file') {
      if (!content) throw new Invalid(file, `${label}: choose a file of at most ${bytes(MAX_FILE)}`);
      return `[${content.join(',')}]`;
    }
    if (mode.value === 'text') return `[${new TextEncoder().encode(text.value).join(',')}]`;
    const digits = text.value.replace(/\s/g, '');
    if (!/^([0-9a-f]{2})*$/i.test(digits)) throw new Invalid(text, `${label}: expected pairs of hexadecimal digits`);
    return `[${(digits.match(/../g) ?? []).map((pair) => parseInt(pair, 16)).join(',')}]`;
  };
  return { node: labelled(label, type, id, element('div', { class: 'bytes' }, mode, text, file)), read };
}

function group(label, type, ...children) {
  return element('fieldset', {}, element('legend', {}, label, element('span', { class: 'type', text: typeText(type) })), ...children);
}

function optionField(label, type, depth) {
  const inner = field(label, type.ty.Option, depth + 1);
  const id = nextId();
  const present = element('input', { type: 'checkbox', id });
  const container = element('div');
  present.addEventListener('change', () => container.replaceChildren(...(present.checked ? [inner.node] : [])));
  const node = group(label, type, element('label', { class: 'check', for: id }, present, 'has a value'), container);
  const nests = ['Option', 'Unit', 'UnitStruct'].includes(kindOf(type.ty.Option));
  return { node, read: () => (!present.checked ? 'null' : nests ? `{"Some":${inner.read()}}` : inner.read()) };
}

/** Entries that can be added and removed. `create(number)` makes the field or fields of one. */
function entries(label, type, create, join) {
  const list = [];
  const container = element('div', { class: 'field' });
  const add = element('button', { type: 'button', text: 'Add' });
  const node = group(label, type, container, element('div', {}, add));
  add.setAttribute('aria-label', `Add to ${label}`);
  add.addEventListener('click', () => {
    const entry = create(list.length + 1);
    const remove = element('button', { type: 'button', class: 'quiet', text: 'Remove', 'aria-label': `Remove from ${label}` });
    const row = element('div', { class: 'entry' }, entry.node, remove);
    list.push(entry);
    container.append(row);
    remove.addEventListener('click', () => { list.splice(list.indexOf(entry), 1); row.remove(); add.focus(); });
    row.querySelector('input, textarea, select, button')?.focus();
  });
  return { node, read: () => join(list) };
}

const sequenceField = (label, type, depth) =>
  entries(label, type, (number) => field(`Item ${number}`, type.ty.Seq, depth + 1), (list) => `[${list.map((item) => item.read()).join(',')}]`);

function mapField(label, type, depth) {
  const { key, val } = type.ty.Map;
  const isObject = kindOf(key) === 'String' || (kindOf(key) === 'NewtypeStruct' && kindOf(key.ty.NewtypeStruct) === 'String');
  const create = () => {
    const pair = [field('Key', key, depth + 1), field('Value', val, depth + 1)];
    return { node: element('div', { class: 'pair' }, pair[0].node, pair[1].node), pair };
  };
  const join = (list) => {
    const pairs = list.map(({ pair }) => pair.map((part) => part.read()));
    return isObject ? `{${pairs.map((pair) => pair.join(':')).join(',')}}` : `[${pairs.map((pair) => `[${pair.join(',')}]`).join(',')}]`;
  };
  return entries(label, type, create, join);
}

/** Fields of a structure, as an object. */
function structField(label, type, fields, depth) {
  const inner = fields.map((part) => [part.name, field(part.name, part.ty, depth + 1)]);
  const node = group(label, type, ...inner.map(([, part]) => part.node));
  return { node, read: () => `{${inner.map(([name, part]) => `${JSON.stringify(name)}:${part.read()}`).join(',')}}` };
}

/** Fields by position, as an array. */
function tupleField(label, type, items, depth) {
  const inner = items.map((item, at) => field(`Part ${at + 1}`, item, depth + 1));
  return { node: group(label, type, ...inner.map((part) => part.node)), read: () => `[${inner.map((part) => part.read()).join(',')}]` };
}

function enumField(label, type, depth) {
  const variants = type.ty.Enum;
  const id = nextId();
  const select = element('select', { id }, ...variants.map((variant, at) => element('option', { value: at, text: variant.name })));
  const container = element('div');
  const inner = new Map();
  const content = ({ name, ty }) => {
    if (ty === 'UnitVariant') return null;
    const [kind, data] = Object.entries(ty)[0];
    if (kind === 'NewtypeVariant') return field(name, data, depth + 1);
    if (kind === 'TupleVariant') return tupleField(name, { name: '' }, data, depth + 1);
    return structField(name, { name: '' }, data, depth + 1);
  };
  const chosen = () => variants[select.value];
  const show = () => {
    const variant = chosen();
    if (variant && !inner.has(variant)) inner.set(variant, content(variant));
    container.replaceChildren(...(inner.get(variant) ? [inner.get(variant).node] : []));
  };
  select.addEventListener('change', show);
  show();
  const read = () => {
    const [name, part] = [JSON.stringify(chosen()?.name ?? ''), inner.get(chosen())];
    return part ? `{${name}:${part.read()}}` : name;
  };
  return { node: element('div', { class: 'field' }, labelled(label, type, id, select), container), read };
}

const constant = (label, type, json) => ({ node: element('div', { class: 'field' }, element('span', { class: 'label' }, label, element('span', { class: 'type', text: typeText(type) }))), read: () => json });

/** The field of a type, or one for JSON if the type is unknown or nested too deeply. */
function field(label, type, depth = 0) {
  const kind = kindOf(type);
  if (!type || depth > MAX_DEPTH) return jsonField(label, type);
  if (INTEGERS[kind]) return integerField(label, type, INTEGERS[kind]);
  switch (kind) {
    case 'Bool': return boolField(label, type);
    case 'F32': case 'F64': return floatField(label, type);
    case 'Char': return charField(label, type);
    case 'String': return stringField(label, type);
    case 'ByteArray': return bytesField(label, type);
    case 'Seq': return kindOf(type.ty.Seq) === 'U8' ? bytesField(label, type) : sequenceField(label, type, depth);
    case 'Option': return optionField(label, type, depth);
    case 'NewtypeStruct': return field(label, { ...type.ty.NewtypeStruct, text: type.text ?? type.name }, depth);
    case 'Tuple': case 'TupleStruct': return tupleField(label, type, type.ty[kind], depth);
    case 'Map': return mapField(label, type, depth);
    case 'Struct': return structField(label, type, type.ty.Struct, depth);
    case 'Enum': return enumField(label, type, depth);
    case 'Unit': case 'UnitStruct': return constant(label, type, 'null');
    default: return jsonField(label, type);
  }
}
