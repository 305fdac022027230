"""What a benchmark of galleries has found: kept, printed, drawn."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.other_engines import RIVALS

TITLE = 'CPU time of one thread, batches of 100; rings: the cheapest setting that reaches recall@10 .99'
_KEY = ('kind', 'entries')


def packages(rivals: Sequence[str]) -> list[str]:
    """Those of the other engines' packages that are installed."""
    found = []
    for name in rivals:
        package = RIVALS[name].package if name in RIVALS else 'faiss-cpu'
        try:
            version(package)
        except PackageNotFoundError:
            continue
        found.append(package)
    return found


def known(path: Path, machine: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Results of earlier runs on the same machine, so that one run may measure a part."""
    try:
        content = json.loads(path.read_text())
        return list(content['results']) if content['machine']['processor'] == machine['processor'] else []
    except (OSError, ValueError, LookupError, TypeError):
        return []


def added(results: Sequence[dict[str, Any]], found: dict[str, Any]) -> list[dict[str, Any]]:
    """Results with one more, in the place of an older one of the same people and size."""
    others = [one for one in results if any(one.get(key) != found[key] for key in _KEY)]
    return sorted([*others, found], key=lambda one: tuple(one[key] for key in reversed(_KEY)))


def people_line(name: str, about: Mapping[str, float]) -> str:
    """Statistics of people as one line."""
    pairs = ', '.join(
        f'{kind} scores {about[f"{kind}_mean"]:.3f} +- {about[f"{kind}_sd"]:.3f}'
        for kind in ('genuine', 'impostor')
        if f'{kind}_mean' in about
    )
    tail = f'.9999 of the impostors below {about["impostor_9999"]:.2f}'
    return f'{name}: TwoNN dimension {about["twonn"]:.1f}, {pairs}, {tail}'


def table(found: Mapping[str, Any]) -> str:
    """All figures of one set of people."""
    about, engines = found['gallery'], found['engines']
    lines = [
        f'  index {about["index"]}, trained for {about["trained_for"]}; built in {about["build_s"]:.1f} s '
        f'({about["build_cpu_s"]:.1f} of CPU), '
        f'{about["memory"]:.0f} bytes of memory an entry ({about["resident"]:.0f} with pages of files), '
        f'{about["disk"]:.0f} of the disk; opened in {about["open_s"]:.2f} s',
        f'  {"us a query":28}{"recall":>8}{"newest":>8}{"CPU":>9}{"/ours":>7}{"alone":>9}'
        f'{"2 thr.":>9}{"alone":>9}{"build s":>9}{"B/entry":>9}  setting',
    ]
    base = engines['gallery']['batch_cpu_1']
    for name, one in engines.items():
        short = '' if one.get('reached', True) else ' (not reached)'
        built = [one.get('build_s'), one.get('resident')]
        if name == 'gallery':
            built = [about['build_s'], about['resident']]
        lines.append(
            f'  {name:28}{one["recall"]:8.4f}{one["recall_newest"]:8.4f}{one["batch_cpu_1"]:9.1f}'
            f'{one["batch_cpu_1"] / base:6.2f}x{one["single_cpu_1"]:9.1f}{one["batch_wall_2"]:9.1f}'
            f'{one["single_wall_2"]:9.1f}{_number(built[0], 9)}{_number(built[1], 9)}  '
            f'{_setting(one.get("setting"))}{short}'
        )
    by_images = engines['gallery']['recall_by_images']
    if len(by_images) > 1:
        shown = ', '.join(f'{number}: {value:.4f}' for number, value in by_images.items())
        lines.append(f'  recall of people with images {shown}')
    plain = found['filters']['all']['batch_cpu_1']
    for name, one in found['filters'].items():
        if name != 'all':
            times = f'{one["batch_cpu_1"]:8.1f} us, {one["batch_cpu_1"] / plain:5.2f}x the plain search'
            first = f'the first in {1000 * one["first_s"]:.0f} ms'
            lines.append(f'  among {name:7} recall {one["recall"]:.4f}, {times}; {first}')
    return '\n'.join(lines)


def panels(results: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """For ``charts.recall_curves``."""
    return {
        f'{one["kind"]} people, {one["entries"]:,} entries': {
            name: dict(curve=engine['curve'], chosen=engine['chosen'] if engine['reached'] else None)
            for name, engine in one['engines'].items()
            if 'curve' in engine
        }
        for one in results
    }


def _number(value: float | None, width: int) -> str:
    return ' ' * width if value is None else f'{value:{width}.0f}'


def _setting(setting: Any) -> str:
    if isinstance(setting, Mapping):
        return ', '.join(f'{name} {value}' for name, value in setting.items())
    return '' if setting is None else str(setting)
