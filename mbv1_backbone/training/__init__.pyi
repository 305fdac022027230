from .checkpoint import (
    latest_checkpoint as latest_checkpoint,
    load_weights as load_weights,
    read_checkpoint as read_checkpoint,
)
from .checkpoint_hook import SafeCheckpointHook as SafeCheckpointHook
from .config import (
    default_start as default_start,
    kind_of as kind_of,
    load_config as load_config,
    require_data as require_data,
    require_keys as require_keys,
    use_pretrained as use_pretrained,
)
from .curves import CurvesHook as CurvesHook
from .precision import (
    BFloat16OptimWrapper as BFloat16OptimWrapper,
    bfloat16_is_default as bfloat16_is_default,
    use_bfloat16 as use_bfloat16,
)
from .publish import published as published
from .qat import QuantiseHook as QuantiseHook, use_qat as use_qat
from .recalibration import RecalibrateHook as RecalibrateHook
from .run import (
    build_runner as build_runner,
    evaluate as evaluate,
    resume_from as resume_from,
    scale_learning_rate as scale_learning_rate,
    train as train,
)
