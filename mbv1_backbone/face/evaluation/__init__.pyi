from .clustering import BCubed as BCubed, b_cubed as b_cubed
from .metrics import (
    Roc as Roc,
    detect_and_identify as detect_and_identify,
    identify as identify,
    mean_average_precision as mean_average_precision,
    roc as roc,
    verify_folds as verify_folds,
)
from .protocols import (
    Embeddings as Embeddings,
    Pairs as Pairs,
    evaluate_gallery as evaluate_gallery,
    evaluate_pairs as evaluate_pairs,
    read_pairs as read_pairs,
)
from .splits import split_people as split_people, write_protocol as write_protocol
