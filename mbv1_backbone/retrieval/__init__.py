"""Face retrieval: galleries to search, change and trust. Imports numpy, FAISS and SQLite, never torch."""

from mbv1_backbone.retrieval.calibration import Calibration, calibrate
from mbv1_backbone.retrieval.gallery import Added, Gallery
from mbv1_backbone.retrieval.index import choose_factory
from mbv1_backbone.retrieval.records import Entry, Found, IdentityMatch, Match, Matches
from mbv1_backbone.retrieval.shards import ShardMatch, Shards
from mbv1_backbone.retrieval.tuning import tune

__all__ = [
    'Added',
    'Calibration',
    'Entry',
    'Found',
    'Gallery',
    'IdentityMatch',
    'Match',
    'Matches',
    'ShardMatch',
    'Shards',
    'calibrate',
    'choose_factory',
    'tune',
]
