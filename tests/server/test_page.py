"""The page in a real Chromium, each way through it, on real photographs."""

import io
import json
import os
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from support.browser import NEEDS_CHROMIUM, chromium, reachable

from mbv1_backbone.face.finder import FaceFinder
from mbv1_backbone.inference.box_detector import BoxDetector
from mbv1_backbone.inference.face_detectors import AUTO
from mbv1_backbone.inference.loading import load
from mbv1_backbone.retrieval import Gallery
from mbv1_backbone.server import Client, Service, create_app
from mbv1_backbone.server.keys import KeyFile, add_key
from mbv1_backbone.server.page_routes import HEADERS
from mbv1_backbone.weights.external import import_local
from mbv1_backbone.weights.zoo import config_of

pytestmark = pytest.mark.slow
playwright = pytest.importorskip('playwright.sync_api', reason=NEEDS_CHROMIUM)
expect = playwright.expect
SCREENSHOTS = os.environ.get('MBV1_SCREENSHOTS')  # a folder, to look at
MODELS = dict(detector='ssd_mbv1_0.75_tf_bccd', embedder='facenet_mbv1_0.25-112_color')


@pytest.fixture(scope='module')
def photographs(shared):
    """Two photographs of each of some people, by name."""
    names = ['Aaron Peirsol', 'Aicha El Ouafi', 'Demi Moore', 'Dan Morales']
    folder = shared / 'lfw_color' / 'whole'
    return {name: sorted((folder / name.replace(' ', '_')).glob('*.jpg')) for name in names}


@pytest.fixture(scope='module')
def cells(shared):
    return sorted((shared / 'bccd' / 'JPEGImages').glob('*.jpg'))[0]


@pytest.fixture(scope='module')
def browser(photographs, tmp_path_factory):
    camera = tmp_path_factory.mktemp('camera') / 'face.mjpeg'
    frame = io.BytesIO()
    Image.open(photographs['Aaron Peirsol'][1]).resize((320, 320)).save(frame, 'JPEG', quality=90)
    camera.write_bytes(frame.getvalue() * 4)
    with chromium(camera) as opened:
        yield opened


@pytest.fixture(scope='module')
def networks(shared):
    weights = import_local(shared / 'weights' / 'retinaface_mobilenet0.25.safetensors')
    faces = load(config_of(AUTO), weights, kind='detector', backend='torch', threads=1)
    finder = FaceFinder(BoxDetector(faces), 'all')
    return dict(
        detector=load(MODELS['detector'], kind='detector', backend='torch', threads=1),
        embedder=load(MODELS['embedder'], kind='embedder', finder=finder, backend='torch', threads=1),
    )


@pytest.fixture(scope='module')
def served(networks, browser):
    """A service that keeps thumbnails, and a client of it."""
    service = Service(**networks, names=MODELS, keep_thumbnails=True)
    with reachable(create_app(service, ('127.0.0.1',))) as url:
        yield SimpleNamespace(url=url, service=service, client=Client(url))


@pytest.fixture
def gallery(served, networks, tmp_path):
    """The service's gallery, without anybody."""
    embedder = networks['embedder']
    with Gallery.create(
        tmp_path / 'g', embedder.dims, embedder.fingerprint, embedder.preprocessing
    ) as served.service.gallery:
        yield served.service.gallery
        served.service.gallery = None


@pytest.fixture
def people(served, gallery, photographs):
    """Three people of two photographs each in the gallery."""
    for name in list(photographs)[:3]:
        assert served.client.enrol(photographs[name], name).added == 2
    return gallery


@pytest.fixture
def visit(browser, served):
    """Open a view; what it asks for comes from the service alone, and nothing fails unseen."""
    contexts, wrong = [], []

    def _visit(view='', width=1280, scheme='light', url=None, **options):
        context = browser.new_context(
            viewport=dict(width=width, height=800), color_scheme=scheme, permissions=['camera'], **options
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on('pageerror', lambda error: wrong.append(str(error)))
        page.on('console', lambda message: message.type == 'error' and wrong.append(message.text))
        page.on('request', lambda request: elsewhere(request.url) and wrong.append(request.url))
        page.goto(f'{url or served.url}/#{view}')
        return page

    def elsewhere(address):
        return not re.match(r'http://127\.0\.0\.1:|blob:http://127\.0\.0\.1:|data:', address)

    _visit.wrong = wrong
    yield _visit
    for context in contexts:
        context.close()
    assert [line for line in wrong if 'Failed to load resource' not in line] == []


def choose(page, view, *files):
    page.set_input_files(f'#{view} input[type=file]', list(files))
    expect(page.locator(f'#{view} .side details')).to_have_count(len(files))


def slide(page, selector, value):
    page.locator(selector).fill(str(value))


def names_of(gallery):
    return dict(gallery.identities())


def test_the_page_lets_nothing_in_from_elsewhere(served, visit):
    page = visit('objects')
    expect(page.locator('#objects h1')).to_be_visible()
    for path in ('/', '/page.js', '/page.css'):
        answer = page.request.get(served.url + path)
        assert {name: answer.headers[name.lower()] for name in HEADERS} == HEADERS
        outside = re.findall(r'(?:https?:)?//[\w.]+', answer.text())
        assert set(outside) <= {'http://www.w3.org'}  # SVG's name
    answer = page.evaluate("""() => {
        try { document.createElement('script').src = 'data:,'; } catch (error) { return error.message; }
    }""")
    assert 'TrustedScriptURL' in answer
    assert 'TrustedScriptURL' in visit.wrong.pop()


def test_objects_of_photographs(served, visit, cells, tmp_path):
    page = visit('objects')
    broken = tmp_path / 'broken.png'
    broken.write_bytes(b'no image')
    page.set_input_files('#objects input[type=file]', [cells, broken])
    expect(page.locator('#objects .side .error')).to_contain_text('image')
    card = page.locator('#objects .photo', has_text=cells.name)
    found = served.client.detect([cells], score=0.05).results[0]
    for score in (0.3, 0.9):
        slide(page, '#objects .score', score)
        wanted = [one for one in found.objects if one.score >= score]
        expect(card.locator('.mark')).to_have_count(len(wanted))
        expect(card.locator('tbody tr')).to_have_count(len(wanted))
    assert 0 < len(wanted) < len(found.objects)
    image, mark = card.locator('img').bounding_box(), card.locator('.mark').first.bounding_box()
    scale = image['width'] / found.width
    shown = [mark['x'] - image['x'], mark['y'] - image['y'], mark['width'], mark['height']]
    x1, y1, x2, y2 = wanted[0].box
    np.testing.assert_allclose(np.array(shown) / scale, [x1, y1, x2 - x1, y2 - y1], atol=1.5)
    card.locator('summary').click()
    assert json.loads(card.locator('pre').text_content())['objects'] == [
        json.loads(o.model_dump_json()) for o in wanted
    ]
    with page.expect_download() as waiting:
        page.locator('#objects .download').click()
    saved = json.loads(Path(waiting.value.path()).read_text())
    assert (len(saved['results']), saved['failures'][0]['name']) == (1, 'broken.png')
    assert len(saved['results'][0]['objects']) == len(wanted)
    page.locator('#objects .clear').click()
    expect(page.locator('#objects .photo')).to_have_count(0)


def test_masks_are_drawn(visit, tmp_path):
    """Of an answer with COCO's own run lengths: the pixels that its library encoded, and no others."""
    encoding = pytest.importorskip('pycocotools.mask')
    generator = np.random.default_rng(0)
    mask = np.zeros((40, 30), np.uint8)
    mask[5:35, 4:20] = generator.random((30, 16)) < 0.5
    mask[39, 7:9] = 1
    counts = encoding.encode(np.asfortranarray(mask))['counts'].decode()
    one = dict(box=[4, 5, 20, 40], score=0.9, label=0, category='thing', category_id=1)
    one['segmentation'] = dict(size=[40, 30], counts=counts)
    answer = dict(image=0, name='a.png', width=30, height=40, objects=[one])
    Image.new('RGB', (30, 40)).save(tmp_path / 'a.png')
    page = visit('objects')
    page.route('**/v1/detect*', lambda route: route.fulfill(json=dict(results=[answer], failures=[])))
    choose(page, 'objects', tmp_path / 'a.png')
    pixels = page.locator('#objects canvas.masks').evaluate(
        """(canvas) => {
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        return [canvas.width, canvas.height, ...data.filter((_, place) => place % 4 === 3)];
    }"""
    )
    assert pixels[:2] == [30, 40]
    assert (np.array(pixels[2:]).reshape(40, 30) > 0).tolist() == (mask > 0).tolist()


def test_a_photograph_is_dropped(visit, cells):
    page = visit('objects')
    drop = """([node, bytes]) => {
        const files = new DataTransfer();
        files.items.add(new File([Uint8Array.from(bytes)], 'dropped.jpg', { type: 'image/jpeg' }));
        node.dispatchEvent(new DragEvent('drop', { dataTransfer: files, bubbles: true, cancelable: true }));
    }"""
    page.evaluate(drop, [page.locator('#objects').element_handle(), list(cells.read_bytes())])
    expect(page.locator('#objects .photo h2')).to_have_text('dropped.jpg')
    expect(page.locator('#objects .mark').first).to_be_visible()


def test_who_is_on_photographs_and_enrolment_by_a_click(people, visit, photographs):
    page = visit('search')
    known, stranger = photographs['Demi Moore'][0], photographs['Dan Morales'][0]
    choose(page, 'search', known, stranger)
    mark = page.locator('#search .photo', has_text=known.name).locator('.mark')
    other = page.locator('#search .photo', has_text=stranger.name).locator('.mark')
    expect(mark).to_have_text(re.compile('Demi Moore 1.00'))
    slide(page, '#search .score', 0.7)
    expect(other).to_have_text('unknown')
    other.click()
    dialog = page.locator('#face-dialog')
    expect(dialog.locator('.matches li')).to_have_count(3)
    expect(dialog.locator('.matches img')).to_have_count(3)
    dialog.get_by_label('Name').fill('Dan Morales')
    dialog.get_by_role('button', name='Enrol', exact=True).click()
    expect(other).to_have_text(re.compile('Dan Morales 1.00'))
    assert names_of(people)['Dan Morales'] == 1
    mark.focus()  # by the keyboard alone
    page.keyboard.press('Enter')
    expect(dialog.locator('h2')).to_have_text('Demi Moore')
    page.keyboard.press('Escape')
    expect(mark).to_be_focused()


def test_unknown_faces_are_grouped_and_named(served, gallery, visit, photographs):
    gallery.set_calibration(dict(threshold=0.65, fpir=0.01, low=0.6, high=0.7))
    page = visit('search')
    mine = [*photographs['Demi Moore'], *photographs['Aaron Peirsol']]
    faces = sum(len(one.faces) for one in served.client.faces(mine).results)  # some are in the background
    choose(page, 'search', *mine)
    page.get_by_role('button', name='Enrol unknown faces').click()
    expect(page.locator('#status')).to_contain_text(f'{faces} faces enrolled')
    page.get_by_role('link', name='Unknown').click()
    expect(page.locator('#unknown .alone li')).to_have_count(faces)
    page.get_by_role('button', name='Group faces').click()
    expect(page.locator('.group-card')).to_have_count(2)
    expect(page.locator('.group-card img')).to_have_count(4)
    card = page.locator('.group-card').first
    card.get_by_label('Name').fill('Somebody')
    card.get_by_role('button', name='Name', exact=True).click()
    expect(page.locator('.group-card')).to_have_count(1)
    assert names_of(gallery)['Somebody'] == 2
    card.get_by_label('Name').fill('Somebody')  # who is there: a question
    card.get_by_role('button', name='Name', exact=True).click()
    page.locator('#question').get_by_role('button', name='Merge').click()
    expect(page.locator('.group-card')).to_have_count(0)
    assert names_of(gallery)['Somebody'] == 4


def person(page, name):
    page.locator('.tile', has_text=name).click()
    dialog = page.locator('#person-dialog')
    expect(dialog).to_be_visible()  # its words come before its faces, with which it opens
    expect(dialog.locator('h2')).to_have_text(name)
    return dialog


def test_corrections(people, visit):
    page = visit('people')
    expect(page.locator('.tile img')).to_have_count(3)
    dialog = person(page, 'Demi Moore')
    dialog.locator('.rename').get_by_label('Name').fill('Demi')
    dialog.get_by_role('button', name='Rename').click()
    expect(page.locator('.tile', has_text='Demi')).not_to_contain_text('Moore')
    dialog = person(page, 'Demi')
    dialog.locator('.rename').get_by_label('Name').fill('unnamed-0123456789')
    dialog.get_by_role('button', name='Rename').click()
    expect(page.locator('#status:popover-open')).to_contain_text('take another')  # above the dialog
    dialog.locator('.pick input').first.check()
    dialog.get_by_label('The chosen faces show').fill('Aicha El Ouafi')
    dialog.get_by_role('button', name='Not this person').click()
    expect(page.locator('.tile', has_text='Aicha')).to_contain_text('3 faces')
    dialog = person(page, 'Aaron Peirsol')
    dialog.locator('.pick input').first.check()
    dialog.get_by_label('The chosen faces show').fill('Twin')
    dialog.get_by_role('button', name='Split off').click()
    expect(page.locator('.tile', has_text='Twin')).to_be_visible()
    dialog = person(page, 'Twin')
    dialog.get_by_label('Is the same as').fill('Demmi')
    dialog.get_by_role('button', name='Merge').click()
    expect(page.locator('#status:popover-open')).to_contain_text('no Demmi to merge with')
    dialog.get_by_label('Is the same as').fill('Demi')
    dialog.get_by_role('button', name='Merge').click()
    page.locator('#question').get_by_role('button', name='Merge').click()
    expect(page.locator('.tile')).to_have_count(3)
    assert names_of(people) == {'Aaron Peirsol': 1, 'Aicha El Ouafi': 3, 'Demi': 2}
    page.get_by_label('Find by name').fill('AICHA')
    expect(page.locator('.tile:visible')).to_have_count(1)


def test_deletion_asks_first(people, visit):
    page = visit('people')
    dialog, question = person(page, 'Demi Moore'), page.locator('#question')
    dialog.get_by_role('button', name='Delete person').click()
    expect(question.get_by_role('button', name='Cancel')).to_be_focused()
    page.keyboard.press('Escape')
    assert names_of(people)['Demi Moore'] == 2
    dialog.get_by_role('button', name='Delete person').click()
    question.get_by_role('button', name='Delete').click()
    expect(page.locator('.tile')).to_have_count(2)
    dialog = person(page, 'Aaron Peirsol')
    dialog.locator('.pick input').first.check()
    dialog.get_by_role('button', name='Delete faces').click()
    question.get_by_role('button', name='Delete').click()
    expect(page.locator('.tile', has_text='Aaron')).to_contain_text('1 face')
    assert names_of(people) == {'Aaron Peirsol': 1, 'Aicha El Ouafi': 2}


def test_the_threshold_is_dragged_and_calibrated(served, people, visit):
    people.set_calibration(dict(threshold=0.9, fpir=0.5, low=0.8, high=0.95))
    points = served.client.curve().points
    page = visit('threshold')
    chart = page.locator('.chart')
    expect(chart.locator('.handle')).to_be_visible()
    box = chart.bounding_box()
    figures = page.locator('.f-threshold')
    page.mouse.move(box['x'] + box['width'] - 20, box['y'] + 100)
    page.mouse.down()
    expect(figures).to_have_text(f'{points[-1].threshold:.3f}')
    page.mouse.move(box['x'] + 50, box['y'] + 100, steps=3)
    page.mouse.up()
    expect(figures).to_have_text(f'{points[0].threshold:.3f}')
    page.locator('#threshold .place').focus()
    page.keyboard.press('ArrowRight')
    expect(figures).to_have_text(f'{points[1].threshold:.3f}')
    page.get_by_role('button', name='Use this threshold').click()
    expect(page.locator('#threshold .current')).to_contain_text(f'{points[1].threshold:.3f}')
    assert people.calibration['threshold'] == points[1].threshold
    page.get_by_role('link', name='Search').click()
    assert float(page.locator('#search .score').input_value()) == pytest.approx(
        points[1].threshold, abs=0.005
    )


def test_no_curve_of_nobody(gallery, visit):
    page = visit('threshold')
    expect(page.locator('#threshold .empty')).to_contain_text('a curve needs 2 non-mated probes')


def test_the_camera_is_searched_live(people, visit):
    page = visit('search')
    page.get_by_role('button', name='Camera').click()
    expect(page.locator('#search video')).to_be_visible()
    expect(page.locator('#search .mark')).to_have_text(re.compile('Aaron Peirsol'))
    page.locator('#search .mark').click()
    dialog = page.locator('#face-dialog')
    dialog.get_by_label('Name').fill('Somebody live')
    dialog.get_by_role('button', name='Enrol', exact=True).click()
    expect(page.locator('#search .mark')).to_have_text(re.compile('Somebody live'))
    assert names_of(people)['Somebody live'] == 1
    page.get_by_role('button', name='Stop camera').click()
    expect(page.locator('#search .photo')).to_have_count(0)


def test_models_cards_and_speed(served, visit):
    page = visit('models')
    expect(page.locator('.model')).to_have_count(2)
    expect(page.locator('.speed tbody tr', has_text='/v1/models').first).to_be_visible()
    page.get_by_role('button', name='Model card').first.click()
    card = page.locator('#card-dialog')
    expect(card.locator('td', has_text='Platelets').last).to_be_visible()
    expect(card.locator('table')).to_have_count(2)
    expect(card.locator('pre')).to_contain_text('mbv1 test')
    expect(card.locator('h4')).to_have_text(['Figures', 'Limits'])
    expect(card.locator('p', has_text='|')).to_have_count(0)


def test_a_key_is_asked_for_and_kept_for_the_tab(networks, visit, cells, tmp_path):
    keys = tmp_path / 'keys.json'
    key = add_key(keys, 'page', 'read')
    service = Service(detector=networks['detector'], keys=KeyFile(keys))
    with reachable(create_app(service)) as url:
        page = visit(url=url)
        dialog = page.locator('#key-dialog')
        for given, told in (('schlüssel', ''), ('wrong', 'A key is of'), (key, 'This key is not known.')):
            expect(dialog.locator('.error')).to_contain_text(told)
            dialog.get_by_label('Key').fill(given)
            dialog.get_by_role('button', name='Use key').click()
        expect(page.locator('header nav a:visible')).to_have_text(['Detect', 'Models'])  # no gallery
        choose(page, 'objects', cells)
        assert page.evaluate('() => [localStorage.length, document.cookie, sessionStorage.length]') == [
            0,
            '',
            1,
        ]
        assert key not in page.url
        other = page.context.new_page()
        other.goto(url)
        expect(other.locator('#key-dialog')).to_be_visible()
        page.locator('#key-button').click()
        dialog.get_by_role('button', name='Forget').click()
        expect(page.locator('#key-dialog')).to_be_visible()  # nothing of before is shown any more
        expect(page.locator('#objects .photo')).to_have_count(0)
        assert page.evaluate('() => sessionStorage.length') == 0


def test_names_are_texts_whatever_they_say(people, visit, photographs, tmp_path):
    hostile = '<img src=x onerror="document.title=1">'
    people.rename('Demi Moore', hostile)
    file = tmp_path / '<b>"&amp;.jpg'
    file.write_bytes(photographs['Demi Moore'][0].read_bytes())
    page = visit('people')
    expect(page.locator('.tile b', has_text='onerror')).to_have_text(hostile)
    expect(person(page, hostile).locator('.rename input')).to_have_value(hostile)
    page.keyboard.press('Escape')
    page.get_by_role('link', name='Search').click()
    choose(page, 'search', file)
    expect(page.locator('#search .photo h2')).to_have_text(file.name)
    expect(page.locator('#search .mark')).to_contain_text('onerror')
    assert page.locator('img:not([src^="blob:"])').count() == 0


@pytest.mark.parametrize('width', [1280, 360])
def test_a_very_long_name_takes_no_more_room_than_two_lines(people, visit, width):
    long = ' '.join(['Wolfeschlegelsteinhausenbergerdorff'] * 60)
    people.rename('Demi Moore', long)
    page = visit('people', width=width)
    name, other = page.locator('.tile b', has_text='Wolfe'), page.locator('.tile b', has_text='Peirsol')
    expect(name).to_have_attribute('title', long)
    assert name.bounding_box()['height'] <= 2.1 * other.bounding_box()['height']
    name.click()
    heading = page.locator('#person-dialog h2')
    expect(heading).to_have_attribute('title', long)
    expect(heading).to_be_visible()  # the name is there before the dialog: its faces are asked for first
    assert heading.bounding_box()['height'] < 80
    assert page.evaluate('document.documentElement.scrollWidth <= window.innerWidth')


def test_a_calibrated_threshold_is_the_one_that_is_used(people, visit, photographs):
    people.set_calibration(dict(threshold=0.6523, fpir=0.01, low=0.6, high=0.7))
    page = visit('search')
    choose(page, 'search', photographs['Demi Moore'][0])
    for score in (0.6523, 0.7):  # the slider's steps are coarser
        with page.expect_download() as waiting:
            page.locator('#search .download').click()
        assert json.loads(Path(waiting.value.path()).read_text())['least_score'] == score
        slide(page, '#search .score', 0.7)


def test_a_blank_name_is_none(people, visit, photographs):
    page = visit('search')
    choose(page, 'search', photographs['Dan Morales'][0])
    page.locator('#search .mark').first.click()
    dialog = page.locator('#face-dialog')
    dialog.get_by_label('Name').fill('  ')
    dialog.get_by_role('button', name='Enrol', exact=True).click()
    expect(page.locator('#status:popover-open')).to_contain_text('the name is empty')
    assert len(people) == 6


def test_the_largest_groups_come_first_and_all_are_counted(gallery, visit):
    page = visit('models')
    groups = [dict(identity=f'group-{n:010x}', images=2 + n, kind='group') for n in range(120)]
    alone = dict(
        people=[dict(identity='unnamed-0000000000', images=1, kind='alone')], next='unnamed-0000000000'
    )
    answers = {
        'kind=group&limit=1000': dict(people=groups[:70], next='x'),
        'kind=group&limit=1000&after=x': dict(people=groups[70:], next=None),
        'kind=alone&limit=100': alone,
    }

    def answer(route):
        told = answers.get(route.request.url.partition('?')[2])
        route.fulfill(json=told) if told else route.fallback()

    page.route('**/v1/faces/people?*', answer)
    page.get_by_role('link', name='Unknown').click()
    expect(page.locator('.group-card')).to_have_count(100)
    expect(page.locator('.group-card .note').first).to_have_text('121 faces')
    expect(page.locator('#unknown .found')).to_have_text(
        '120 groups (the largest 100 are shown), more than 1 face alone'
    )


def test_the_skip_link_stays_in_its_view(gallery, visit):
    page = visit('models')
    expect(page.locator('#models h1')).to_be_visible()
    page.locator('.skip').focus()
    page.keyboard.press('Enter')
    expect(page.locator('main')).to_be_focused()
    expect(page.locator('#models h1')).to_be_visible()


VIEWS = ('objects', 'search', 'people', 'unknown', 'threshold', 'models')


@pytest.mark.parametrize(('width', 'scheme'), [(360, 'dark'), (1280, 'light')])
def test_everybody_can_use_it(people, served, visit, photographs, cells, width, scheme):
    """axe finds nothing, nor too little contrast in the other scheme; nothing is wider than the window."""
    axe = pytest.importorskip('axe_playwright_python.sync_playwright', reason=NEEDS_CHROMIUM).Axe()
    served.client.enrol(photographs['Dan Morales'])
    # axe makes scripts of texts; colours that change by and by are none to measure
    page = visit('objects', width, scheme, bypass_csp=True, reduced_motion='reduce')
    wrong = []

    def check(name):
        if (wide := page.evaluate('() => document.documentElement.scrollWidth')) > width:
            wrong.append((name, wide))
        if SCREENSHOTS:
            page.screenshot(path=Path(SCREENSHOTS) / f'{name}-{width}-{scheme}.png', full_page=True)
        problems(name, {})
        page.emulate_media(color_scheme='light' if scheme == 'dark' else 'dark')
        problems(name, {'runOnly': ['color-contrast']})
        page.emulate_media(color_scheme=scheme)

    def problems(name, options):
        found = axe.run(page, options=options).response['violations']
        wrong.extend((name, one['id'], one['nodes'][0]['html']) for one in found)

    def choose_view(view):
        page.locator(f'nav a[href="#{view}"]').click()
        expect(page.locator(f'#{view} h1')).to_be_visible()

    choose(page, 'objects', cells)
    check('objects')
    choose_view('search')
    choose(page, 'search', photographs['Demi Moore'][0])
    check('search')
    page.locator('#search .mark').click()
    check('face')
    page.keyboard.press('Escape')
    choose_view('people')
    page.locator('.tile').first.click()
    check('person')
    page.locator('#person-dialog .remove').click()
    check('question')
    page.keyboard.press('Escape')
    page.keyboard.press('Escape')
    for view in VIEWS[2:]:
        choose_view(view)
        check(view)
    assert wrong == []
