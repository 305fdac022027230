from .answers import Answer as Answer, ask as ask, draw_answers as draw_answers
from .enrolment import Enrolled as Enrolled, OtherName as OtherName, enrol as enrol
from .groups import draw_groups as draw_groups
from .sources import (
    Sources as Sources,
    read_photographs as read_photographs,
    read_sources as read_sources,
)
from .tracks import (
    FaceName as FaceName,
    FaceTrack as FaceTrack,
    FaceTracker as FaceTracker,
    TrackedFace as TrackedFace,
    TrackedFaces as TrackedFaces,
    track_faces as track_faces,
)
