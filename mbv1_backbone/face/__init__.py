"""Face embeddings: the network, its losses and data, and the measures. Importing it registers everything."""

from mbv1_backbone.face import teachers, transforms  # registers
from mbv1_backbone.face.attributes import AttributeDataset, AttributeMetric, CelebA, FaceAttributeModel
from mbv1_backbone.face.datasets import FaceDataset
from mbv1_backbone.face.evaluation.metric import DisjointPeopleHook, FaceMetric
from mbv1_backbone.face.losses import ArcFaceLoss, CosFaceLoss, DistillationLoss, SemiHardTripletLoss
from mbv1_backbone.face.model import EmbeddingHead, FaceEmbeddingModel, FacePreprocessor
from mbv1_backbone.face.sampler import PKBatchSampler

__all__ = [
    'ArcFaceLoss',
    'AttributeDataset',
    'AttributeMetric',
    'CelebA',
    'CosFaceLoss',
    'DisjointPeopleHook',
    'DistillationLoss',
    'EmbeddingHead',
    'FaceAttributeModel',
    'FaceDataset',
    'FaceEmbeddingModel',
    'FaceMetric',
    'FacePreprocessor',
    'PKBatchSampler',
    'SemiHardTripletLoss',
    'teachers',
    'transforms',
]
