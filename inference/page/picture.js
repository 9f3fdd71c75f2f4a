// The picture: strokes drawn on the paper, or one photo. It can be changed, undone, painted on the
// paper, and encoded as the file that is sent to the server.

import { byId, create, isSegmenting } from './dom.js';

const UPLOAD_SIDE = 280; // pixels, the same for every screen
const LARGE_FILE = 2 * 2 ** 20, LARGE_SIDE = 2000; // bytes and pixels, from which a photo is reduced

// The strokes are lists of [x, y] from 0 to 1; the photo is {blob, name, bitmap}.
let picture = { strokes: [], photo: null };
let currentStroke = null;
const undoHistory = [];
let hint = '';
// Called after each change: with false while the pen is down, otherwise with true.
let onChange = null;

export const isEmpty = () => !picture.photo && !picture.strokes.length;
export const isDrawing = () => Boolean(currentStroke);

// Starts listening to the pen, the buttons, and changes of the size of the paper.
export function connectPicture(callback) {
  onChange = callback;
  const paper = byId('paper');
  paper.addEventListener('pointerdown', startStroke);
  paper.addEventListener('pointermove', continueStroke);
  paper.addEventListener('pointerup', endStroke);
  paper.addEventListener('pointercancel', endStroke);
  byId('undo').addEventListener('click', undo);
  byId('clear').addEventListener('click', clear);
  new ResizeObserver(resizePaper).observe(paper);
}

export function setHint(text) {
  hint = text;
  paint();
}

function replacePicture(next) {
  undoHistory.push(picture);
  picture = next;
  paint();
}

export function undo() {
  if (!undoHistory.length || currentStroke) return;
  picture = undoHistory.pop();
  paint();
  onChange(true);
}

export function clear() {
  if (isEmpty() || currentStroke) return;
  replacePicture({ strokes: [], photo: null });
  onChange(true);
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
  drawOnPaper();
  onChange(false);
}

function endStroke(event) {
  if (!currentStroke || !event.isPrimary) return;
  currentStroke = null;
  onChange(true);
}

function addPoints(event) {
  const { left, top, width, height } = byId('paper').getBoundingClientRect();
  const coalesced = event.getCoalescedEvents?.() ?? [];
  for (const { clientX, clientY } of coalesced.length ? coalesced : [event]) {
    currentStroke.push([(clientX - left) / width, (clientY - top) / height]);
  }
}

function resizePaper() {
  const paper = byId('paper');
  paper.width = paper.height = Math.round(paper.clientWidth * devicePixelRatio);
  paint();
}

export function paint() {
  const photo = picture.photo;
  byId('stage').classList.toggle('photo', Boolean(photo));
  byId('hint').hidden = photo ? Boolean(photo.bitmap) : !isEmpty();
  byId('hint').textContent = photo
    ? `${photo.name} (this browser cannot display it)`
    : hint;
  byId('undo').disabled = !undoHistory.length;
  byId('clear').disabled = isEmpty();
  drawOnPaper();
}

function drawOnPaper() {
  const paper = byId('paper');
  paper.getContext('2d').clearRect(0, 0, paper.width, paper.height);
  drawPicture(paper);
}

function drawPicture(canvas) {
  const context = canvas.getContext('2d');
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

export async function choosePhoto(file) {
  const bitmap = await decodePhoto(file);
  const name = file.name || 'pasted picture';
  const photo = bitmap && file.size > LARGE_FILE ? await reducePhoto(bitmap) : { blob: file, bitmap };
  replacePicture({ strokes: [], photo: { ...photo, name } });
  onChange(true);
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
  const bitmap = createWhiteCanvas(original.width * scale, original.height * scale);
  bitmap.getContext('2d').drawImage(original, 0, 0, bitmap.width, bitmap.height);
  return { blob: await encode(bitmap, 'image/jpeg', 0.9), bitmap };
}

// Returns {blob, name, bitmap}, where bitmap has the size in which the server gives boxes.
export async function makeUpload() {
  if (picture.photo) return picture.photo;
  const bitmap = createWhiteCanvas(UPLOAD_SIDE, UPLOAD_SIDE);
  drawPicture(bitmap);
  return { blob: await encode(bitmap, 'image/png'), name: 'drawing.png', bitmap };
}

// An opaque canvas is encoded without the alpha channel, which the server would have to decode.
function createWhiteCanvas(width, height) {
  const canvas = create('canvas', { width, height });
  const context = canvas.getContext('2d', { alpha: false });
  context.fillStyle = '#fff';
  context.fillRect(0, 0, width, height);
  return canvas;
}

function encode(canvas, type, quality) {
  return new Promise(resolve => canvas.toBlob(resolve, type, quality));
}
