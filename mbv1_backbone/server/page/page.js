// The page of mbv1 serve: it asks the service's REST routes, and keeps nothing but a key, for this tab.

const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

/** An element with properties, `data`, `on` (listeners) and children. */
function el(tag, { data, on, ...properties } = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  Object.assign(node.dataset, data);
  for (const [event, listener] of Object.entries(on ?? {})) node.addEventListener(event, listener);
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

function icon(name) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS(svg.namespaceURI, 'use');
  use.setAttribute('href', `#i-${name}`);
  svg.append(use);
  return svg;
}

const count = (number, one, several = `${one}s`) => `${number.toLocaleString('en')} ${number === 1 ? one : several}`;
const share = (value) => (value === null ? '–' : `${+(100 * value).toPrecision(value < 0.1 ? 2 : 3)} %`);
const short = (value) => (value === null || value === undefined ? '–' : value.toFixed(2));
const bytes = (size) => (size < 1e6 ? `${Math.ceil(size / 1e3)} kB` : `${(size / 1e6).toFixed(1)} MB`);
const sleep = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));

function tell(text, isError = false) {
  const status = $('#status');
  if (status.matches(':popover-open')) status.hidePopover();
  status.showPopover(); // above an open dialog, too
  status.textContent = text;
  status.classList.toggle('error', isError);
  clearTimeout(tell.timer);
  tell.timer = setTimeout(() => status.hidePopover(), isError ? 9000 : 4000);
}

/** Do something that may be refused; the refusal is told. */
const attempt = (action) => async (event) => {
  event?.preventDefault?.();
  try {
    return await action(event);
  } catch (error) {
    if (!(error instanceof Refusal)) console.error(error);
    tell(error.message, true);
    return undefined;
  }
};

// --- the service

class Refusal extends Error {
  constructor(status, body) {
    super(body?.message ?? `the service answers with HTTP status ${status}`);
    Object.assign(this, { status, code: body?.code, failures: body?.failures ?? [] });
  }
}

const KEY = 'mbv1-key';

/** The answer of a route: JSON, text or a Blob. Asks for a key where one is needed, waits where the service is busy. */
async function ask(path, { query = {}, json, form, method, as = 'json' } = {}) {
  const values = String(new URLSearchParams(Object.entries(query).filter(([, value]) => value !== undefined && value !== null)));
  const url = `v1/${path}${values && `?${values}`}`;
  const isChange = json !== undefined || method === 'DELETE';
  for (let left = 4; ; left -= 1) {
    const key = sessionStorage.getItem(KEY);
    const headers = key ? { Authorization: `Bearer ${key}` } : {};
    if (json !== undefined) headers['Content-Type'] = 'application/json';
    let answer;
    try {
      const body = json === undefined ? form : JSON.stringify(json);
      answer = await fetch(url, { method: method ?? (body ? 'POST' : 'GET'), headers, body, cache: 'no-store' });
    } catch {
      throw new Refusal(0, { message: 'the service does not answer: is it running?' });
    }
    if (answer.ok) return answer[as]();
    const refusal = new Refusal(answer.status, (await answer.json().catch(() => null))?.error);
    if (answer.status === 401) {
      await askForKey(key ? 'This key is not known.' : '', key);
    } else if ((answer.status === 503 || answer.status === 429) && left > 0 && !isChange) {
      await sleep(Math.min(5, Number(answer.headers.get('Retry-After')) || 1));
    } else {
      throw refusal;
    }
  }
}

function formOf(file, fields = {}) {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  form.append('images', file, file.name ?? 'camera.jpg');
  return form;
}

/** All pages of a list. */
async function* pages(path, query, field) {
  for (let after; after !== null; ) {
    const answer = await ask(path, { query: { ...query, after } });
    yield answer[field];
    after = answer.next;
  }
}

let asking = null; // one dialog for all that wait for a key

function askForKey(reason, refused) {
  if (sessionStorage.getItem(KEY) !== refused) return Promise.resolve(); // somebody has given another meanwhile
  asking ??= new Promise((done, fail) => {
    const dialog = $('#key-dialog');
    $('.error', dialog).textContent = reason;
    $('input', dialog).value = '';
    const given = (event) => {
      event.preventDefault();
      const key = $('input', dialog).value.trim();
      if (!/^[!-~]+$/.test(key)) { // a header cannot carry it
        $('.error', dialog).textContent = 'A key is of letters, digits and signs of ASCII, without spaces.';
        return;
      }
      sessionStorage.setItem(KEY, key);
      dialog.close('given');
    };
    $('form', dialog).addEventListener('submit', given);
    dialog.addEventListener(
      'close',
      () => {
        $('form', dialog).removeEventListener('submit', given);
        asking = null;
        showKey();
        if (dialog.returnValue === 'given') done();
        else fail(new Refusal(401, { message: 'the service asks for a key' }));
        dialog.returnValue = '';
      },
      { once: true },
    );
    if (!dialog.open) dialog.showModal();
  });
  return asking;
}

function showKey() {
  $('#key-button').hidden = sessionStorage.getItem(KEY) === null;
}

/** Show a name, of which the page cuts off what is too long; all of it is shown to who points at it. */
function showName(node, name) {
  Object.assign(node, { textContent: name, title: name });
}

/** Ask a question that must not be answered by chance. */
function sure(title, text, yes = 'Delete') {
  const dialog = $('#question');
  $('h2', dialog).textContent = title;
  $('p', dialog).textContent = text;
  $('[value=yes]', dialog).textContent = yes;
  dialog.returnValue = 'no';
  dialog.showModal();
  return new Promise((done) => {
    dialog.addEventListener('close', () => done(dialog.returnValue === 'yes'), { once: true });
  });
}

// --- what all views know

const service = { roles: {}, stats: null, networks: [] };

async function refreshStats() {
  service.stats = await ask('faces/stats');
}

async function refreshNames() {
  const { people } = await ask('faces/people', { query: { kind: 'named', limit: 1000 } });
  $('#names').replaceChildren(...people.map((person) => el('option', { value: person.identity })));
  return people;
}

const hueOf = (text) => [...text].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 360, 7);

function letter(name) {
  const box = el('span', { className: 'thumb letter', ariaHidden: 'true' }, [...name][0]?.toUpperCase() ?? '?');
  box.style.setProperty('--hue', hueOf(name));
  return box;
}

const thumbnails = new Map(); // id -> promise of an address, null where there is none

function thumbnailOf(id) {
  if (!thumbnails.has(id)) {
    const address = ask(`faces/entries/${id}/thumbnail`, { as: 'blob' }).then(URL.createObjectURL, () => {
      thumbnails.delete(id); // to be asked for again another time
      return null;
    });
    thumbnails.set(id, address);
  }
  return thumbnails.get(id);
}

const seen = new IntersectionObserver((changes) => {
  for (const { target, isIntersecting } of changes) {
    if (!isIntersecting) continue;
    seen.unobserve(target);
    target.look().catch(() => null); // the letter stays
  }
});

/** A face's picture, or the first letter of a name where the gallery has none; looked up when it is in sight. */
function thumb(name, find) {
  const node = letter(name);
  if (!service.stats?.entries) return node;
  node.look = async () => {
    const id = await find();
    const address = id ? await thumbnailOf(id) : null;
    if (address) node.replaceWith(el('img', { className: 'thumb', src: address, alt: '' }));
  };
  seen.observe(node);
  return node;
}

/** An entry of somebody that has a picture; earlier ones may have none. */
async function pictured(identity) {
  const { entries } = await ask('faces/entries', { query: { identity, limit: 20 } });
  return entries.find((entry) => entry.thumbnail)?.id;
}

// --- photographs: from files, the clipboard or a camera

/** One photograph of a view: a file, or the camera's frame that was answered last, with its answer. */
class Photo {
  constructor(file, media, name) {
    Object.assign(this, { file, media, name, picture: media, answer: null, seconds: null, reason: null });
    this.marks = el('div', { className: 'marks' });
    this.stage = el('div', { className: 'stage' }, media, this.marks);
    this.side = el('div', { className: 'side' }, el('p', { className: 'note' }, 'Asking…'));
    this.card = el('article', { className: 'photo card', ariaLabel: name }, this.stage, this.side);
  }

  static of(file) {
    const name = file.name || 'photograph';
    const image = el('img', { src: URL.createObjectURL(file), alt: `Photograph ${name}` });
    image.addEventListener('error', () => {
      image.replaceWith(el('p', { className: 'unseen' }, 'This browser cannot show this file.'));
    });
    return new Photo(file, image, name);
  }

  /** Put a node where its box is in the image. */
  place(node, [x1, y1, x2, y2]) {
    const { width, height } = this.answer;
    node.style.left = `${(100 * x1) / width}%`;
    node.style.top = `${(100 * y1) / height}%`;
    node.style.width = `${(100 * (x2 - x1)) / width}%`;
    node.style.height = `${(100 * (y2 - y1)) / height}%`;
    node.classList.toggle('low', y1 < 0.1 * height);
    node.classList.toggle('right', x1 > 0.6 * width);
    return node;
  }

  fail(reason) {
    Object.assign(this, { answer: null, reason });
    this.marks.replaceChildren();
    this.side.replaceChildren(el('h2', {}, this.name), el('p', { className: 'error' }, reason));
  }

  head(text) {
    const { width, height } = this.answer;
    const facts = [text, `${width} × ${height}`, `${Math.round(1000 * this.seconds)} ms`];
    return [el('h2', {}, this.name), el('p', { className: 'note' }, facts.join(' · '))];
  }

  forget() {
    if (this.media.src) URL.revokeObjectURL(this.media.src);
    this.card.remove();
  }
}

/** A view that takes photographs in and shows what the service says of them. */
class PhotoView {
  constructor(id, look, draw) {
    this.section = $(id);
    this.look = look; // (file) -> what the service says of the one image
    this.draw = draw; // (photo) -> shows it
    this.photos = [];
    this.camera = null;
    this.exact = null; // the least score until the slider is moved, whose steps are coarser
    this.score = $('.score', this.section);
    this.buildIntake();
    this.score.addEventListener('input', () => {
      this.exact = null;
      this.redraw();
    });
    $('.download', this.section).addEventListener('click', () => this.download());
    $('.clear', this.section).addEventListener('click', () => this.clear());
  }

  get lowest() {
    return this.exact ?? this.score.valueAsNumber;
  }

  buildIntake() {
    const files = el('input', { type: 'file', multiple: true, accept: 'image/*' });
    files.addEventListener('change', () => {
      this.take([...files.files]);
      files.value = '';
    });
    const drop = el('label', { className: 'drop' }, icon('upload'), el('span', {}, el('b', {}, 'Choose photographs'), ' or drop or paste them'), files);
    const intake = $('.intake', this.section);
    intake.append(drop);
    if (navigator.mediaDevices?.getUserMedia) {
      this.cameraButton = el('button', { type: 'button', className: 'camera', ariaPressed: 'false' }, icon('camera'), el('span', {}, 'Camera'));
      this.cameraButton.addEventListener('click', attempt(() => (this.camera ? this.stopCamera() : this.startCamera())));
      intake.append(this.cameraButton);
    }
    for (const event of ['dragenter', 'dragover', 'dragleave', 'drop']) {
      this.section.addEventListener(event, (dragged) => {
        dragged.preventDefault();
        drop.classList.toggle('over', event.startsWith('dragenter') || event === 'dragover');
        if (event === 'drop') this.take([...dragged.dataTransfer.files]);
      });
    }
  }

  /** Take files in; three are asked for at one time. */
  async take(files) {
    const photos = files.map(Photo.of);
    if (!photos.length) return;
    this.photos.unshift(...photos);
    $('.photos', this.section).prepend(...photos.map((photo) => photo.card));
    $('.bar', this.section).hidden = false;
    const waiting = [...photos];
    const work = async () => {
      for (let photo = waiting.shift(); photo; photo = waiting.shift()) {
        if (this.photos.includes(photo)) await this.ask(photo); // else it was cleared
      }
    };
    await Promise.all([work(), work(), work()]);
    const left = photos.filter((photo) => this.photos.includes(photo));
    if (left.length) tell(`${count(left.length, 'photograph')} done`);
  }

  /** Ask what a file shows; the photograph keeps the two together, as a camera's next frame may show others. */
  async ask(photo, file = photo.file, picture = photo.media) {
    const begun = performance.now();
    try {
      const answer = await this.look(file);
      // what somebody is pressing stays until it is pressed; the camera's next frame follows
      if (photo === this.camera?.photo && photo.card.matches(':active')) return;
      Object.assign(photo, { answer, file, picture, reason: null, seconds: (performance.now() - begun) / 1000 });
      this.draw(photo, this.lowest);
    } catch (error) {
      if (!(error instanceof Refusal)) console.error(error);
      photo.fail(error.failures?.[0]?.reason ?? error.message);
      if (error.status === 0) tell(error.message, true);
    }
    this.drawn?.();
  }

  redraw() {
    this.score.nextElementSibling.value = this.lowest.toFixed(2);
    for (const photo of this.photos) if (photo.answer) this.draw(photo, this.lowest);
    this.drawn?.();
  }

  download() {
    const results = this.photos.filter((photo) => photo.answer).map((photo) => this.json(photo, this.lowest));
    const failures = this.photos.filter((photo) => photo.reason).map(({ name, reason }) => ({ name, reason }));
    const text = JSON.stringify({ least_score: this.lowest, results, failures }, null, 2);
    const address = URL.createObjectURL(new Blob([text], { type: 'application/json' }));
    el('a', { href: address, download: `${this.section.id}.json` }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
  }

  clear() {
    this.stopCamera();
    for (const photo of this.photos.splice(0)) photo.forget();
    $('.bar', this.section).hidden = true;
    this.drawn?.();
  }

  /** Show the camera, and ask for one frame after the other, each when the one before is answered. */
  async startCamera() {
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 640 }, facingMode: 'user' } });
    } catch (error) {
      throw new Refusal(0, { message: `no camera: ${error.message}` });
    }
    const video = el('video', { srcObject: stream, muted: true, playsInline: true, ariaLabel: 'Camera' });
    const photo = new Photo(null, video, 'Camera');
    this.camera = { stream, photo };
    this.photos.unshift(photo);
    $('.photos', this.section).prepend(photo.card);
    $('.bar', this.section).hidden = false;
    this.cameraButton.ariaPressed = 'true';
    this.cameraButton.lastChild.textContent = 'Stop camera';
    await video.play();
    while (this.camera?.photo === photo) {
      const canvas = el('canvas', { width: video.videoWidth, height: video.videoHeight });
      canvas.getContext('2d').drawImage(video, 0, 0);
      const frame = await new Promise((done) => canvas.toBlob(done, 'image/jpeg', 0.9));
      if (!document.hidden && frame && !$('dialog[open]')) {
        await this.ask(photo, new File([frame], 'camera.jpg', { type: 'image/jpeg' }), canvas);
      }
      await sleep(photo.answer ? 0.03 : 0.3);
    }
  }

  stopCamera() {
    if (!this.camera) return;
    for (const track of this.camera.stream.getTracks()) track.stop();
    const { photo } = this.camera;
    this.camera = null;
    this.photos.splice(this.photos.indexOf(photo), 1);
    photo.forget();
    $('.bar', this.section).hidden = !this.photos.length;
    this.cameraButton.ariaPressed = 'false';
    this.cameraButton.lastChild.textContent = 'Camera';
    this.drawn?.();
  }
}

function jsonDetails(value, isOpen) {
  const text = el('pre', { tabIndex: 0 }, JSON.stringify(value, null, 2));
  return el('details', { className: 'json', open: isOpen }, el('summary', {}, 'JSON'), text);
}

function table(caption, heads, rows) {
  const row = (cells, tag) => el('tr', {}, cells.map((cell) => el(tag, tag === 'th' ? { scope: 'col' } : {}, cell)));
  return el('table', {}, el('caption', {}, caption), el('thead', {}, row(heads, 'th')), el('tbody', {}, rows.map((cells) => row(cells, 'td'))));
}

// --- objects

async function lookForObjects(file) {
  const asked = [];
  if (service.roles.detector) asked.push(ask('detect', { query: { score: 0.05 }, form: formOf(file) }));
  if (service.roles.classifier) asked.push(ask('classify', { query: { top: 5 }, form: formOf(file) }));
  const answers = await Promise.all(asked);
  return Object.assign({ objects: [] }, ...answers.map((answer) => answer.results[0]));
}

const objectsOf = (photo, lowest) => ({
  ...photo.answer,
  objects: photo.answer.objects.filter((one) => one.score >= lowest),
});

const hueOfLabel = (label) => (label * 137.5 + 265) % 360;

function colour(node, label) {
  node.style.setProperty('--hue', hueOfLabel(label));
  return node;
}

/** COCO's run lengths, decompressed: pixels column by column, every second run is of the object. */
function runsOf(counts) {
  const runs = [];
  for (let at = 0; at < counts.length; ) {
    let [value, shift, code] = [0, 0, 32];
    for (; code & 32; shift += 5) {
      code = counts.charCodeAt(at) - 48;
      at += 1;
      value |= (code & 31) << shift;
    }
    if (code & 16) value |= -1 << shift;
    runs.push(runs.length > 2 ? value + runs.at(-2) : value);
  }
  return runs;
}

function masksOf({ objects, width, height }) {
  const scale = Math.min(1, 1200 / Math.max(width, height));
  const canvas = el('canvas', { className: 'masks', width: Math.round(width * scale), height: Math.round(height * scale) });
  const pen = canvas.getContext('2d');
  pen.scale(canvas.width / width, canvas.height / height);
  for (const { segmentation, label } of objects.filter((one) => one.segmentation).reverse()) {
    pen.fillStyle = `oklch(70% .2 ${hueOfLabel(label)})`;
    let begin = 0;
    runsOf(segmentation.counts).forEach((run, place) => {
      for (let at = begin; place % 2 && at < begin + run; ) {
        const [x, y] = [Math.floor(at / height), at % height];
        const length = Math.min(height - y, begin + run - at);
        pen.fillRect(x, y, 1, length);
        at += length;
      }
      begin += run;
    });
  }
  return canvas;
}

function drawObjects(photo, lowest) {
  const shown = objectsOf(photo, lowest);
  const marks = shown.objects.map((one) => {
    const name = el('span', {}, `${one.category} ${short(one.score)}`);
    return photo.place(colour(el('div', { className: 'mark' }, name), one.label), one.box);
  });
  photo.marks.replaceChildren(...(shown.objects.some((one) => one.segmentation) ? [masksOf(shown)] : []), ...marks);
  photo.marks.classList.toggle('many', marks.length > 8);
  const wasOpen = $('details', photo.side)?.open ?? false;
  const rows = shown.objects.map((one) => [
    [colour(el('span', { className: 'dot' }), one.label), ` ${one.category}`], short(one.score), one.box.map(Math.round).join(', '),
  ]);
  const listed = table('Objects', ['class', 'score', 'x1, y1, x2, y2'], rows);
  $$('tbody tr', listed).forEach((row, place) => {
    for (const [event, on] of [['pointerenter', true], ['pointerleave', false]]) {
      row.addEventListener(event, () => marks[place].classList.toggle('on', on));
    }
  });
  const scroll = el('div', { className: 'scroll', tabIndex: 0, role: 'region', ariaLabel: 'Objects' }, listed);
  const classes = photo.answer.categories?.map((one) => [one.category, short(one.score)]);
  photo.side.replaceChildren(
    ...photo.head(service.roles.detector ? count(shown.objects.length, 'object') : 'classified'),
    ...(classes ? [table('Likeliest classes', ['class', 'probability'], classes)] : []),
    ...(service.roles.detector ? [rows.length ? scroll : el('p', { className: 'note' }, 'Nothing scores as high.')] : []),
    jsonDetails(shown, wasOpen),
  );
}

function drawLegend(view) {
  const found = new Map();
  for (const photo of view.photos) {
    for (const one of photo.answer?.objects ?? []) {
      if (one.score < view.lowest) continue;
      const known = found.get(one.category) ?? { label: one.label, number: 0 };
      known.number += 1;
      found.set(one.category, known);
    }
  }
  const items = [...found].map(([category, { label, number }]) => (
    el('li', {}, colour(el('span', { className: 'dot' }), label), `${category} ${number}`)
  ));
  $('.legend', view.section).replaceChildren(...items);
}

// --- faces of photographs

async function lookForFaces(file) {
  const answer = await ask('faces/search', { query: { all: true, by: 'best', k: 5 }, form: formOf(file) });
  return answer.results[0];
}

const isKnown = (match) => match && !/^(unnamed|group)-[0-9a-f]{10}$/.test(match.identity);

/** Whom a face is taken for at a threshold: a person, or null. */
function whoIs(face, lowest) {
  const [first] = face.matches;
  return isKnown(first) && first.score >= lowest ? first : null;
}

const facesOf = (photo, lowest) => ({
  ...photo.answer,
  faces: photo.answer.faces.map((face) => ({ ...face, identity: whoIs(face, lowest)?.identity ?? null })),
});

/** A face cut out of what its photograph shows. */
function cut(photo, face, size = 112) {
  const canvas = el('canvas', { width: size, height: size, className: 'thumb' });
  const { width, height } = photo.answer;
  const [x1, y1, x2, y2] = face.box ?? [0, 0, width, height];
  const side = (face.box ? 1.4 : 1) * Math.max(x2 - x1, y2 - y1);
  const scale = (photo.picture.naturalWidth || photo.picture.width || width) / width;
  const place = [(x1 + x2 - side) / 2, (y1 + y2 - side) / 2, side, side].map((value) => value * scale);
  try {
    canvas.getContext('2d').drawImage(photo.picture, ...place, 0, 0, size, size);
  } catch {
    return letter('?'); // the browser cannot show this kind of file
  }
  return canvas;
}

function drawFaces(photo, lowest) {
  const rows = [];
  const marks = photo.answer.faces.map((face, place) => {
    const who = whoIs(face, lowest);
    const name = who ? `${who.identity} ${short(who.score)}` : 'unknown';
    const open = () => openFace(photo, face);
    const button = el('button', { type: 'button', className: `mark face ${who ? 'known' : ''}`, on: { click: open } }, el('span', {}, name));
    button.ariaLabel = `Face ${place + 1}: ${name}`;
    const nearest = face.matches[0];
    const note = who ? `score ${short(who.score)}` : nearest ? `nearest: ${isKnown(nearest) ? nearest.identity : 'a face without a name'} ${short(nearest.score)}` : 'the gallery is empty';
    const about = face.quality === null ? note : `${note} · quality ${short(face.quality)}`;
    rows.push(el('li', {}, cut(photo, face), el('div', {}, el('b', {}, who?.identity ?? 'Unknown'), el('small', {}, about)), el('button', { type: 'button', on: { click: open }, ariaLabel: `Face ${place + 1}: look closer` }, who ? 'Look' : 'Enrol')));
    return photo.place(button, face.box ?? [0, 0, photo.answer.width, photo.answer.height]);
  });
  const focused = [...photo.marks.children].indexOf(document.activeElement);
  photo.marks.replaceChildren(...marks);
  marks[focused]?.focus();
  const wasOpen = $('details', photo.side)?.open ?? false;
  photo.side.replaceChildren(...photo.head(count(photo.answer.faces.length, 'face')), el('ul', { className: 'found-faces' }, rows), jsonDetails(facesOf(photo, lowest), wasOpen));
}

const middle = (face) => (face.box ? { x: (face.box[0] + face.box[2]) / 2, y: (face.box[1] + face.box[3]) / 2 } : {});

async function enrol(file, face, identity) {
  const fields = identity ? { identity } : {};
  const answer = await ask('faces/enrol', { query: middle(face), form: formOf(file, fields) });
  const [state] = answer.results[0].faces;
  if (state.state === 'left out') throw new Refusal(422, { message: state.reason });
  return state;
}

let chosen = null; // the file and face of the dialog

function openFace(photo, face) {
  chosen = { file: photo.file, face };
  const dialog = $('#face-dialog');
  const who = whoIs(face, searchView.lowest);
  showName($('h2', dialog), who?.identity ?? 'Unknown');
  const facts = [['score', face.score], ['quality', face.quality]].filter(([, value]) => value !== null);
  $('.face-head', dialog).replaceChildren(cut(photo, face, 224), el('p', { className: 'note' }, facts.map(([name, value]) => `${name} ${short(value)}`).join(' · ')));
  const items = face.matches.map((match) => {
    const name = isKnown(match) ? match.identity : 'without a name';
    const bar = el('meter', { min: 0, max: 1, value: Math.max(0, match.score), ariaLabel: `Score of ${name}` });
    const use = el('button', { type: 'button', className: 'quiet', on: { click: () => { $('[name=name]', dialog).value = match.identity; } } }, 'It is');
    use.ariaLabel = `It is ${name}`;
    return el('li', {}, thumb(name, async () => match.id), el('div', {}, el('b', { title: name }, name), bar), el('span', { className: 'score' }, short(match.score)), isKnown(match) ? use : null);
  });
  $('.matches', dialog).replaceChildren(...items);
  $('[name=name]', dialog).value = who?.identity ?? '';
  dialog.showModal();
}

const enrolChosen = (identity) => attempt(async () => {
  const wanted = identity?.();
  if (wanted === '') throw new Refusal(422, { message: 'the name is empty' });
  const state = await enrol(chosen.file, chosen.face, wanted);
  $('#face-dialog').close();
  const name = identity ? state.identity : 'a face without a name';
  const known = state.reason ? `Known already as ${state.identity}, and stays so: People corrects it` : `Known already: ${state.identity}`;
  tell(state.state === 'added' ? `Enrolled: ${name}` : known);
  await galleryChanged();
});

async function keepUnknown(view) {
  if (view.photos.some((photo) => photo.file && !photo.answer && !photo.reason)) {
    throw new Refusal(0, { message: 'some photographs are being looked at still: wait until they are done' });
  }
  let added = 0;
  const refused = [];
  for (const { file, answer } of [...view.photos]) {
    for (const face of answer?.faces ?? []) {
      if (whoIs(face, view.lowest)) continue;
      try {
        added += (await enrol(file, face)).state === 'added';
      } catch (error) {
        if (error.status !== 422) throw error;
        refused.push(error.message);
      }
    }
  }
  await galleryChanged();
  const rest = refused.length ? `; ${refused.length} not: ${refused[0]}` : '';
  tell(`${count(added, 'face')} enrolled without a name: see Unknown${rest}`, refused.length > 0);
}

/** After a change: names and figures, and the photographs of the search are asked for anew. */
async function galleryChanged() {
  await Promise.all([refreshStats(), refreshNames(), ...searchView.photos.filter((photo) => photo.file && photo.answer).map((photo) => searchView.ask(photo))]);
  await views[current()]?.();
}

function showThreshold() {
  const known = service.stats.calibration;
  if (!searchView.touched) {
    searchView.score.value = known ? known.threshold : 0.5;
    searchView.exact = known ? known.threshold : null;
  }
  const calibrate = el('a', { href: '#threshold' }, known ? 'Change' : 'Calibrate');
  $('.origin', searchView.section).replaceChildren(known ? `calibrated: ${short(known.threshold)} ` : 'not calibrated yet ', calibrate);
  searchView.redraw();
}

// --- people

const people = { list: [], pages: null };

async function showPeople() {
  people.pages = pages('faces/people', { kind: 'named', limit: 60 }, 'people');
  people.list = [];
  $('#people .tiles').replaceChildren();
  await morePeople();
  await filterPeople();
  const { stats } = service;
  const picture = stats.thumbnails ? 'a picture of 112 pixels a side' : 'no picture';
  $('#people .kept').textContent = `Of each face the gallery keeps its embedding, name, box, landmarks, quality and ${picture}; of photographs nothing. What is deleted here is found no more; mbv1 gallery compact erases it from the files, too.`;
}

async function morePeople() {
  const mine = people.pages;
  const found = (await mine.next()).value ?? [];
  if (people.pages !== mine) return; // the list was begun anew meanwhile
  people.list.push(...found);
  $('#people .more').hidden = found.length < 60;
  $('#people .tiles').append(...found.map(tileOf));
  if (!people.list.length) {
    $('#people .tiles').append(el('li', { className: 'empty' }, 'Nobody yet. Search for somebody on a photograph, and enrol the face.'));
  }
  const more = found.length < 60 ? '' : ' and more';
  $('#people .count').textContent = count(people.list.length, 'person', 'people') + more;
}

/** Show those whose names have what is typed; all are looked at. */
async function filterPeople() {
  const wanted = $('#people input').value.trim().toLowerCase();
  while (wanted && !$('#people .more').hidden) await morePeople();
  for (const tile of $$('#people .tiles [data-name]')) tile.hidden = !tile.dataset.name.includes(wanted);
}

function tileOf(person) {
  const picture = thumb(person.identity, () => pictured(person.identity));
  const text = el('span', {}, el('b', { title: person.identity }, person.identity), el('small', {}, count(person.images, 'face')));
  return el('li', { data: { name: person.identity.toLowerCase() } }, el('button', { type: 'button', className: 'tile', on: { click: attempt(() => openPerson(person.identity)) } }, picture, text));
}

async function openPerson(identity) {
  const dialog = $('#person-dialog');
  const isNamed = isKnown({ identity });
  dialog.dataset.identity = identity;
  showName($('h2', dialog), isNamed ? identity : 'A group without a name');
  $('.rename [name=name]', dialog).value = isNamed ? identity : '';
  for (const form of ['.merge', '.correct']) $(`${form} [name=name]`, dialog).value = '';
  $('.remove', dialog).textContent = isNamed ? 'Delete person' : 'Delete group';
  const { entries, next } = await ask('faces/entries', { query: { identity, limit: 500 } });
  $('legend', dialog).textContent = next === null ? 'Faces' : `The first ${entries.length} faces`;
  const items = entries.map((entry) => {
    const date = new Date(1000 * entry.added).toLocaleDateString('en', { dateStyle: 'medium' });
    const picture = entry.thumbnail ? thumb(identity, async () => entry.id) : letter(isNamed ? identity : '?');
    const box = el('input', { type: 'checkbox', value: entry.id, ariaLabel: `Face ${entry.id}, added ${date}`, on: { change: () => pickChanged(dialog) } });
    return el('li', {}, el('label', {}, box, picture, el('small', {}, `#${entry.id}`), el('small', {}, `quality ${short(entry.quality)}`)));
  });
  $('.pick', dialog).replaceChildren(...items);
  pickChanged(dialog);
  if (!dialog.open) dialog.showModal();
}

const picked = (dialog) => $$('.pick :checked', dialog).map((box) => Number(box.value));

function pickChanged(dialog) {
  for (const button of $$('.correct button', dialog)) button.disabled = !picked(dialog).length;
}

/** Name a person or a group: a name that somebody has makes them one person. */
async function giveName(identity, name) {
  if (!(await isThere(name))) return ask('faces/rename', { json: { identity, new: name } });
  return mergeInto(identity, name);
}

async function isThere(name) {
  const { entries } = await ask('faces/entries', { query: { identity: name, limit: 1 } });
  return entries.length > 0;
}

/** Make two one person; who is not there is refused, since a name that is misspelt would be a new one. */
async function mergeInto(identity, name) {
  if (!(await isThere(name))) throw new Refusal(404, { message: `There is no ${name} to merge with` });
  if (!(await sure(`Merge with ${name}?`, `There is ${name} already: the faces of both become one person's.`, 'Merge'))) return null;
  return ask('faces/merge', { json: { identities: [identity], into: name } });
}

const valueIn = (form) => $('[name=name]', form).value.trim();

/** A form of the person's dialog: what it changes, and then the dialog closes. */
function personForm(selector, change) {
  const dialog = $('#person-dialog');
  $(selector, dialog).addEventListener('submit', attempt(async (event) => {
    if ((await change(dialog.dataset.identity, event)) === null) return;
    dialog.close();
    tell('Changed');
    await galleryChanged();
  }));
}

async function correct(identity, event) {
  const ids = picked($('#person-dialog'));
  const name = valueIn(event.target) || undefined;
  if (event.submitter.value === 'split') return ask('faces/split', { json: { ids, identity: name } });
  if (event.submitter.value === 'not-this') return ask('faces/not-this', { json: { ids, identity: name } });
  if (!(await sure(`Delete ${count(ids.length, 'face')}?`, 'They are erased from the gallery. This cannot be undone.'))) return null;
  for (const id of ids) await ask(`faces/entries/${id}`, { method: 'DELETE' });
  return ids;
}

async function removePerson() {
  const { identity } = $('#person-dialog').dataset;
  const name = isKnown({ identity }) ? identity : 'this group';
  if (!(await sure(`Delete ${name}?`, 'All faces of this name are erased from the gallery. This cannot be undone.'))) return;
  const { entries } = await ask('faces/remove', { json: { identity } });
  $('#person-dialog').close();
  tell(`${count(entries, 'face')} deleted`);
  await galleryChanged();
}

// --- faces without names

const grouping = new Map(); // what clustering said of a group, by its name

const SHOWN = 100; // groups, and faces alone

async function allGroups() {
  const groups = [];
  for await (const some of pages('faces/people', { kind: 'group', limit: 1000 }, 'people')) groups.push(...some);
  return groups.sort((a, b) => b.images - a.images);
}

async function showUnknown() {
  const some = ask('faces/people', { query: { kind: 'alone', limit: SHOWN } });
  const [groups, { people: alone, next }] = await Promise.all([allGroups(), some]);
  $('.groups').replaceChildren(...groups.slice(0, SHOWN).map(groupCard));
  $('#unknown .alone').replaceChildren(...alone.map(({ identity }) => {
    const button = el('button', { type: 'button', className: 'bare', on: { click: attempt(() => openPerson(identity)) } }, thumb('?', () => pictured(identity)));
    button.ariaLabel = `A face alone, ${identity.slice(-4)}`;
    return el('li', {}, button);
  }));
  $('.alone-title').hidden = !alone.length;
  const nothing = !groups.length && !alone.length;
  $('#unknown .group').disabled = nothing;
  const found = [
    count(groups.length, 'group') + (groups.length > SHOWN ? ` (the largest ${SHOWN} are shown)` : ''),
    `${next === null ? '' : 'more than '}${count(alone.length, 'face')} alone`,
  ];
  $('#unknown .found').textContent = nothing ? 'There are none. Search, and enrol unknown faces for grouping.' : found.join(', ');
}

function groupCard({ identity, images }) {
  const told = grouping.get(identity);
  const faces = el('ul', { className: 'faces-row' });
  ask('faces/entries', { query: { identity, limit: 12 } }).then(({ entries }) => {
    faces.append(...entries.map((entry) => el('li', {}, thumb('?', async () => (entry.thumbnail ? entry.id : null)))));
    if (images > entries.length) faces.append(el('li', {}, el('span', { className: 'thumb letter' }, `+${images - entries.length}`)));
  }, (error) => tell(error.message, true));
  const facts = [count(images, 'face'), ...(told ? [`in ${count(told.photographs, 'photograph')}`, `mean score ${short(told.cohesion)}`] : [])];
  const named = attempt(async (event) => {
    if ((await giveName(identity, valueIn(event.target))) === null) return;
    tell('Named');
    await galleryChanged();
  });
  const like = told?.like && el('button', { type: 'button', on: { click: attempt(async () => {
    await ask('faces/merge', { json: { identities: [identity], into: told.like[0] } });
    await galleryChanged();
  }) } }, `It is ${told.like[0]} (${short(told.like[1])})`);
  const name = el('input', { name: 'name', required: true, maxLength: 200, autocomplete: 'off' });
  name.setAttribute('list', 'names');
  const form = el('form', { className: 'row', on: { submit: named } }, el('label', {}, 'Name ', name), el('button', {}, 'Name'), like ?? null, el('button', { type: 'button', className: 'quiet', on: { click: attempt(() => openPerson(identity)) } }, 'Look closer'));
  return el('article', { className: 'card group-card' }, el('p', { className: 'note' }, facts.join(' · ')), faces, form);
}

async function group() {
  const found = await ask('faces/cluster', { json: {} });
  grouping.clear();
  for (const one of found.groups) grouping.set(one.identity, one);
  await showUnknown();
  tell(`${count(found.groups.length, 'group')} at a mean score of ${short(found.threshold)} (${found.origin})`);
}

// --- the threshold

const plot = { points: [], place: 0 };
const HEIGHT = 300;
const EDGE = { left: 54, right: 14, top: 30, bottom: 42 };

async function showCurve() {
  const known = service.stats.calibration;
  $('#threshold .current').textContent = known
    ? `In use: ${known.threshold.toFixed(3)} (95 % interval ${short(known.low)} to ${short(known.high)}), for an FPIR of ${share(known.fpir)}.`
    : 'No threshold is in use: searches by programs answer with the nearest faces, whoever they are.';
  const empty = $('#threshold .empty');
  try {
    const found = await ask('faces/curve');
    plot.points = found.points;
    $('#threshold .basis').textContent = `From ${count(found.non_mated, 'face')} compared with other people's, and ${found.probes.toLocaleString('en')} with their own.`;
  } catch (error) {
    plot.points = [];
    empty.textContent = `No curve yet: ${error.message}. Enrol two people or more.`;
  }
  empty.hidden = plot.points.length > 0;
  $('.chart-card').hidden = !plot.points.length;
  if (!plot.points.length) return;
  const wanted = known?.fpir ?? 0.01;
  const far = (point) => Math.abs(Math.log(point.fpir / wanted));
  plot.place = plot.points.reduce((best, point, place) => (far(point) < far(plot.points[best]) ? place : best), 0);
  const slider = $('#threshold .place');
  slider.max = plot.points.length - 1;
  slider.value = plot.place;
  drawCurve();
}

function axes(width) {
  const first = plot.points[0].fpir;
  const span = Math.log10(first);
  const x = (fpir) => EDGE.left + (1 - Math.log10(fpir) / span) * (width - EDGE.left - EDGE.right);
  const y = (dir) => HEIGHT - EDGE.bottom - dir * (HEIGHT - EDGE.top - EDGE.bottom);
  return { x, y, first };
}

function drawCurve() {
  const svg = $('.chart');
  const width = Math.max(280, svg.clientWidth || 600);
  svg.setAttribute('viewBox', `0 0 ${width} ${HEIGHT}`);
  const { x, y, first } = axes(width);
  const add = (tag, className, values, text) => {
    const node = document.createElementNS(svg.namespaceURI, tag);
    node.setAttribute('class', className);
    for (const [name, value] of Object.entries(values)) node.setAttribute(name, value);
    if (text) node.textContent = text;
    svg.append(node);
  };
  svg.replaceChildren();
  for (const dir of [0, 0.25, 0.5, 0.75, 1]) {
    add('line', 'grid', { x1: EDGE.left, x2: width - EDGE.right, y1: y(dir), y2: y(dir) });
    add('text', 'tick end', { x: EDGE.left - 14, y: y(dir) + 4 }, `${100 * dir} %`);
  }
  for (const fpir of [first, ...[0.001, 0.01, 0.1, 1].filter((value) => value > 1.5 * first)]) {
    add('line', 'grid', { x1: x(fpir), x2: x(fpir), y1: EDGE.top, y2: HEIGHT - EDGE.bottom });
    add('text', fpir === 1 ? 'tick end' : 'tick', { x: fpir === 1 ? width - EDGE.right : x(fpir), y: HEIGHT - EDGE.bottom + 20 }, share(fpir));
  }
  add('text', 'tick', { x: (EDGE.left + width - EDGE.right) / 2, y: HEIGHT - 4 }, 'strangers taken for somebody (FPIR)');
  add('text', 'tick start', { x: EDGE.left, y: 14 }, 'people named rightly (DIR)');
  const path = plot.points.filter(({ dir }) => dir !== null).map(({ fpir, dir }, place) => `${place ? 'L' : 'M'}${x(fpir)} ${y(dir)}`);
  if (path.length) add('path', 'curve', { d: path.join('') });
  const point = plot.points[plot.place];
  add('line', 'cursor', { x1: x(point.fpir), x2: x(point.fpir), y1: EDGE.top, y2: HEIGHT - EDGE.bottom });
  add('circle', 'handle', { cx: x(point.fpir), cy: y(point.dir ?? 0), r: 9 });
  tellPoint(point);
}

function tellPoint(point) {
  $('.f-threshold').textContent = point.threshold.toFixed(3);
  $('.f-fpir').textContent = share(point.fpir);
  $('.f-dir').textContent = point.dir === null ? 'unknown: nobody has two faces' : share(point.dir);
  $('#threshold .place').ariaValueText = `threshold ${point.threshold.toFixed(3)}, FPIR ${share(point.fpir)}, DIR ${share(point.dir)}`;
}

function dragTo(event) {
  const svg = $('.chart');
  const { x } = axes(Math.max(280, svg.clientWidth));
  const at = event.clientX - svg.getBoundingClientRect().left;
  const far = (place) => Math.abs(x(plot.points[place].fpir) - at);
  plot.place = plot.points.reduce((best, _, place) => (far(place) < far(best) ? place : best), 0);
  $('#threshold .place').value = plot.place;
  drawCurve();
}

async function calibrate() {
  await ask('faces/calibrate', { json: { fpir: plot.points[plot.place].fpir } });
  await refreshStats();
  searchView.touched = false;
  showThreshold();
  await showCurve();
  tell('Calibrated: searches use this threshold from now on');
}

// --- models

async function showModels() {
  $('#models .cards').replaceChildren(...service.networks.map((model) => {
    const facts = [model.classes ? count(model.classes, 'class', 'classes') : `${model.dims} values in an embedding`, model.backend];
    const button = model.card && el('button', { type: 'button', on: { click: attempt(() => openCard(model)) } }, 'Model card');
    return el('article', { className: 'card model' }, el('p', { className: 'role' }, model.role), el('h2', {}, model.name || 'without a name'), el('p', { className: 'note' }, facts.join(' · ')), button || null);
  }));
  await showSpeed();
  $('.about-gallery').hidden = !service.stats;
  if (!service.stats) return;
  const { entries, identities, bytes_on_disk: size, factory, made_with: model, thumbnails: keeps } = service.stats;
  const facts = { Faces: entries, Names: identities, 'On disk': size === undefined ? null : bytes(size), Index: factory, Model: model, Thumbnails: keeps ? 'are kept' : 'are not kept' };
  const shown = Object.entries(facts).filter(([, value]) => value !== null && value !== undefined);
  $('#models .stats').replaceChildren(...shown.map(([name, value]) => el('div', {}, el('dt', {}, name), el('dd', {}, String(value)))));
  $('#models .forget').hidden = !entries;
}

/** Requests and their mean time by route, out of what Prometheus reads. */
async function showSpeed() {
  const text = await ask('metrics', { as: 'text' });
  const routes = new Map();
  for (const [, what, route, value] of text.matchAll(/^mbv1_request_seconds_(count|sum)\{route="([^"]*)"\} (\S+)$/gm)) {
    routes.set(route, { ...routes.get(route), [what]: Number(value) });
  }
  const rows = [...routes]
    .filter(([route]) => route.startsWith('/v1/'))
    .sort(([a], [b]) => a.localeCompare(b))
    .map(([route, told]) => [route, told.count.toLocaleString('en'), (1000 * (told.sum / told.count)).toFixed(1)]);
  const sizes = [...text.matchAll(/^mbv1_batch_size_(count|sum)\{network="([^"]*)"\} (\S+)$/gm)];
  const batches = Object.groupBy ? Object.groupBy(sizes, ([, , network]) => network) : {};
  const notes = Object.entries(batches).map(([network, lines]) => {
    const told = Object.fromEntries(lines.map(([, what, , value]) => [what, Number(value)]));
    return told.count ? `${network}: ${(told.sum / told.count).toFixed(1)} images a batch` : null;
  });
  $('.speed').replaceChildren(table('Since the service started', ['route', 'requests', 'mean ms'], rows), el('p', { className: 'note' }, notes.filter(Boolean).join(' · ')));
}

async function openCard(model) {
  const text = await ask(`models/${model.role}/card`, { as: 'text' });
  $('#card-title').textContent = model.name;
  const nodes = markdown(text);
  if (nodes[0]?.textContent === model.name) nodes.shift();
  $('#card-dialog .markdown').replaceChildren(...nodes);
  $('#card-dialog').showModal();
}

/** Markdown as our cards have it: headings, lists, tables, code, links, bold. */
function markdown(text) {
  const nodes = [];
  const parts = text.replace(/^---\n.*?\n---\n/s, '').split(/^(```.*?^```)$/ms); // every second one is code
  for (const block of parts.flatMap((part, place) => (place % 2 ? [part] : part.split(/\n{2,}/)))) {
    const lines = block.trim().split('\n');
    const heading = /^(#{1,4}) (.*)$/.exec(lines[0]);
    if (heading) {
      nodes.push(el(`h${Math.min(6, heading[1].length + 2)}`, {}, inline(heading[2])));
      lines.shift();
    }
    if (!lines.length || !lines[0]) continue;
    if (lines[0].startsWith('```')) nodes.push(el('pre', { tabIndex: 0 }, lines.slice(1, -1).join('\n')));
    else if (lines[0].startsWith('|')) nodes.push(markdownTable(lines));
    else if (/^[-*] /.test(lines[0])) {
      const items = lines.join('\n').split(/^[-*] /m).slice(1);
      nodes.push(el('ul', {}, items.map((item) => el('li', {}, inline(item.replace(/\s*\n\s*/g, ' '))))));
    } else nodes.push(el('p', {}, inline(lines.join(' '))));
  }
  return nodes;
}

function markdownTable(lines) {
  const [head, , ...rows] = lines.map((line) => line.split('|').slice(1, -1).map((cell) => inline(cell.trim())));
  const made = table('', head, rows);
  $('caption', made).remove();
  return el('div', { className: 'scroll', tabIndex: 0, role: 'region', ariaLabel: 'Table' }, made);
}

function inline(text) {
  return text.split(/(`[^`]+`|\*\*[^*]+\*\*|\[[^\]]+\]\([^)]+\))/).map((part) => {
    if (part.startsWith('`')) return el('code', {}, part.slice(1, -1));
    if (part.startsWith('**')) return el('b', {}, part.slice(2, -2));
    const link = /^\[([^\]]+)\]\((https?:[^)]+)\)$/.exec(part);
    if (link) return el('a', { href: link[2], rel: 'noreferrer', target: '_blank' }, link[1]);
    return part.replace(/^\[([^\]]+)\]\([^)]+\)$/, '$1');
  });
}

async function backup() {
  const { name, entries } = await ask('faces/backup', { method: 'POST' });
  tell(`${count(entries, 'face')} copied into ${name}`);
}

async function forgetThumbnails() {
  if (!(await sure('Erase all thumbnails?', 'The pictures of all faces are erased; names and embeddings stay.', 'Erase'))) return;
  const { entries } = await ask('faces/forget-thumbnails', { method: 'POST' });
  for (const address of thumbnails.values()) address.then((known) => known && URL.revokeObjectURL(known));
  thumbnails.clear();
  tell(`${count(entries, 'thumbnail')} erased`);
}

// --- from one view to the next

const objectsView = new PhotoView('#objects', lookForObjects, drawObjects);
objectsView.json = objectsOf;
objectsView.drawn = () => drawLegend(objectsView);
const searchView = new PhotoView('#search', lookForFaces, drawFaces);
searchView.json = facesOf;
const views = { objects: null, search: null, people: showPeople, unknown: showUnknown, threshold: showCurve, models: showModels };

const current = () => {
  const shown = $$('header nav a').filter((link) => !link.hidden).map((link) => link.hash.slice(1));
  return shown.includes(location.hash.slice(1)) ? location.hash.slice(1) : shown[0];
};

async function show() {
  const name = current();
  for (const section of $$('main > section')) section.hidden = section.id !== name;
  for (const link of $$('header nav a')) {
    if (link.hash === `#${name}`) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  for (const view of [objectsView, searchView]) if (view.section.id !== name) view.stopCamera();
  document.title = `${$(`#${name} h1`).textContent} · mbv1`;
  scrollTo(0, 0);
  await views[name]?.();
}

function listen() {
  $('.skip').addEventListener('click', (event) => {
    event.preventDefault(); // the address says which view is shown
    $('#main').focus();
  });
  addEventListener('hashchange', attempt(show));
  addEventListener('paste', (event) => {
    const view = { objects: objectsView, search: searchView }[current()];
    view?.take([...event.clipboardData.files].filter((file) => file.type.startsWith('image/')));
  });
  addEventListener('dragover', (event) => event.preventDefault());
  addEventListener('drop', (event) => event.preventDefault()); // beside the views: the page stays
  searchView.score.addEventListener('input', () => { searchView.touched = true; });
  $('#search .keep').addEventListener('click', attempt(() => keepUnknown(searchView)));
  $('#face-dialog .enrol').addEventListener('submit', (event) => enrolChosen(() => valueIn($('#face-dialog .enrol')))(event));
  $('#face-dialog .nameless').addEventListener('click', (event) => enrolChosen(null)(event));
  $('#people input').addEventListener('input', attempt(filterPeople));
  $('#people .more').addEventListener('click', attempt(morePeople));
  personForm('.rename', (identity, event) => (valueIn(event.target) === identity ? null : giveName(identity, valueIn(event.target))));
  personForm('.merge', (identity, event) => mergeInto(identity, valueIn(event.target)));
  personForm('.correct', correct);
  $('#person-dialog .remove').addEventListener('click', attempt(removePerson));
  $('#unknown .group').addEventListener('click', attempt(group));
  $('#threshold .place').addEventListener('input', (event) => { plot.place = event.target.valueAsNumber; drawCurve(); });
  $('#threshold .calibrate').addEventListener('click', attempt(calibrate));
  const chart = $('.chart');
  chart.addEventListener('pointerdown', (event) => { chart.setPointerCapture(event.pointerId); dragTo(event); });
  chart.addEventListener('pointermove', (event) => { if (chart.hasPointerCapture(event.pointerId)) dragTo(event); });
  new ResizeObserver(() => { if (plot.points.length && current() === 'threshold') drawCurve(); }).observe($('.chart-card'));
  $('#models .backup').addEventListener('click', attempt(backup));
  $('#models .forget').addEventListener('click', attempt(forgetThumbnails));
  $('#key-button').addEventListener('click', attempt(async () => { await askForKey('', sessionStorage.getItem(KEY)); await begin(); }));
  $('.forget-key').addEventListener('click', () => { sessionStorage.removeItem(KEY); location.reload(); }); // shows nobody any more
}

async function begin() {
  const { models } = await ask('models');
  service.networks = models;
  service.roles = Object.fromEntries(models.map((model) => [model.role, model]));
  try {
    await refreshStats();
  } catch (error) {
    if (error.code !== 'not_configured') throw error;
  }
  const offered = { objects: service.roles.detector || service.roles.classifier, models: true };
  for (const name of ['search', 'people', 'unknown', 'threshold']) offered[name] = service.stats;
  for (const link of $$('header nav a')) link.hidden = !offered[link.hash.slice(1)];
  if (service.stats) {
    await refreshNames();
    showThreshold();
  }
  showKey();
  $('#starting').hidden = true;
  await show();
}

listen();
begin().catch((error) => { $('#starting').textContent = `${error.message}. Load the page again to try once more.`; });
