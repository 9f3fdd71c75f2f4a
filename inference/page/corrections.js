// Corrections of answers, which are kept in the browser: a correction is {label, image}. Those of models
// with other classes are kept apart.
// They are downloaded as files in MNIST's format, for training.

import { gzip, idxHeader, tar } from './archive.js';
import { byId, create, isSegmenting } from './dom.js';

const labelButtons = Array.from({ length: 10 }, (_, label) => createLabelButton(label));
let classes = null; // As given to nameLabels.
let currentImage; // The picture in the answer, as a data: URI.
// Called with a sentence if a correction cannot be saved.
let onError = null;

export function connectCorrections(callback) {
  onError = callback;
  byId('download').addEventListener('click', downloadCorrections);
  byId('delete').addEventListener('click', () => saveCorrections([]));
}

// `names` has ten names, none for digits; it is null until the model is known.
export function nameLabels(names) {
  classes = names;
  labelButtons.forEach((button, label) => button.textContent = names?.[label] ?? label);
  showCorrections(currentImage);
}

const storageKey = () => ['mnist-corrections', ...classes ?? []].join(' ');

function loadCorrections() {
  try {
    return JSON.parse(localStorage.getItem(storageKey())) ?? [];
  } catch { // Storage is disabled, or holds something else.
    return [];
  }
}

function saveCorrections(corrections) {
  try {
    localStorage.setItem(storageKey(), JSON.stringify(corrections));
  } catch {
    return onError('The correction was not saved: the storage of this browser is full or disabled.');
  }
  showCorrections(currentImage);
}

function createLabelButton(label) {
  const button = create('button', { type: 'button' });
  button.addEventListener('click', () => {
    const others = loadCorrections().filter(({ image }) => image !== currentImage);
    saveCorrections([...others, { label, image: currentImage }]);
  });
  byId('labels').append(button);
  return button;
}

// `image` is undefined if no answer is shown.
export function showCorrections(image) {
  currentImage = image;
  const corrections = loadCorrections(), count = corrections.length;
  const given = corrections.find(correction => correction.image === image)?.label;
  byId('count').textContent = count
    ? `${count} ${count === 1 ? 'correction' : 'corrections'} saved in this browser`
    : 'Corrections are saved in this browser only.';
  byId('download').hidden = byId('delete').hidden = !count;
  labelButtons.forEach((button, label) => {
    button.disabled = !image || !classes;
    button.ariaPressed = label === given;
  });
  byId('corrections').hidden = isSegmenting();
}

async function downloadCorrections() {
  const files = await encodeCorrections(loadCorrections());
  const url = URL.createObjectURL(new Blob(tar(files), { type: 'application/x-tar' }));
  create('a', { href: url, download: 'mnist-corrections.tar' }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000); // The browser may ask where to save the file first.
}

// IDX is MNIST's own format, with MNIST's own names, so that programs that read MNIST read these files.
async function encodeCorrections(corrections) {
  const images = await Promise.all(corrections.map(({ image }) => decodePixels(image)));
  const labels = new Uint8Array(corrections.map(({ label }) => label));
  const names = new TextEncoder().encode(JSON.stringify(classes));
  return {
    'train-images-idx3-ubyte.gz': await gzip([idxHeader(0x803, images.length, 28, 28), ...images]),
    'train-labels-idx1-ubyte.gz': await gzip([idxHeader(0x801, labels.length), labels]),
    ...classes.length && { 'classes.json': names },
  };
}

async function decodePixels(image) {
  const element = create('img', { src: image });
  await element.decode();
  const context = create('canvas', { width: 28, height: 28 }).getContext('2d');
  context.drawImage(element, 0, 0);
  return context.getImageData(0, 0, 28, 28).data.filter((_, i) => i % 4 === 0); // The red of RGBA.
}
