from .drawing import draw_answers as draw_answers
from .heads import DropoutLinearClsHead as DropoutLinearClsHead
