"""How widely to search for a wanted recall: measured on the gallery itself, against comparing with all."""

from __future__ import annotations

from dataclasses import asdict

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.retrieval.checks import check_count
from mbv1_backbone.retrieval.gallery import Gallery

__all__ = ['tune']

_GROWN = 1.1  # times the entries it was measured with: then it is measured anew


def tune(gallery: Gallery, recall: float, k: int = 10, probes: int = 200) -> dict[str, int]:
    """The narrowest search that finds a wanted share of the true nearest entries.

    Some of the gallery's own entries are searched for, each without itself, half of them of the newest
    tenth: both these and all must be found as was wanted. What is found is stored in the gallery (but
    not where it is open for reading only), and measured anew once it has another index or a tenth more.

    Args:
        gallery: With at least two entries.
        recall: Wanted share of the ``k`` truly nearest, in (0, 1].
        k: Nearest entries that count.
        probes: Entries to measure with.

    Returns:
        ``nprobe`` or ``ef_search``, and ``candidates``, for ``Gallery.search``; empty for an index that
        compares with all.

    Raises:
        InputError: If a value is out of its range, or the index cannot reach the recall however widely it
            searches, since it keeps vectors in short codes.
    """
    if isinstance(recall, bool) or not isinstance(recall, (int, float)) or not 0 < recall <= 1:
        raise InputError(f'recall must lie in 0..1 and above 0, got {recall!r}')
    about = dict(recall=recall, k=check_count(k, 'k'), factory=gallery.stats()['factory'])
    old = gallery.tuning or {}
    same = all(old.get(key) == value for key, value in about.items())
    if same and old['entries'] <= len(gallery) < _GROWN * old['entries']:
        return {option: int(width) for option, width in old['width'].items()}
    if gallery.exact:
        return {}
    if len(gallery) < 2:
        raise InputError(f'{gallery.folder}: {len(gallery)} entries are too few to measure recall')
    tuned = gallery.measure_recall(k, check_count(probes, 'probes')).narrowest(recall)
    if not tuned.reached:
        raise InputError(
            f'recall {recall:g} is out of reach of index {about["factory"]}: it keeps vectors in short codes'
        )
    width = {option: value for option, value in asdict(tuned.width).items() if value is not None}
    found = dict(entries=len(gallery), width=width, measured=tuned.recall, newest=tuned.newest)
    if not gallery.read_only:
        gallery.set_tuning({**about, **found})
    return width
