from .classifier import (
    Classifier as Classifier,
    FeatureExtractor as FeatureExtractor,
    ImageClass as ImageClass,
    ImageClasses as ImageClasses,
)
from .detections import Detections as Detections
from .detector import Detector as Detector
from .embedder import Embedded as Embedded, FaceEmbedder as FaceEmbedder
from .loading import load as load
from .tracking import TrackedFrame as TrackedFrame, track as track
