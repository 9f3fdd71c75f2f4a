// The formats of the downloaded corrections: IDX, which is MNIST's own, gzip and tar.
// Contents are given and returned as bytes.

export function idxHeader(...numbers) {
  const view = new DataView(new ArrayBuffer(4 * numbers.length));
  numbers.forEach((number, i) => view.setUint32(4 * i, number)); // big-endian
  return view;
}

export async function gzip(parts) {
  const stream = new Blob(parts).stream().pipeThrough(new CompressionStream('gzip'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Returns the parts of an archive of files, which are given as {name: bytes}.
export function tar(files) {
  const entries = Object.entries(files).flatMap(([name, content]) => tarEntry(name, content));
  return [...entries, new Uint8Array(1024)];
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
