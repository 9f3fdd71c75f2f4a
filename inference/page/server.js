// The state of the server: whether it can answer, and which model it has loaded.
// It is checked at the start, and every few seconds while the server is away.

import { byId } from './dom.js';
import { isDrawing } from './picture.js';

const RETRY_INTERVAL = 3000; // milliseconds

let modelVersion = null, nextCheck = null;
// Called when the server can answer again, and with the metadata of the model, null if there is none.
let onReturn = null, onModel = null;

export const isServerAway = () => !byId('away').hidden;

export function watchServer(returnCallback, modelCallback) {
  onReturn = returnCallback;
  onModel = modelCallback;
  checkServer();
}

// If an answer has another version than the model described on the page, the model was replaced.
export function noticeModel(version) {
  if (version !== modelVersion) checkServer();
}

export async function checkServer() {
  // The notice moves the page, which must not happen under the pen.
  if (isDrawing()) return checkLater();
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
  onReturn();
}

function checkLater() {
  clearTimeout(nextCheck);
  nextCheck = setTimeout(checkServer, RETRY_INTERVAL);
}

export function showAway(reason) {
  byId('away').textContent = `${reason} Trying again every ${RETRY_INTERVAL / 1000} seconds.`;
  byId('away').hidden = false;
  checkLater();
}

function showModel(model) {
  modelVersion = model?.model_version;
  byId('model').textContent = model ? describeModel(model) : 'No model is loaded.';
  onModel(model);
}

function describeModel(model) {
  const names = { mnist: 'MNIST', synthetic: 'synthetic digits', 'fashion-mnist': 'Fashion-MNIST' };
  const nameOf = dataset => names[dataset] ?? dataset;
  const facts = [`Model ${model.model_version}`];
  if (model.parameters) facts.push(`${Number(model.parameters).toLocaleString('en')} parameters`);
  if (model.dataset) facts.push(`trained on ${nameOf(model.dataset)}`);
  if (model.test_accuracy && model.dataset) {
    const accuracy = (100 * model.test_accuracy).toFixed(2);
    facts.push(`${accuracy}% accuracy on test images of ${nameOf(model.dataset)}`);
  }
  const synthetic = model.dataset === 'synthetic'
    ? ' It was trained without any handwriting, only on digits drawn by a program: expect more mistakes.'
    : '';
  return `${facts.join(', ')}.${synthetic}`;
}
