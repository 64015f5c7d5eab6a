import pytest

# beartype warns of a type inside DictConfig, which is not ours.
pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated by PEP 585")


def test_evaluate_compares_before_and_after(run, tmp_path, puppet_set, tiny_weights) -> None:
    done = run("evaluate", f"data={puppet_set}", f"weights={tiny_weights}", f"baseline_weights={tiny_weights}",
               "out=eval", "side_px=64", "~detector")  # fmt: skip
    assert done.code == 0, done.err
    assert {"rows.csv", "summary.json", "report.html", "config.yaml", "examples"} == {
        path.name for path in (tmp_path / "eval").iterdir()
    }
    assert "after − before" in (tmp_path / "eval" / "report.html").read_text()
    assert "open " in done.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["data=nowhere"], "data=nowhere is not a folder"),
        (["data={puppets}", "size=huge"], "size='huge' is unknown; choose quick or full"),
        ([], "option data.path is required"),
    ],
)
def test_a_mistake_in_evaluate_is_one_sentence(run, puppet_set, tiny_weights, options, message) -> None:
    options = [option.format(puppets=puppet_set) for option in options]
    done = run("evaluate", f"weights={tiny_weights}", "out=eval", "~detector", *options)
    assert done.code == 1
    assert done.err.startswith("error: ")
    assert message in done.err
