from .layers import Conv2dSame as Conv2dSame, SteadyBN as SteadyBN
from .mobilenet_v1 import MobileNetV1 as MobileNetV1, Row as Row, Tap as Tap
from .recipe import Recipe as Recipe
