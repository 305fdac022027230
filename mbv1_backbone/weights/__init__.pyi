from .sources import import_weights as import_weights
from .store import (
    Weights as Weights,
    fingerprint as fingerprint,
    read_weights as read_weights,
    write_weights as write_weights,
)
