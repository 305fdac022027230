from .calibration import Calibration as Calibration, Curve as Curve, calibrate as calibrate, curve as curve
from .clustering import (
    cluster as cluster,
    cluster_all as cluster_all,
    estimate_threshold as estimate_threshold,
)
from .conditions import Condition as Condition
from .factories import choose_factory as choose_factory
from .gallery import Gallery as Gallery
from .groups import Group as Group, Grouping as Grouping
from .interface import GalleryLike as GalleryLike
from .places import create_gallery as create_gallery, open_gallery as open_gallery
from .records import (
    Added as Added,
    Correction as Correction,
    Entry as Entry,
    IdentityMatch as IdentityMatch,
    Match as Match,
    Matches as Matches,
    SearchResults as SearchResults,
)
from .shards import ShardMatch as ShardMatch, Shards as Shards
from .tuning import tune as tune
