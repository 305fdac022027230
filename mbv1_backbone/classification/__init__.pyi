from .drawing import draw_answers as draw_answers
from .heads import DropoutLinearClsHead as DropoutLinearClsHead
from .partition import Partition as Partition
from .place_data import PlacesDataset as PlacesDataset
from .place_head import PlacesHead as PlacesHead
from .place_metric import PlacesMetric as PlacesMetric
