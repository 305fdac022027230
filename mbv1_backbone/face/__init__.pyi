from .age_gender_race import (
    AgeGenderRaceMetric as AgeGenderRaceMetric,
    AgeGenderRaceModel as AgeGenderRaceModel,
)
from .attribute_data import AttributeDataset as AttributeDataset, CelebA as CelebA
from .attributes import AttributeMetric as AttributeMetric, FaceAttributeModel as FaceAttributeModel
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
from .utkface import UTKFace as UTKFace
