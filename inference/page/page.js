// The page: draw a digit or choose a picture, see what the model recognizes, and correct it.
// This module asks the server, and connects the other modules and the events that start it all.

import { nameBars, showAnswer, showError } from './answer.js';
import { connectCorrections, nameLabels, showCorrections } from './corrections.js';
import { byId, isSegmenting } from './dom.js';
import { choosePhoto, clear, connectPicture, isEmpty, makeUpload, paint, setHint, undo } from './picture.js';
import { checkServer, isServerAway, noticeModel, showAway, watchServer } from './server.js';

const ASK_INTERVAL = 150; // milliseconds

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
  // Relative, so that the page works under any path.
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

function showFailure(status, error) {
  if (status === 503) {
    show(null, false);
    return showAway(error);
  }
  reportError(error);
  checkServer(); // It may be away, or have another kind of model.
}

function reportError(text) {
  show(null, false);
  showError(text);
}

function show(answer, final) {
  showAnswer(answer, final);
  showCorrections(answer?.digits[0].image);
  if (answer) noticeModel(answer.model_version);
}

// `model` is its metadata, null until it is known: one of digits has no classes.
function showKind(model) {
  const classes = JSON.parse(model?.classes ?? '[]'), whole = model?.reading === 'whole';
  nameBars(classes);
  nameLabels(model && classes);
  document.body.classList.toggle('named', classes.length);
  document.title = byId('title').textContent = whole ? 'Upload a picture' : 'Draw a digit';
  byId('when').textContent = whole ? '' : ' while you draw';
  byId('what').textContent = classes.length ? 'answer' : 'digit';
  setHint(whole ? 'Drop, paste or upload a picture' : 'Draw here, or drop, paste or upload a picture');
  byId('several').parentElement.hidden = whole;
  if (whole && isSegmenting()) byId('several').click();
}

function takeFile(file) {
  if (file) choosePhoto(file);
  else reportError('That is not a picture file.');
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
  takeFile(event.dataTransfer.files[0]);
}

function connectFileInput(button, input) {
  byId(button).addEventListener('click', () => byId(input).click());
  byId(input).addEventListener('change', () => {
    takeFile(byId(input).files[0]);
    byId(input).value = ''; // So that choosing the same file again is a change.
  });
}

document.addEventListener('keydown', pressKey);
document.addEventListener('paste', event => takeFile(event.clipboardData.files[0]));
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
byId('several').addEventListener('change', () => {
  paint();
  ask(true);
});

byId('take').hidden = !navigator.maxTouchPoints;
connectPicture(ask);
connectCorrections(reportError);
show(null, false);
showKind(null);
watchServer(() => ask(true), showKind);
