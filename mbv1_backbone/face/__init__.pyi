from .attributes import (
    AttributeDataset as AttributeDataset,
    AttributeMetric as AttributeMetric,
    CelebA as CelebA,
    FaceAttributeModel as FaceAttributeModel,
)
from .datasets import FaceDataset as FaceDataset
from .evaluation.metric import DisjointPeopleHook as DisjointPeopleHook, FaceMetric as FaceMetric
from .losses import (
    ArcFaceLoss as ArcFaceLoss,
    CosFaceLoss as CosFaceLoss,
    DistillationLoss as DistillationLoss,
    SemiHardTripletLoss as SemiHardTripletLoss,
)
from .model import (
    EmbeddingHead as EmbeddingHead,
    FaceEmbeddingModel as FaceEmbeddingModel,
    FacePreprocessor as FacePreprocessor,
)
from .sampler import PKBatchSampler as PKBatchSampler
