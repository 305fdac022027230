from .enrolment import (
    Enrolled as Enrolled,
    ask as ask,
    draw_answers as draw_answers,
    enrol as enrol,
    read_sources as read_sources,
)
