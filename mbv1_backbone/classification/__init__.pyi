from .confusion import Confusion as Confusion, draw_confusion as draw_confusion
from .drawing import draw_predictions as draw_predictions
from .folders import ClassFolder as ClassFolder, Photo as Photo, read_class_folder as read_class_folder
from .heads import DropoutLinearClsHead as DropoutLinearClsHead
from .linear import LinearClassifier as LinearClassifier, fit_linear as fit_linear
from .partition import Partition as Partition
from .place_data import PlacesDataset as PlacesDataset
from .place_head import PlacesHead as PlacesHead
from .place_metric import PlacesMetric as PlacesMetric
from .transforms import LoadPhoto as LoadPhoto, MiddleSquare as MiddleSquare
