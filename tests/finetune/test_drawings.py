import numpy as np

from finetune.drawings import FREE, GUIDED, LINES, marked, occlusion_map, warped_grid

SIDE = 128


def identity(depth: int = 3, side: int = 32) -> np.ndarray:
    line = np.linspace(-1, 1, side, dtype=np.float32)
    x, y = np.meshgrid(line, line)
    return np.stack([np.stack((x, y, np.full_like(x, z)), axis=-1) for z in np.linspace(-1, 1, depth)])


def test_points_lie_where_their_numbers_say() -> None:
    canvas = np.zeros((SIDE, SIDE, 3), np.uint8)
    points = np.array([[-0.5, -0.5, 0.0], [0.5, 0.0, 0.0]], np.float32)
    drawn = marked(canvas, points, np.array([[0.25, 0.75]], np.float32), guided=[1])
    assert tuple(drawn[32, 32]) == FREE
    assert tuple(drawn[64, 96]) == GUIDED
    ring = drawn[92:101, 28:37].max(axis=2)
    assert ring.max() > 200 > 4 * ring[4, 4]
    assert not canvas.any()


def test_an_unmoved_grid_is_straight_and_a_moved_one_moves_the_other_way() -> None:
    canvas = np.full((SIDE, SIDE, 3), 100, np.uint8)
    straight = warped_grid(canvas, identity())
    columns = np.flatnonzero((straight[..., 2] > 200).all(axis=0))
    assert len(np.unique(np.round(columns / (SIDE / LINES)))) == LINES + 1
    # The output looks half a cell further right in the source: its lines stand half a cell further left.
    moved = warped_grid(canvas, identity() + np.array([1 / LINES, 0, 0], np.float32))
    at = (moved[..., 2] > 200).all(axis=0)
    inner = columns[(columns > 8) & (columns < SIDE - 16)]
    assert at[np.round(inner - SIDE / LINES / 2).astype(int)].mean() > 0.7
    assert not at[inner].any()
    assert (straight[3, 3] == straight[3, 4]).all()
    assert straight[3, 3, 0] < 60


def test_nothing_is_drawn_where_the_flow_leaves_the_source() -> None:
    outside = warped_grid(np.full((SIDE, SIDE, 3), 100, np.uint8), identity() + 5)
    assert (outside == 55).all()


def test_the_occlusion_is_grey() -> None:
    found = occlusion_map(np.array([[0.0, 1.0], [0.0, 1.0]], np.float32), 8)
    assert found.shape == (8, 8, 3)
    assert (found[:, 0] == 0).all()
    assert (found[:, -1] == 255).all()
