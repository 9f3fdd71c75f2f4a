'use strict';
const $ = id => document.getElementById(id);
const SIDE = 280; // pixels a side of the drawing that is sent, the same on every screen
const ASK_EVERY = 150, CHECK_EVERY = 3000; // milliseconds
const KEPT_AS = 'mnist-corrections';
const UNREACHABLE = 'The server cannot be reached.';
const percent = p => p > 0.999 ? '> 99.9 %' : `${(100 * p).toFixed(1)} %`;

// The picture: strokes (lists of [x, y], 0 to 1 across the paper) or one photo.
let picture = { strokes: [], photo: null };
const past = [];
const empty = () => !picture.photo && !picture.strokes.length;

function change(next) {
  past.push(picture);
  picture = next;
  paint();
}

function draw(canvas) {
  const pen = canvas.getContext('2d'), side = canvas.width;
  pen.clearRect(0, 0, side, side);
  if (picture.photo) {
    const { bitmap } = picture.photo, scale = side / Math.max(bitmap?.width, bitmap?.height);
    if (bitmap) pen.drawImage(bitmap, (side - bitmap.width * scale) / 2, (side - bitmap.height * scale) / 2, bitmap.width * scale, bitmap.height * scale);
    return;
  }
  pen.lineWidth = side * ($('several').checked ? 0.035 : 0.065);
  pen.lineCap = pen.lineJoin = 'round';
  for (const stroke of picture.strokes) {
    const points = stroke.map(([x, y]) => [x * side, y * side]), last = points.at(-1);
    pen.beginPath();
    pen.moveTo(...points[0]);
    for (let i = 1; i < points.length - 1; i++) {
      const [x, y] = points[i], [nextX, nextY] = points[i + 1];
      pen.quadraticCurveTo(x, y, (x + nextX) / 2, (y + nextY) / 2);
    }
    pen.lineTo(last[0] + 0.01, last[1]); // a tap is a dot, and a line of no length is not drawn
    pen.stroke();
  }
}

function paint() {
  const photo = picture.photo;
  $('stage').classList.toggle('photo', Boolean(photo));
  $('hint').hidden = !empty() && (!photo || photo.bitmap);
  $('hint').textContent = photo ? `${photo.name} (this browser cannot show it)` : 'Draw here, or drop, paste or upload a picture';
  $('undo').disabled = !past.length;
  $('clear').disabled = empty();
  draw($('paper'));
}

// A canvas to send, with white behind whatever `paintOn` leaves transparent.
function sheet(width, height, paintOn) {
  const canvas = Object.assign(document.createElement('canvas'), { width, height }), pen = canvas.getContext('2d');
  paintOn(canvas, pen);
  pen.globalCompositeOperation = 'destination-over';
  pen.fillStyle = '#fff';
  pen.fillRect(0, 0, canvas.width, canvas.height);
  return canvas;
}

const file = (canvas, ...kind) => new Promise(done => canvas.toBlob(done, ...kind));

async function upload() {
  if (picture.photo) return picture.photo;
  const bitmap = sheet(SIDE, SIDE, draw);
  return { blob: await file(bitmap), name: 'drawing.png', bitmap };
}

async function usePhoto(chosen) {
  if (!chosen) return fail('There is no picture in that.');
  let blob = chosen, bitmap = null;
  try { bitmap = await createImageBitmap(chosen); } catch { /* not for this browser to show; the server says what it is */ }
  if (bitmap && chosen.size > 2 ** 21) { // a phone's photo is larger than the server takes
    const whole = bitmap, scale = Math.min(1, 2000 / Math.max(whole.width, whole.height));
    bitmap = sheet(whole.width * scale, whole.height * scale, (canvas, pen) => pen.drawImage(whole, 0, 0, canvas.width, canvas.height));
    blob = await file(bitmap, 'image/jpeg', 0.9);
  }
  change({ strokes: [], photo: { blob, bitmap, name: chosen.name || 'pasted picture' } });
  ask(true);
}

// Asking: one question at a time, and only the latest answer is shown.
let asking = null, askedAt = 0, shown = null;

async function ask(final) {
  if (!final && (asking || !$('away').hidden || performance.now() - askedAt < ASK_EVERY)) return;
  asking?.abort();
  asking = null;
  $('bars').setAttribute('aria-busy', !empty());
  if (empty()) return show(null, true);
  const mine = asking = new AbortController();
  askedAt = performance.now();
  const several = $('several').checked;
  try {
    const sent = await upload(), form = new FormData();
    form.append('file', sent.blob, sent.name);
    const response = await fetch(`predict?details=1&image=1${several ? '&segment=1' : ''}`, { method: 'POST', body: form, signal: mine.signal });
    const answer = await response.json().catch(() => ({ error: `The server answered ${response.status} ${response.statusText}.` }));
    if (mine !== asking) return;
    if (response.ok) show(several ? { ...answer, sent } : answer, final);
    else if (final && response.status === 503) { show(null); away(answer.error); }
    else if (final) fail(answer.error);
  } catch {
    if (mine !== asking) return;
    if (!final) return;
    fail('The server did not answer.');
    lookAgain();
  } finally {
    if (mine === asking) { asking = null; $('bars').setAttribute('aria-busy', false); }
  }
}

function fail(words) {
  show(null);
  $('error').textContent = words;
  $('error').hidden = false;
}

function show(answer, final) {
  shown = answer;
  const digits = answer?.predictions ?? (answer ? [answer.prediction] : []);
  const warnings = answer?.warnings ?? [];
  $('error').hidden = true;
  $('digit').textContent = digits.join('') || '?';
  $('digit').classList.toggle('none', !answer);
  $('sure').textContent = answer ? `${percent(answer.confidence ?? Math.min(...answer.confidences))} sure` : '';
  if (final) $('spoken').textContent = answer ? `${digits.join(' ')}, ${$('sure').textContent}` : '';
  $('warnings').hidden = !warnings.length;
  $('warnings').replaceChildren(...warnings.map(words => Object.assign(document.createElement('li'), { textContent: words })));
  $('saw').replaceChildren(...(answer?.image ? [figure(answer.image, 'what the model saw')] : []));
  $('row').replaceChildren(...(answer?.images ?? []).map((image, i) => figure(image, `${digits[i]}: ${percent(answer.confidences[i])}`)));
  $('bars').hidden = $('tell').hidden = $('several').checked;
  bars.forEach((bar, digit) => bar(answer?.probabilities?.[digit] ?? 0, digit === answer?.prediction));
  showBoxes(answer);
  showKept();
  if (answer?.model_version && answer.model_version !== modelVersion) lookAgain();
}

function figure(image, words) {
  const element = document.createElement('figure');
  element.append(
    Object.assign(new Image(28, 28), { src: image, alt: 'The 28 by 28 picture the model saw' }),
    Object.assign(document.createElement('figcaption'), { textContent: words }),
  );
  return element;
}

function showBoxes(answer) {
  const sent = answer?.sent?.bitmap;
  $('boxes').replaceChildren(...(sent ? answer.boxes : []).map(([x, y, width, height], i) => {
    const box = document.createElement('b'), side = Math.max(sent.width, sent.height);
    const part = pixels => `${100 * pixels / side}%`;
    box.dataset.digit = answer.predictions[i];
    Object.assign(box.style, { left: part(x + (side - sent.width) / 2), top: part(y + (side - sent.height) / 2), width: part(width), height: part(height) });
    return box;
  }));
}

const bars = Array.from({ length: 10 }, (_, digit) => {
  const row = document.createElement('li'), [name, bar, value] = ['span', 'div', 'span'].map(tag => document.createElement(tag));
  const fill = bar.appendChild(document.createElement('i'));
  name.textContent = digit;
  row.append(name, bar, value);
  $('bars').append(row);
  for (const [key, text] of Object.entries({ role: 'meter', 'aria-label': `Digit ${digit}`, 'aria-valuemin': 0, 'aria-valuemax': 1 })) bar.setAttribute(key, text);
  return (probability, best) => {
    fill.style.transform = `translateX(${100 * (probability - 1)}%)`;
    row.classList.toggle('best', best);
    value.textContent = shown ? percent(probability) : '';
    bar.setAttribute('aria-valuenow', probability);
    bar.setAttribute('aria-valuetext', percent(probability));
  };
});

// The model: what it is, and waiting for one.
let modelVersion = null, waiting = null;

async function showModel() {
  const { model } = await (await fetch('version')).json();
  if (!model) return $('model').textContent = 'No model.';
  modelVersion = model.model_version;
  const names = { mnist: 'MNIST', synthetic: 'synthetic digits' }, nameOf = data => names[data] ?? data;
  $('model').textContent = [
    `Model ${model.model_version}`,
    model.parameters && `${Number(model.parameters).toLocaleString('en')} parameters`,
    model.dataset && `trained on ${nameOf(model.dataset)}`,
    model.test_accuracy && `${(100 * model.test_accuracy).toFixed(2)} % right on test images of ${nameOf(model.test_dataset ?? model.dataset)}`,
  ].filter(Boolean).join(', ') + '.' + (model.dataset === 'synthetic' ? ' It has never seen handwriting, only digits drawn by a program: expect more mistakes.' : '');
}

function away(words) {
  $('away').textContent = `${words} This page looks again every ${CHECK_EVERY / 1000} seconds.`;
  $('away').hidden = false;
  clearTimeout(waiting);
  waiting = setTimeout(lookAgain, CHECK_EVERY);
}

async function lookAgain() {
  if (stroke) return waiting = setTimeout(lookAgain, CHECK_EVERY); // the page must not move under the pen
  try {
    const response = await fetch('readyz');
    if (!response.ok) return away((await response.json()).error);
    await showModel();
  } catch { return away(UNREACHABLE); }
  if ($('away').hidden) return;
  $('away').hidden = true;
  ask(true);
}

// Corrections, kept in this browser.
function kept() {
  try { return JSON.parse(localStorage.getItem(KEPT_AS)) ?? []; } catch { return []; }
}

function keep(corrections) {
  try { localStorage.setItem(KEPT_AS, JSON.stringify(corrections)); showKept(); } catch { fail('This browser does not let the page keep anything more.'); }
}

function showKept() {
  const corrections = kept(), one = corrections.find(({ image }) => image === shown?.image);
  $('count').textContent = corrections.length ? `${corrections.length} kept in this browser` : 'Corrections stay in this browser.';
  $('download').hidden = $('forget').hidden = !corrections.length;
  [...$('right').children].forEach((button, digit) => {
    button.disabled = !shown?.image;
    button.setAttribute('aria-pressed', one?.label === digit);
  });
}

async function pixels(image) {
  const element = Object.assign(new Image(), { src: image });
  await element.decode();
  const pen = Object.assign(document.createElement('canvas'), { width: 28, height: 28 }).getContext('2d');
  pen.drawImage(element, 0, 0);
  return pen.getImageData(0, 0, 28, 28).data.filter((_, i) => i % 4 === 0);
}

// IDX under MNIST's own names, not DIGIT/INDEX.png folders: every reader of MNIST reads it as it is.
async function mnistFiles(corrections) {
  const bigEndian = numbers => new Uint8Array(numbers.flatMap(n => [n >>> 24, n >>> 16, n >>> 8, n]));
  const gzip = parts => new Response(new Blob(parts).stream().pipeThrough(new CompressionStream('gzip'))).arrayBuffer();
  const count = corrections.length, images = await Promise.all(corrections.map(({ image }) => pixels(image)));
  return {
    'train-images-idx3-ubyte.gz': await gzip([bigEndian([0x803, count, 28, 28]), ...images]),
    'train-labels-idx1-ubyte.gz': await gzip([bigEndian([0x801, count]), new Uint8Array(corrections.map(({ label }) => label))]),
  };
}

function crc32(bytes) {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc >>> 1 ^ (crc & 1 && 0xedb88320);
  }
  return ~crc;
}

// A zip whose files are stored as they are (PKWARE APPNOTE 4.3), dated 1980-01-01, as far back as zip goes.
function zip(files) {
  const little = (...fields) => new Uint8Array(fields.flatMap(([size, n]) => Array.from({ length: size }, (_, i) => n >>> 8 * i)));
  const body = [], directory = [];
  let offset = 0, entries = 0, listed = 0;
  for (const [name, buffer] of Object.entries(files)) {
    const bytes = new Uint8Array(buffer), label = new TextEncoder().encode(name);
    const common = [[2, 10], [2, 0], [2, 0], [2, 0], [2, 33], [4, crc32(bytes)], [4, bytes.length], [4, bytes.length], [2, label.length], [2, 0]];
    const local = little([4, 0x04034b50], ...common), central = little([4, 0x02014b50], [2, 10], ...common, [2, 0], [2, 0], [2, 0], [4, 0], [4, offset]);
    body.push(local, label, bytes);
    directory.push(central, label);
    offset += local.length + label.length + bytes.length;
    listed += central.length + label.length;
    entries++;
  }
  return new Blob([...body, ...directory, little([4, 0x06054b50], [2, 0], [2, 0], [2, entries], [2, entries], [4, listed], [4, offset], [2, 0])], { type: 'application/zip' });
}

async function download() {
  const link = document.createElement('a'), url = URL.createObjectURL(zip(await mnistFiles(kept())));
  Object.assign(link, { href: url, download: 'mnist-corrections.zip' }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}

for (let label = 0; label < 10; label++) {
  const button = Object.assign(document.createElement('button'), { type: 'button', textContent: label });
  button.addEventListener('click', () => keep([...kept().filter(({ image }) => image !== shown.image), { label, image: shown.image }]));
  $('right').append(button);
}

// Mouse, finger, pen, keys, files.
const paper = $('paper');
let stroke = null;

function addPoints(event) {
  const { left, top, width, height } = paper.getBoundingClientRect();
  const events = event.getCoalescedEvents?.() ?? [];
  for (const { clientX, clientY } of events.length ? events : [event]) stroke.push([(clientX - left) / width, (clientY - top) / height]);
}

paper.addEventListener('pointerdown', event => {
  if (!event.isPrimary || event.button) return;
  paper.setPointerCapture(event.pointerId);
  stroke = [];
  addPoints(event);
  change({ strokes: [...picture.strokes, stroke], photo: null });
});
paper.addEventListener('pointermove', event => {
  if (!stroke || !event.isPrimary) return;
  addPoints(event);
  draw(paper);
  ask(false);
});
for (const end of ['pointerup', 'pointercancel']) paper.addEventListener(end, () => {
  if (!stroke) return;
  stroke = null;
  ask(true);
});

function undo() {
  if (!past.length || stroke) return;
  picture = past.pop();
  paint();
  ask(true);
}

function clear() {
  if (empty() || stroke) return;
  change({ strokes: [], photo: null });
  ask(true);
}

document.addEventListener('keydown', event => {
  if ((event.ctrlKey || event.metaKey) && !event.shiftKey && event.key.toLowerCase() === 'z') { event.preventDefault(); undo(); }
  if (event.key === 'Escape' || event.key === 'Delete') clear();
});
document.addEventListener('paste', event => usePhoto(event.clipboardData.files[0]));
document.addEventListener('dragover', event => { event.preventDefault(); $('stage').classList.add('over'); });
document.addEventListener('dragleave', event => { if (!event.relatedTarget) $('stage').classList.remove('over'); });
document.addEventListener('drop', event => { event.preventDefault(); $('stage').classList.remove('over'); usePhoto(event.dataTransfer.files[0]); });
for (const [button, input] of [['choose', 'file'], ['take', 'camera']]) {
  $(button).addEventListener('click', () => $(input).click());
  $(input).addEventListener('change', () => { usePhoto($(input).files[0]); $(input).value = ''; });
}
$('undo').addEventListener('click', undo);
$('clear').addEventListener('click', clear);
$('download').addEventListener('click', download);
$('forget').addEventListener('click', () => keep([]));
$('several').addEventListener('change', () => { paint(); ask(true); });

$('take').hidden = !navigator.maxTouchPoints;
new ResizeObserver(() => {
  paper.width = paper.height = Math.round(paper.clientWidth * devicePixelRatio);
  paint();
}).observe(paper);
show(null);
lookAgain();
