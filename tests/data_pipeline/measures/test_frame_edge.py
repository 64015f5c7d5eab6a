import numpy as np

from data_pipeline.measures.frame_edge import cut_frac


def test_frames_whose_box_touches_an_edge_are_counted() -> None:
    boxes = np.float32([[20, 20, 80, 80], [0, 20, 60, 80], [50, 30, 120, 90], [20, 40, 80, 100], [20, 0, 80, 60]])
    assert cut_frac(boxes, 100, 120) == 0.8
    assert cut_frac(boxes[:1], 100, 120) == 0
