from .dataset import WiderFaces as WiderFaces
from .landmark_head import RetinaFaceHead as RetinaFaceHead
from .retinaface import ContextModule as ContextModule, RetinaFaceNeck as RetinaFaceNeck
from .wider import WiderImage as WiderImage, read_wider as read_wider
