from .drawing import draw_answers as draw_answers
