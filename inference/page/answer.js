// Shows an answer of the server: the digits, their probabilities, boxes and pictures, and warnings.
// Pictures of other things are shown as one digit, which has a label.
// An answer is {digits, segmented, warnings, model_version, upload}.

import { byId, create, isSegmenting, percent } from './dom.js';

const barRows = Array.from({ length: 10 }, createBar);
const nameOf = digit => digit.label ?? digit.prediction;

// `final` is false while the pen is down: then the answer is not spoken.
export function showAnswer(answer, final) {
  const digits = answer?.digits ?? [];
  byId('error').hidden = true;
  byId('digit').textContent = digits.map(nameOf).join(digits[0]?.label ? ' ' : '') || '?';
  byId('digit').classList.toggle('none', !answer);
  byId('sure').textContent = answer ? describeConfidence(digits) : '';
  if (final) byId('spoken').textContent = answer ? describeAnswer(digits) : '';
  showWarnings(answer?.warnings ?? []);
  showModelInputs(digits, answer?.segmented);
  showBars(isSegmenting() ? null : digits[0]);
  showBoxes(answer);
  byId('bars').hidden = isSegmenting();
}

export function showError(text) {
  byId('error').textContent = text;
  byId('error').hidden = false;
}

function describeConfidence(digits) {
  const lowest = percent(Math.min(...digits.map(digit => digit.confidence)));
  return digits.length > 1 ? `lowest confidence: ${lowest}` : `${lowest} sure`;
}

function describeAnswer(digits) {
  return `${digits.map(nameOf).join(' ')}, ${describeConfidence(digits)}`;
}

function showWarnings(warnings) {
  byId('warnings').hidden = !warnings.length;
  byId('warnings').replaceChildren(...warnings.map(text => create('li', { textContent: text })));
}

function showModelInputs(digits, segmented) {
  const single = segmented ? [] : digits, several = segmented ? digits : [];
  byId('input').replaceChildren(...single.map(({ image }) => createFigure(image, 'what the model sees')));
  byId('inputs').replaceChildren(...several.map(
    digit => createFigure(digit.image, `${nameOf(digit)}: ${percent(digit.confidence)}`)));
}

function createFigure(image, caption) {
  const figure = document.createElement('figure');
  figure.append(
    create('img', { src: image, width: 28, height: 28, alt: 'The 28 by 28 pixels that the model gets' }),
    create('figcaption', { textContent: caption }));
  return figure;
}

function createBar() {
  const row = document.createElement('li');
  const bar = create('div', { role: 'meter', ariaValueMin: 0, ariaValueMax: 1 });
  bar.append(document.createElement('i'));
  row.append(document.createElement('span'), bar, document.createElement('span'));
  byId('bars').append(row);
  return row;
}

// `classes` has ten names, or none for digits.
export function nameBars(classes) {
  barRows.forEach(({ children: [name, bar] }, i) => {
    name.textContent = classes[i] ?? i;
    bar.ariaLabel = classes[i] ?? `Digit ${i}`;
  });
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
  byId('boxes').replaceChildren(...(bitmap ? answer.digits : []).map(digit => {
    const [x, y, width, height] = digit.box, element = document.createElement('b');
    element.dataset.digit = nameOf(digit);
    element.style.left = share(x + (side - bitmap.width) / 2);
    element.style.top = share(y + (side - bitmap.height) / 2);
    element.style.width = share(width);
    element.style.height = share(height);
    return element;
  }));
}
