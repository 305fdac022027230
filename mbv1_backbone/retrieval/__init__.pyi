from .calibration import Calibration as Calibration, calibrate as calibrate
from .gallery import Added as Added, Gallery as Gallery
from .index import choose_factory as choose_factory
from .records import (
    Entry as Entry,
    Found as Found,
    IdentityMatch as IdentityMatch,
    Match as Match,
    Matches as Matches,
)
from .shards import ShardMatch as ShardMatch, Shards as Shards
from .tuning import tune as tune
