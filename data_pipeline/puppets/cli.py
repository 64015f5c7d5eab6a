"""`lp-puppets`: options -> a folder of procedural portraits with exact truth."""

import time
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf

from data_pipeline.cli_errors import user_errors
from data_pipeline.puppets.make import PuppetSet


def plan_of(config: DictConfig) -> PuppetSet:
    """The plan of a composed config. YAML knows neither paths nor tuples, and writes 4 for 4.0.

    Raises:
        MissingMandatoryValue: `out` was not given.
        ValueError: an option is out of range.
    """
    values: dict[str, Any] = {str(key): config[key] for key in config if key not in ("_target_", "_convert_", "hydra")}
    lists = {key: tuple(OmegaConf.to_container(value)) for key, value in values.items() if key == "species"}  # pyright: ignore[reportArgumentType]
    floats = {key: float(values[key]) for key in ("seconds", "fps")}
    return PuppetSet(**{**values, **lists, **floats, "out": Path(str(config.out))})


@user_errors
def make(config: DictConfig) -> None:
    """Make the set that the config describes and say what was made."""
    started = time.monotonic()
    plan = plan_of(config)
    plan.out.mkdir(parents=True, exist_ok=True)
    part = plan.out / "config.yaml.part"
    part.write_text(OmegaConf.to_yaml(config, resolve=True))
    part.replace(plan.out / "config.yaml")
    manifest = plan()
    files = manifest["files"]
    frames = sum(entry["frames"] for entry in files)
    videos = sum(entry["kind"] == "video" for entry in files)
    print(f"{videos} clips and {len(files) - videos} stills ({frames} frames) in {time.monotonic() - started:.0f} s")
    print(f"in {plan.out}: manifest.json names every file; <name>.truth.npz beside each holds its truth")
    print(f"next: lp-curate source.path={plan.out} out=SHARDS")


@user_errors
def main() -> None:
    """Console script."""
    hydra.main(version_base="1.3", config_path="pkg://conf", config_name="puppets")(make)()
