"""What ``mbv1 benchmark`` does: a benchmark each, printed, and written as JSON and PNG."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from benchmarks import charts, gallery
from benchmarks.timing import best_precision, machine
from mbv1_backbone.common.errors import InputError
from mbv1_backbone.common.files import write_json
from mbv1_backbone.common.images import find_images, read_image
from mbv1_backbone.inference.embedder import FaceEmbedder
from mbv1_backbone.inference.loading import load
from mbv1_backbone.weights.zoo import find_any_config

_RUNTIMES = ('torch', 'onnxruntime', 'openvino')
_EAGER = 'timm mobilenetv1_100'  # what the backbone's times are compared with


def backbones(args: Namespace) -> None:
    """The backbone in each runtime, and other projects' backbones."""
    from benchmarks.backbones import measure

    spec = _machine(*_RUNTIMES, 'timm', 'torchvision', 'mmdet')
    found = measure((1, 8), args.rounds)
    best = best_precision()
    for batch, times in found['milliseconds'].items():
        limit = found['limit_ms'][f'{best}, {batch}']
        print(f'\n{batch}: milliseconds an image; the limit of the arithmetic at {best} is {limit:.2f}')
        print(f'{"":34}{"ms":>8}{"timm / this":>13}{"this / limit":>14}{"MiB":>7}')
        for name, time in times.items():
            memory = found['memory_mib'][name]
            print(f'{name:34}{time:8.2f}{times[_EAGER] / time:12.1f}x{time / limit:13.1f}x{memory:7.0f}')
    _write(args, 'backbones', dict(machine=spec, result=found))
    limits = {batch: found['limit_ms'][f'{best}, {batch}'] for batch in found['milliseconds']}
    title = 'Backbones at 224 pixels'
    path = Path(args.out_dir) / 'backbones.png'
    print(charts.bars(found['milliseconds'], 'milliseconds an image', title, path, limits))


def grid(args: Namespace) -> None:
    """Milliseconds over width and resolution."""
    from benchmarks.backbones import grid

    spec = _machine(*_RUNTIMES)
    found = grid((0.25, 0.5, 0.75, 1.0), (128, 160, 192, 224), 8, args.rounds)
    speed = found['mult_adds_a_second'] / 1e9
    print(f'\n{found["backend"]}, batches of 8; a matrix product does {speed:.0f} G mult-adds a second')
    print(f'{"width":>6}{"side":>6}{"M mult-adds":>13}{"ms":>8}{"this / limit":>14}')
    for cell in found['cells']:
        limit = 1000 * cell['mult_adds'] / found['mult_adds_a_second']
        print(
            f'{cell["width"]:6g}{cell["side"]:6d}{cell["mult_adds"] / 1e6:13.0f}{cell["milliseconds"]:8.2f}'
            f'{cell["milliseconds"] / limit:13.1f}x'
        )
    _write(args, 'grid', dict(machine=spec, result=found))
    print(charts.plane(found, f'MobileNetV1, {found["backend"]}', Path(args.out_dir) / 'grid.png'))


def runtimes(args: Namespace) -> None:
    """The backbone in all runtimes and precisions, on one thread and on two."""
    from benchmarks.runtimes import BASE, installed, measure, table

    packages = sorted({runtime.package.replace('_', '-') for runtime in installed()})
    spec = _machine(*packages)
    found = measure(args.rounds)
    print(f'\nMobileNetV1 1.0-224, an image at a time; of base: CPU time, of that of {BASE}\n{table(found)}')
    _write(args, 'runtimes', dict(machine=spec, result=found))
    path = Path(args.out_dir) / 'runtimes.png'
    panels = {f'{n} threads': {name: row[f'cpu_{n}'] for name, row in found.items()} for n in (1, 2)}
    print(charts.bars(panels, 'milliseconds of CPU time an image', 'Runtimes at 224 pixels', path))


def detectors(args: Namespace) -> None:
    """Detectors, from file to boxes."""
    from benchmarks.detectors import measure

    files = find_images([args.photos])[: args.images]
    if args.tflite is not None and not Path(args.tflite).is_file():
        raise InputError(f'--tflite {args.tflite}: no such file')
    spec = _machine(*_RUNTIMES, 'mmdet', 'torchvision', *(['ai-edge-litert'] if args.tflite else []))
    found = measure(files, Path(args.tflite) if args.tflite else None, args.rounds)
    theirs = next(name for name in found if name.startswith('mmdet'))
    print(f'\n{len(files)} files of {args.photos}: milliseconds an image')
    for name, time in found.items():
        print(f'{name:46}{time:8.2f}{found[theirs] / time:8.1f}x as fast as mmdet')
    _write(args, 'detectors', dict(machine=spec, files=len(files), milliseconds=found))
    path, title = Path(args.out_dir) / 'detectors.png', 'From image file to boxes'
    print(charts.bars({f'{len(files)} photographs': found}, 'milliseconds an image', title, path))


def faces(args: Namespace) -> None:
    """Embeddings, from file to vector."""
    from benchmarks.faces import measure

    files = find_images([args.faces])[: args.images]
    embedders = {'torch fp32': FaceEmbedder.load(args.model)}
    for backend in _RUNTIMES:
        embedder = load(args.model, backend=backend, kind='embedder', mode='throughput', finder=None)
        embedders[f'{backend} {embedder.network.precision}'] = embedder
    spec = _machine(*_RUNTIMES, 'pillow', 'opencv-python')
    rates = measure(embedders, files, args.batch_sizes, args.rounds)
    print(f'\n{args.model}, {len(files)} files of {args.faces}')
    for name, rate in rates.items():
        print(f'{name:46} {rate:8.1f} images/s  {1000 / rate:8.2f} ms')
    _write(args, 'faces', dict(machine=spec, model=args.model, images_per_second=rates))
    path = Path(args.out_dir) / 'faces.png'
    print(charts.bars({f'{len(files)} files': rates}, 'images a second', args.model, path, log=True))


def face_detectors(args: Namespace) -> None:
    """Detectors of faces."""
    from benchmarks.face_detectors import measure
    from mbv1_backbone.inference.face_detectors import named_finder

    photos = [read_image(path) for path in find_images([args.photos])]
    finders = {name: named_finder(name) for name in args.detectors}
    detectors = {name: finder.detector for name, finder in finders.items() if finder is not None}
    spec = _machine('openvino', 'onnxruntime', 'opencv-python')
    found = measure(detectors, photos, args.rounds)
    print(f'\n{len(photos)} photographs of {args.photos}')
    for name, value in found.items():
        print(
            f'{name:46} middle face {value["recall"]:.4f}, {value["faces"]:.0f} faces, '
            f'{value["milliseconds"]:.1f} ms a megapixel, {value["processor_ms"]:.1f} ms of the processor'
        )
    _write(args, 'face_detectors', dict(machine=spec, photos=len(photos), result=found))


def galleries(args: Namespace) -> None:
    """Galleries beside other engines."""
    from benchmarks import gallery_report, people

    rivals = [name for name in args.rivals if not args.no_graphs or name in ('numpy', 'faiss')]
    fit = None if args.real is None else people.fit(*people.read(args.real))
    spec = _machine('faiss-cpu', 'numpy', *gallery_report.packages(rivals))
    draw: Callable[[int], people.People] = (fit or people.shipped()).draw
    kinds: dict[str, Callable[[int], people.People]] = {'made-up': people.made_up, 'real-like': draw}
    out = Path(args.out_dir)
    results = gallery_report.known(out / 'gallery.json', spec)
    if args.real is not None:
        print(gallery_report.people_line('--real', people.statistics_of(*people.read(args.real))))
    for size in args.sizes:
        for kind in args.people:
            some = kinds[kind](size)
            about = people.statistics(some)
            print(f'\n{size} entries, {kind}')
            print(gallery_report.people_line('people', about))
            found = gallery.compare(
                some,
                out / 'gallery',
                Path(args.cache or out / 'cache'),
                rivals,
                args.rounds,
                args.ef_construction,
            )
            found |= dict(kind=kind, people=about, ef_construction=args.ef_construction)
            results = gallery_report.added(results, found)
            print(gallery_report.table(found))
            _write(args, 'gallery', dict(machine=spec, results=results))
    print(charts.recall_curves(gallery_report.panels(results), gallery_report.TITLE, out / 'gallery.png'))


def shards(args: Namespace) -> None:
    """One gallery against several that answer as one."""
    spec = _machine('faiss-cpu')
    from benchmarks.shards import measure_shards

    done = measure_shards(args.entries, Path(args.out_dir) / 'gallery', args.rounds, args.shards)
    built = ', '.join(f'{seconds:.1f}' for seconds in done['build_s'])
    print(f'{args.entries} entries; parts built in {built} s, merged into one in {done["merge_s"]:.1f} s')
    for name, value in done['engines'].items():
        print(
            f'  {name:28}{value["batch_wall_1"]:10.0f} us a query in batches, {value["single_wall_1"]:.0f} '
            f'alone, recall@10 {value["recall"]:.4f}'
        )
    _write(args, 'shards', dict(machine=spec, result=done))


def scale(args: Namespace) -> None:
    """One gallery of very many entries, which is kept."""
    spec = _machine('faiss-cpu', 'numpy')
    from benchmarks.scale import measure_scale

    folder = Path(args.out_dir) / f'scale-{args.entries}'
    done = measure_scale(args.entries, folder, args.rounds, args.bytes_per_vector)
    print(f'{args.entries} entries, {done["index_kind"]}, {done["disk_gb"]:.2f} GB in {folder}')
    _write(args, 'scale', dict(machine=spec, result=done))


def service(args: Namespace) -> None:
    """A service of ``mbv1 serve`` beside the library."""
    from benchmarks.service import measure

    files = find_images([args.photos])[: args.images]
    spec = _machine('fastapi', 'starlette', 'uvicorn')
    found = measure(args.detector, args.model, files, args.clients, args.rounds)
    print(
        f'\n{args.clients} clients on this machine, one image a request, {len(files)} files of {args.photos}'
    )
    print(f'{"":14}{"library":>12}{"service":>12}{"ratio":>8}{"p50":>10}{"p95":>10}   CPU an image')
    for route, value in found.items():
        print(
            f'{route:14}{value["library"]:8.1f} i/s{value["service"]:8.1f} i/s{value["ratio"]:8.2f}'
            f'{value["p50"]:7.0f} ms{value["p95"]:7.0f} ms'
            f'   {value["library_cpu"]:.1f} and {value["service_cpu"]:.1f} ms'
        )
    _write(args, 'service', dict(machine=spec, clients=args.clients, files=len(files), result=found))


def training(args: Namespace) -> None:
    """A training step by stage."""
    from benchmarks.training import measure
    from mbv1_backbone import training as engine
    from mbv1_backbone.training.precision import precision_of, slow_precision

    work_dir = str(Path(args.out_dir) / 'training')
    cfg = engine.load_config(find_any_config(args.config), data_root=args.data_root, work_dir=work_dir)
    engine.require_keys(cfg, 'train_dataloader', 'optim_wrapper')
    engine.require_data(cfg, 'train_dataloader')
    amp = engine.bfloat16_is_default() if args.amp is None else args.amp
    if amp:
        engine.use_bfloat16(cfg)
    spec = _machine('torch', 'mmengine')
    if warning := slow_precision(cfg):
        print(warning)
    found = measure(cfg, args.rounds)
    count = found['batch_size']
    print(f'\n{args.config}, {precision_of(cfg)}, batches of {count}: milliseconds an image')
    for name, time in found['data'].items():
        print(f'  data, {name:32}{time:8.2f}')
    for name, time in found['step'].items():
        print(f'  {name:38}{time / count:8.2f}')
    _write(args, 'training', dict(machine=spec, amp=amp, result=found))


def variants(args: Namespace) -> None:
    """Accuracy of the paper's variants, trained from scratch under one budget."""
    from benchmarks.variants import Budget, compare, paper_differences
    from mbv1_backbone.classification.folders import read_class_folder

    folder = read_class_folder(args.folder)
    budget = Budget(args.width, args.size, args.epochs)
    print(folder.summary())
    spec, file = _machine('torch'), Path(args.out_dir) / 'variants.json'
    found = compare(folder, budget, args.seeds, file)
    print(f'\n{"":20}{"M mult-adds":>12}{"M params":>10}{"top-1":>8}{"spread":>8}{"train loss":>12}')
    for name, network in found['networks'].items():
        accuracies, losses = ([run[key] for run in network['runs']] for key in ('accuracy', 'training_loss'))
        print(
            f'{name:20}{network["mult_adds"] / 1e6:12.1f}{network["params"] / 1e6:10.3f}'
            f'{100 * mean(accuracies):8.1f}{100 * _spread(accuracies):8.1f}{mean(losses):12.3f}'
        )
    for name, gap, spread, paper in paper_differences(found):
        print(f'{name}: {gap:+.1f} points, spread {spread:.1f}; the paper, on ImageNet: {paper:+.1f}')
    write_json(file, dict(found, machine=spec), indent=1)


def _spread(values: list[float]) -> float:
    """Standard deviation; 0 of one value."""
    return stdev(values) if len(values) > 1 else 0.0


def everything(args: Namespace) -> None:
    """All that are compared with others, one after the other."""
    for command in (backbones, runtimes, grid, detectors, faces, galleries):
        command(args)


def _machine(*packages: str) -> dict[str, str | int]:
    spec = machine(*packages)
    print(', '.join(f'{name} {value}' for name, value in spec.items()))
    return spec


def _write(args: Namespace, name: str, found: Mapping[str, Any]) -> None:
    write_json(Path(args.out_dir) / f'{name}.json', found, indent=2)
