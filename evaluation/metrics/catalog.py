"""Metric names -> what each number is: the one list from which columns, arrows and footnotes are made."""

from evaluation.metrics.experts import EXPERT_METRICS
from evaluation.metrics.features import FEATURE_METRICS
from evaluation.metrics.identity import IDENTITY_METRICS
from evaluation.metrics.image import REGION_METRICS, WHOLE_METRICS
from evaluation.metrics.metric import Metric
from evaluation.metrics.motion import MOTION_METRICS
from evaluation.metrics.perceptual import PERCEPTUAL_METRICS
from evaluation.metrics.points import POINT_METRICS
from evaluation.metrics.steadiness import STEADINESS_METRICS

WHOLE_MOTION_METRICS = (
    Metric(
        name="motion_gain", title="motion gain", unit="1 is right", better="one", digits=3, source="ours",
        definition="how much of the true change the result makes: regression of (result - its first frame) on (truth - "
        "its first frame) over all pixels and frames; 0 for a frozen picture, 1 for the truth, below 0 if opposite",
    ),
    Metric(
        name="broken", title="broken frames", unit="% of frames", better="down", digits=1, source="ours",
        definition="share of result frames that hold NaN or infinity; they are measured as black",
    ),
)  # fmt: skip

METRICS: tuple[Metric, ...] = (
    *WHOLE_METRICS,
    *PERCEPTUAL_METRICS,
    *REGION_METRICS,
    *POINT_METRICS,
    *IDENTITY_METRICS,
    *FEATURE_METRICS,
    *WHOLE_MOTION_METRICS,
    *MOTION_METRICS,
    *EXPERT_METRICS,
    *STEADINESS_METRICS,
)

BY_NAME = {metric.name: metric for metric in METRICS}
