from .common.errors import InputError as InputError
from .inference.loading import load as load
from .models.mobilenet_v1 import MobileNetV1 as MobileNetV1, Tap as Tap
from .models.recipe import Recipe as Recipe
from .retrieval.gallery import Gallery as Gallery
from .retrieval.places import open_gallery as open_gallery
from .weights.sources import import_weights as import_weights

__version__: str
