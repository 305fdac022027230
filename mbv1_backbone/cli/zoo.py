"""The model zoo: models with their figures, those of other projects too, and the configs.

mbv1 zoo
mbv1 zoo external --markdown
mbv1 zoo get timm/mobilenetv1_100
mbv1 zoo configs
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mbv1_backbone.cli import options

__all__ = [
    'CONFIG_COLUMNS',
    'MODEL_COLUMNS',
    'add_arguments',
    'config_rows',
    'external_rows',
    'external_table',
    'model_rows',
    'model_table',
    'run',
    'run_configs',
    'run_external',
    'run_get',
    'table',
]

MODEL_COLUMNS = ('name', 'task', 'trained on', 'mult-adds', 'params', 'figures', 'licence')
CONFIG_COLUMNS = ('config', 'network', 'width', 'input', 'data', 'in the zoo')


def add_arguments(parser: options.Parser) -> None:
    """What the verb takes."""
    parser.set_defaults(run=run)
    _add_markdown(parser)
    _add_markdown(parser.add_verb('external', "Other projects' models.", run_external))
    get = parser.add_verb('get', 'Fetch, check and import a model; print the file.', run_get)
    get.add_argument('model', help='a name in the model zoo')
    options.output_file(get, ('.safetensors',), 'copy the weights to this file')
    _add_markdown(parser.add_verb('configs', 'The configs that come with the project.', run_configs))


def run(args: argparse.Namespace) -> None:
    """List models; in Markdown this project's alone, as the README has them."""
    print(model_table(True) if args.markdown else table(MODEL_COLUMNS, [*model_rows(), *external_rows()]))


def run_external(args: argparse.Namespace) -> None:
    """List models of other projects."""
    print(external_table(args.markdown))


def run_get(args: argparse.Namespace) -> None:
    """Fetch the weights of a model, say where they are, and copy them to a file that is named."""
    from mbv1_backbone.common.files import write_atomically
    from mbv1_backbone.weights.external import external_models
    from mbv1_backbone.weights.zoo import get

    path = get(args.model)
    model = external_models().get(args.model)
    if model is not None:
        source = model.entry['Source']
        print(f'source:  {source["Repository"]} at {source["Commit"][:12]}, {source["Path"]}')
        print(f'licence: {model.entry["Metadata"]["License"]}')
    if args.out:
        write_atomically(args.out, path.read_bytes())
    print(args.out or path)


def run_configs(args: argparse.Namespace) -> None:
    """Print a table of the configs."""
    print(table(CONFIG_COLUMNS, config_rows(), args.markdown))


def model_table(markdown: bool = False) -> str:
    """This project's models; in Markdown with links to their cards, as the README has it."""
    rows = model_rows()
    if markdown:
        rows = [(f'[`{name}`](model_zoo/{name}/README.md)', *rest) for name, *rest in rows]
    return table(MODEL_COLUMNS, rows, markdown)


def external_table(markdown: bool = False) -> str:
    """Other projects' models; in Markdown with links to where they come from."""
    from mbv1_backbone.weights.external import external_models

    rows, models = external_rows(), external_models()
    if markdown:
        rows = [(f'[`{name}`]({models[name].source_url})', *rest) for name, *rest in rows]
    return table(MODEL_COLUMNS, rows, markdown)


def model_rows() -> list[tuple[str, ...]]:
    """A row a model, as ``model_zoo/metafile.yml`` has it.

    Raises:
        InputError: If the installation lacks the zoo.
    """
    from mbv1_backbone.weights.zoo import zoo_models

    return [_model_row(name, entry) for name, entry in zoo_models().items()]


def external_rows() -> list[tuple[str, ...]]:
    """A row a model of another project, as ``model_zoo/external.yml`` has it.

    Raises:
        InputError: If the installation lacks the zoo.
    """
    from mbv1_backbone.weights.external import external_models

    return [_model_row(name, model.entry) for name, model in external_models().items()]


def _model_row(name: str, entry: dict[str, Any]) -> tuple[str, ...]:
    about, figures = entry['Metadata'], []
    for result in entry['Results']:
        values = ', '.join(f'{metric} {value:g}' for metric, value in result['Metrics'].items())
        figures.append(f'{values} ({result["Dataset"]})')
    return (
        name,
        entry['Results'][0]['Task'],
        about['Training Data'],
        _millions(about['FLOPs']),
        _millions(about['Parameters']),
        '; '.join(figures),
        about['License'],
    )


def _millions(count: float) -> str:
    """Three digits of it, never with an exponent: 2756674000 is ``2760 M``."""
    return f'{float(f"{count / 1e6:.3g}"):g} M'


def config_rows() -> list[tuple[str, ...]]:
    """A row a config.

    Raises:
        InputError: If the installation lacks them.
    """
    from mbv1_backbone.common.resources import config_names, resource_folder
    from mbv1_backbone.weights.zoo import config_of, zoo_names

    trained: dict[Path, list[str]] = {}
    for name in zoo_names():
        if (path := config_of(name)) is not None:
            trained.setdefault(path, []).append(name)
    folder = resource_folder('configs')
    return [_config_row(folder / name, folder, trained.get(folder / name, [])) for name in config_names()]


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], markdown: bool = False) -> str:
    """Rows below the names of their columns: aligned, or as Markdown.

    Args:
        columns: Names of the columns.
        rows: A cell a column each.
        markdown: As a table of Markdown.
    """
    if markdown:
        lines = [columns, ['---'] * len(columns), *rows]
        return '\n'.join(f'| {" | ".join(cells)} |' for cells in lines)
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    return '\n'.join(
        '  '.join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
        for cells in (columns, *rows)
    )


def _config_row(path: Path, root: Path, trained: Sequence[str]) -> tuple[str, ...]:
    from mmengine.config import Config

    cfg = Config.fromfile(str(path), import_custom_modules=False)
    data = cfg.train_dataloader.dataset
    while 'dataset' in data:
        data = data.dataset
    return (
        path.relative_to(root).as_posix(),
        cfg.model.type.rpartition('.')[2],
        f'{cfg.model.backbone.get("widen_factor", 1.0):g}',
        _input_size(cfg),
        str(data.get('data_root', '')).rstrip('/'),
        ', '.join(trained),
    )


def _input_size(cfg: Any) -> str:
    """Of the images that the network is fed, in pixels."""
    size = cfg.model.data_preprocessor.get('input_size')
    if size is None:
        steps = cfg.test_dataloader.dataset.pipeline
        crops = [step.crop_size for step in steps if step.type.endswith('CenterCrop')]
        crops += [step.size for step in steps if step.type.endswith('MiddleSquare')]
        sizes = crops or [step.scale for step in steps if step.type.endswith('Resize')]
        size = sizes[0] if sizes else ''
    return ' x '.join(map(str, size)) if isinstance(size, (tuple, list)) else str(size)


def _add_markdown(parser: options.Parser) -> None:
    parser.add_argument('--markdown', action='store_true', help='print a table in Markdown')
