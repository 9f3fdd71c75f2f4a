// The page: draw a digit or choose a picture, see what the model recognizes, and correct it.
//
// In the order of the data: picture, upload, request, answer, corrections, state of the server, and
// at the end the events that start it all. URLs are relative, so that it works under any path.
'use strict';

const UPLOAD_SIDE = 280; // pixels, the same for every screen
const LARGE_FILE = 2 * 2 ** 20, LARGE_SIDE = 2000; // bytes and pixels, from which a photo is reduced
const ASK_INTERVAL = 150, RETRY_INTERVAL = 3000; // milliseconds
const STORAGE_KEY = 'mnist-corrections';

const byId = id => document.getElementById(id);
const create = (tag, properties) => Object.assign(document.createElement(tag), properties);
const percent = probability => probability > 0.999 ? '> 99.9%' : `${(100 * probability).toFixed(1)}%`;
const isSegmenting = () => byId('several').checked;

// The picture: strokes, which are lists of [x, y] from 0 to 1, or one photo {blob, name, bitmap}.
let picture = { strokes: [], photo: null };
let currentStroke = null;
const undoHistory = [];
const isEmpty = () => !picture.photo && !picture.strokes.length;

function replacePicture(next) {
  undoHistory.push(picture);
  picture = next;
  paint();
}

function undo() {
  if (!undoHistory.length || currentStroke) return;
  picture = undoHistory.pop();
  paint();
  ask(true);
}

function clear() {
  if (isEmpty() || currentStroke) return;
  replacePicture({ strokes: [], photo: null });
  ask(true);
}

function startStroke(event) {
  if (!event.isPrimary || event.button) return;
  byId('paper').setPointerCapture(event.pointerId);
  currentStroke = [];
  addPoints(event);
  replacePicture({ strokes: [...picture.strokes, currentStroke], photo: null });
}

function continueStroke(event) {
  if (!currentStroke || !event.isPrimary) return;
  addPoints(event);
  drawPicture(byId('paper'));
  ask(false);
}

function endStroke(event) {
  if (!currentStroke || !event.isPrimary) return;
  currentStroke = null;
  ask(true);
}

function addPoints(event) {
  const { left, top, width, height } = byId('paper').getBoundingClientRect();
  const coalesced = event.getCoalescedEvents?.() ?? [];
  for (const { clientX, clientY } of coalesced.length ? coalesced : [event]) {
    currentStroke.push([(clientX - left) / width, (clientY - top) / height]);
  }
}

function paint() {
  const photo = picture.photo;
  byId('stage').classList.toggle('photo', Boolean(photo));
  byId('hint').hidden = photo ? Boolean(photo.bitmap) : !isEmpty();
  byId('hint').textContent = photo
    ? `${photo.name} (this browser cannot display it)`
    : 'Draw here, or drop, paste or upload a picture';
  byId('undo').disabled = !undoHistory.length;
  byId('clear').disabled = isEmpty();
  drawPicture(byId('paper'));
}

function drawPicture(canvas) {
  const context = canvas.getContext('2d');
  context.clearRect(0, 0, canvas.width, canvas.height);
  if (picture.photo?.bitmap) drawPhoto(context, picture.photo.bitmap, canvas.width);
  context.lineWidth = canvas.width * (isSegmenting() ? 0.035 : 0.065);
  context.lineCap = context.lineJoin = 'round';
  for (const stroke of picture.strokes) drawStroke(context, stroke, canvas.width);
}

function drawPhoto(context, bitmap, side) {
  const scale = side / Math.max(bitmap.width, bitmap.height);
  const width = bitmap.width * scale, height = bitmap.height * scale;
  context.drawImage(bitmap, (side - width) / 2, (side - height) / 2, width, height);
}

// The curve goes through the middle between every two points, which smooths it.
function drawStroke(context, stroke, side) {
  const points = stroke.map(([x, y]) => [x * side, y * side]);
  const [lastX, lastY] = points.at(-1);
  context.beginPath();
  context.moveTo(...points[0]);
  for (let i = 1; i < points.length - 1; i++) {
    const [x, y] = points[i], [nextX, nextY] = points[i + 1];
    context.quadraticCurveTo(x, y, (x + nextX) / 2, (y + nextY) / 2);
  }
  context.lineTo(lastX + 0.01, lastY); // A line of length 0 is not drawn, but a tap should make a dot.
  context.stroke();
}

async function choosePhoto(file) {
  if (!file) return showError('That is not a picture file.');
  const bitmap = await decodePhoto(file);
  const name = file.name || 'pasted picture';
  const photo = bitmap && file.size > LARGE_FILE ? await reducePhoto(bitmap) : { blob: file, bitmap };
  replacePicture({ strokes: [], photo: { ...photo, name } });
  ask(true);
}

// Returns null for a format that the browser does not know; the server may know it.
async function decodePhoto(file) {
  try {
    return await createImageBitmap(file);
  } catch {
    return null;
  }
}

// The server limits the size of a request, and photos from a phone can exceed it.
async function reducePhoto(original) {
  const scale = Math.min(1, LARGE_SIDE / Math.max(original.width, original.height));
  const bitmap = create('canvas', { width: original.width * scale, height: original.height * scale });
  bitmap.getContext('2d').drawImage(original, 0, 0, bitmap.width, bitmap.height);
  addWhiteBackground(bitmap);
  return { blob: await encode(bitmap, 'image/jpeg', 0.9), bitmap };
}

// Returns {blob, name, bitmap}, where bitmap has the size in which the server gives boxes.
async function makeUpload() {
  if (picture.photo) return picture.photo;
  const bitmap = create('canvas', { width: UPLOAD_SIDE, height: UPLOAD_SIDE });
  drawPicture(bitmap);
  addWhiteBackground(bitmap);
  return { blob: await encode(bitmap, 'image/png'), name: 'drawing.png', bitmap };
}

function addWhiteBackground(canvas) {
  const context = canvas.getContext('2d');
  context.globalCompositeOperation = 'destination-over';
  context.fillStyle = '#fff';
  context.fillRect(0, 0, canvas.width, canvas.height);
}

function encode(canvas, type, quality) {
  return new Promise(resolve => canvas.toBlob(resolve, type, quality));
}

// One request at a time; a new one cancels the previous one.
let requestInProgress = null, askedAt = 0;

// `final` is false while the pen is down: then requests are limited in number, and may fail.
async function ask(final) {
  const tooSoon = requestInProgress || performance.now() - askedAt < ASK_INTERVAL;
  if (!final && (tooSoon || isServerAway())) return;
  requestInProgress?.abort();
  requestInProgress = null;
  setBusy(!isEmpty());
  if (isEmpty()) return show(null, true);

  const request = requestInProgress = new AbortController();
  askedAt = performance.now();
  const segment = isSegmenting();
  const upload = await makeUpload();
  const { status, answer } = await predict(upload, segment, request.signal);
  if (request.signal.aborted) return;
  requestInProgress = null;
  setBusy(false);
  if (status === 200) {
    show({ ...answer, digits: segment ? answer.digits : [answer], segmented: segment, upload }, final);
  } else if (final) {
    showFailure(status, answer.error);
  }
}

// Returns the status, or 0 if there is no answer, and the answer.
async function predict(upload, segment, signal) {
  const form = new FormData();
  form.append('file', upload.blob, upload.name);
  const url = `predict?details=1&image=1&segment=${Number(segment)}`;
  let response;
  try {
    response = await fetch(url, { method: 'POST', body: form, signal });
  } catch {
    return { status: 0, answer: { error: 'The server did not answer.' } };
  }
  try {
    return { status: response.status, answer: await response.json() };
  } catch { // For example the HTML page of a proxy.
    return { status: 0, answer: { error: `The server answered ${response.status} without JSON.` } };
  }
}

function setBusy(busy) {
  byId('bars').setAttribute('aria-busy', busy);
}

// The answer on the page: {digits, segmented, warnings, model_version, upload}, or null.
let shown = null;
const barRows = Array.from({ length: 10 }, (_, digit) => createBar(digit));

function showFailure(status, error) {
  if (status === 503) {
    show(null, false);
    return showAway(error);
  }
  showError(error);
  if (status === 0) checkServer();
}

function showError(text) {
  show(null, false);
  byId('error').textContent = text;
  byId('error').hidden = false;
}

function show(answer, final) {
  shown = answer;
  const digits = answer?.digits ?? [];
  byId('error').hidden = true;
  byId('digit').textContent = digits.map(digit => digit.prediction).join('') || '?';
  byId('digit').classList.toggle('none', !answer);
  byId('sure').textContent = answer ? describeConfidence(digits) : '';
  if (final) byId('spoken').textContent = answer ? describeAnswer(digits) : '';
  showWarnings(answer?.warnings ?? []);
  showModelInputs(digits, answer?.segmented);
  showBars(isSegmenting() ? null : digits[0]);
  showBoxes(answer);
  showCorrections();
  byId('bars').hidden = byId('corrections').hidden = isSegmenting();
  if (answer && answer.model_version !== modelVersion) checkServer();
}

function describeConfidence(digits) {
  const lowest = percent(Math.min(...digits.map(digit => digit.confidence)));
  return digits.length > 1 ? `lowest confidence: ${lowest}` : `${lowest} sure`;
}

function describeAnswer(digits) {
  return `${digits.map(digit => digit.prediction).join(' ')}, ${describeConfidence(digits)}`;
}

function showWarnings(warnings) {
  byId('warnings').hidden = !warnings.length;
  byId('warnings').replaceChildren(...warnings.map(text => create('li', { textContent: text })));
}

function showModelInputs(digits, segmented) {
  const single = segmented ? [] : digits, several = segmented ? digits : [];
  byId('input').replaceChildren(...single.map(({ image }) => createFigure(image, 'what the model sees')));
  byId('inputs').replaceChildren(...several.map(
    ({ image, prediction, confidence }) => createFigure(image, `${prediction}: ${percent(confidence)}`)));
}

function createFigure(image, caption) {
  const figure = document.createElement('figure');
  figure.append(
    create('img', { src: image, width: 28, height: 28, alt: 'The 28 by 28 pixels that the model gets' }),
    create('figcaption', { textContent: caption }));
  return figure;
}

function createBar(digit) {
  const row = document.createElement('li');
  const bar = create('div', { role: 'meter', ariaLabel: `Digit ${digit}`, ariaValueMin: 0, ariaValueMax: 1 });
  bar.append(document.createElement('i'));
  row.append(create('span', { textContent: digit }), bar, document.createElement('span'));
  byId('bars').append(row);
  return row;
}

function showBars(digit) {
  barRows.forEach((row, i) => {
    const [, bar, text] = row.children, probability = digit?.probabilities[i] ?? 0;
    row.classList.toggle('best', i === digit?.prediction);
    bar.firstChild.style.transform = `translateX(${100 * (probability - 1)}%)`;
    bar.ariaValueNow = probability;
    bar.ariaValueText = percent(probability);
    text.textContent = digit ? percent(probability) : '';
  });
}

// Boxes are in pixels of the upload, which is centred on the square paper.
function showBoxes(answer) {
  const bitmap = answer?.segmented && answer.upload.bitmap;
  const side = Math.max(bitmap?.width, bitmap?.height);
  const share = pixels => `${100 * pixels / side}%`;
  byId('boxes').replaceChildren(...(bitmap ? answer.digits : []).map(({ prediction, box }) => {
    const [x, y, width, height] = box, element = document.createElement('b');
    element.dataset.digit = prediction;
    element.style.left = share(x + (side - bitmap.width) / 2);
    element.style.top = share(y + (side - bitmap.height) / 2);
    element.style.width = share(width);
    element.style.height = share(height);
    return element;
  }));
}

// A correction is {label, image}, and is kept in the browser.
const labelButtons = Array.from({ length: 10 }, (_, label) => createLabelButton(label));

function loadCorrections() {
  try {
    return JSON.parse(localStorage.getItem(STORAGE_KEY)) ?? [];
  } catch { // Storage is disabled, or holds something else.
    return [];
  }
}

function saveCorrections(corrections) {
  try {
    localStorage.setItem(STORAGE_KEY, JSON.stringify(corrections));
  } catch {
    return showError('The correction was not saved: the storage of this browser is full or disabled.');
  }
  showCorrections();
}

function createLabelButton(label) {
  const button = create('button', { type: 'button', textContent: label });
  button.addEventListener('click', () => {
    const image = shown.digits[0].image;
    saveCorrections([...loadCorrections().filter(other => other.image !== image), { label, image }]);
  });
  byId('labels').append(button);
  return button;
}

function showCorrections() {
  const corrections = loadCorrections(), count = corrections.length;
  const image = shown?.digits[0].image;
  const given = corrections.find(correction => correction.image === image)?.label;
  byId('count').textContent = count
    ? `${count} ${count === 1 ? 'correction' : 'corrections'} saved in this browser`
    : 'Corrections are saved in this browser only.';
  byId('download').hidden = byId('delete').hidden = !count;
  labelButtons.forEach((button, label) => {
    button.disabled = !image;
    button.ariaPressed = label === given;
  });
}

async function downloadCorrections() {
  const files = await encodeCorrections(loadCorrections());
  const parts = Object.entries(files).flatMap(([name, content]) => tarEntry(name, content));
  const archive = new Blob([...parts, new Uint8Array(1024)], { type: 'application/x-tar' });
  const url = URL.createObjectURL(archive);
  create('a', { href: url, download: 'mnist-corrections.tar' }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000); // The browser may ask where to save the file first.
}

// IDX is MNIST's own format, with MNIST's own names, so that programs that read MNIST read these files.
async function encodeCorrections(corrections) {
  const images = await Promise.all(corrections.map(({ image }) => decodePixels(image)));
  const labels = new Uint8Array(corrections.map(({ label }) => label));
  return {
    'train-images-idx3-ubyte.gz': await gzip([idxHeader(0x803, images.length, 28, 28), ...images]),
    'train-labels-idx1-ubyte.gz': await gzip([idxHeader(0x801, labels.length), labels]),
  };
}

async function decodePixels(image) {
  const element = create('img', { src: image });
  await element.decode();
  const context = create('canvas', { width: 28, height: 28 }).getContext('2d');
  context.drawImage(element, 0, 0);
  return context.getImageData(0, 0, 28, 28).data.filter((_, i) => i % 4 === 0); // The red of RGBA.
}

function idxHeader(...numbers) {
  const view = new DataView(new ArrayBuffer(4 * numbers.length));
  numbers.forEach((number, i) => view.setUint32(4 * i, number)); // big-endian
  return view;
}

async function gzip(parts) {
  const stream = new Blob(parts).stream().pipeThrough(new CompressionStream('gzip'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// A file in a tar archive: a ustar header (POSIX.1, pax, "ustar Interchange Format") and the content,
// padded to blocks of 512 bytes. Two blocks of zeros end an archive.
function tarEntry(name, content) {
  const header = new Uint8Array(512);
  const write = (offset, text) => header.set(new TextEncoder().encode(text), offset);
  const octal = (number, digits) => number.toString(8).padStart(digits, '0');
  write(0, name);
  write(100, '0000644\0'); // mode
  write(108, '0000000\0'); // owner
  write(116, '0000000\0'); // group
  write(124, octal(content.length, 11));
  write(136, octal(Math.floor(Date.now() / 1000), 11)); // time of modification
  write(148, '        '); // The checksum is computed with spaces in its own place.
  write(156, '0'); // a regular file
  write(257, 'ustar\x0000');
  write(148, `${octal(header.reduce((sum, byte) => sum + byte), 6)}\0`);
  return [header, content, new Uint8Array(-content.length & 511)];
}

let modelVersion = null, nextCheck = null;
const isServerAway = () => !byId('away').hidden;

async function checkServer() {
  // The notice moves the page, which must not happen under the pen.
  if (currentStroke) return checkLater();
  let ready, version;
  try {
    ready = await fetch('readyz');
    if (!ready.ok) return showAway((await ready.json()).error);
    version = await (await fetch('version')).json();
  } catch {
    return showAway('The server cannot be reached.');
  }
  showModel(version.model);
  if (!isServerAway()) return;
  byId('away').hidden = true;
  ask(true);
}

function checkLater() {
  clearTimeout(nextCheck);
  nextCheck = setTimeout(checkServer, RETRY_INTERVAL);
}

function showAway(reason) {
  byId('away').textContent = `${reason} Trying again every ${RETRY_INTERVAL / 1000} seconds.`;
  byId('away').hidden = false;
  checkLater();
}

function showModel(model) {
  modelVersion = model?.model_version;
  byId('model').textContent = model ? describeModel(model) : 'No model is loaded.';
}

function describeModel(model) {
  const nameOf = dataset => ({ mnist: 'MNIST', synthetic: 'synthetic digits' })[dataset] ?? dataset;
  const facts = [`Model ${model.model_version}`];
  if (model.parameters) facts.push(`${Number(model.parameters).toLocaleString('en')} parameters`);
  if (model.dataset) facts.push(`trained on ${nameOf(model.dataset)}`);
  if (model.test_accuracy) {
    const testSet = nameOf(model.test_dataset ?? model.dataset);
    facts.push(`${(100 * model.test_accuracy).toFixed(2)}% accuracy on test images of ${testSet}`);
  }
  const synthetic = model.dataset === 'synthetic'
    ? ' It was trained without any handwriting, only on digits drawn by a program: expect more mistakes.'
    : '';
  return `${facts.join(', ')}.${synthetic}`;
}

function pressKey(event) {
  const control = event.ctrlKey || event.metaKey;
  if (control && !event.shiftKey && event.key.toLowerCase() === 'z') {
    event.preventDefault();
    undo();
  }
  if (event.key === 'Escape' || event.key === 'Delete') clear();
}

function dropFile(event) {
  event.preventDefault();
  byId('stage').classList.remove('over');
  choosePhoto(event.dataTransfer.files[0]);
}

function connectFileInput(button, input) {
  byId(button).addEventListener('click', () => byId(input).click());
  byId(input).addEventListener('change', () => {
    choosePhoto(byId(input).files[0]);
    byId(input).value = ''; // So that choosing the same file again is a change.
  });
}

function resizePaper() {
  const paper = byId('paper');
  paper.width = paper.height = Math.round(paper.clientWidth * devicePixelRatio);
  paint();
}

byId('paper').addEventListener('pointerdown', startStroke);
byId('paper').addEventListener('pointermove', continueStroke);
byId('paper').addEventListener('pointerup', endStroke);
byId('paper').addEventListener('pointercancel', endStroke);
document.addEventListener('keydown', pressKey);
document.addEventListener('paste', event => choosePhoto(event.clipboardData.files[0]));
document.addEventListener('dragover', event => {
  event.preventDefault();
  byId('stage').classList.add('over');
});
document.addEventListener('dragleave', event => {
  if (!event.relatedTarget) byId('stage').classList.remove('over');
});
document.addEventListener('drop', dropFile);
connectFileInput('choose', 'file');
connectFileInput('take', 'camera');
byId('undo').addEventListener('click', undo);
byId('clear').addEventListener('click', clear);
byId('download').addEventListener('click', downloadCorrections);
byId('delete').addEventListener('click', () => saveCorrections([]));
byId('several').addEventListener('change', () => {
  paint();
  ask(true);
});

byId('take').hidden = !navigator.maxTouchPoints;
new ResizeObserver(resizePaper).observe(byId('paper'));
show(null, false);
checkServer();
