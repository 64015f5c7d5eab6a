from finetune.settings import first_difference, settings_hash, settings_of

CONFIG = {
    "seed": 0, "max_steps": 5, "out": "runs/a", "logger": {}, "trainer": {"devices": 1},
    "data": {"shards": "here", "workers": 0, "batch_size": 8, "mixture": {"cross_frac": 0.4}},
    "recipe": {"stages": [], "optimiser": {"lr": 1e-4}},
}  # fmt: skip


def test_only_what_steps_depend_on_counts():
    found = settings_of(CONFIG, "abc")
    assert found == {
        "data.batch_size": "8", "data.manifest": '"abc"', "data.mixture.cross_frac": "0.4",
        "recipe.optimiser.lr": "0.0001", "recipe.stages": "[]", "seed": "0",
    }  # fmt: skip
    moved = {**CONFIG, "out": "runs/b", "max_steps": 9, "data": {**CONFIG["data"], "shards": "there", "workers": 2}}
    assert settings_of(moved, "abc") == found
    assert settings_hash(settings_of(moved, "abc")) == settings_hash(found)


def test_the_first_difference_is_named():
    found = settings_of(CONFIG, "abc")
    other = settings_of({**CONFIG, "seed": 3, "recipe": {"stages": [], "optimiser": {"lr": 2e-4}}}, "abc")
    assert first_difference(found, found) is None
    assert first_difference(found, other) == "recipe.optimiser.lr was 0.0001 and is 0.0002 now"
    assert settings_hash(found) != settings_hash(other)
    assert "other media" in first_difference(found, settings_of(CONFIG, "def"))
    assert first_difference({"a": "1", **found}, found) == "a was 1 and is not there now"
