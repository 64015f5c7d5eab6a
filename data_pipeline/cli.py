"""`lp-curate`: raw media -> shards, a manifest, a list of drops and a report."""

from collections import Counter
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf

from data_pipeline.cli_errors import user_errors


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="curate")
@user_errors
def curate(config: DictConfig) -> None:
    """Curate `source.path` into `out`."""
    from hydra.utils import instantiate

    from data_pipeline.curate import FileWorker, remove_work
    from data_pipeline.curate import curate as run
    from data_pipeline.report import write_report

    out = Path(config.out)
    source = instantiate(config.source)
    source()  # a wrong path is told before the detector is loaded
    out.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, out / "config.yaml", resolve=True)
    detector = instantiate(config.detector, _convert_="all")
    curation = instantiate(config.curation, _convert_="all")(detector=detector)
    summary = run(
        source=source,
        worker=FileWorker(curation=curation, crf=config.video.crf, gop=config.video.gop),
        duplicates=instantiate(config.duplicates),
        writer=instantiate(config.writer),
        executor=instantiate(config.executor),
        out=out,
        config=_what_matters(config),
    )
    report = write_report(out, summary, curation.gate)
    if not config.keep_work:
        remove_work(out)
    _tell(out, summary.manifest, Counter(drop.reason for drop in summary.drops), summary.num_files, report)


def _what_matters(config: DictConfig) -> dict[str, Any]:
    """The part of the config that shapes samples: not where they go, nor how many processes make them."""
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # pyright: ignore[reportAssignmentType]
    return {name: plain[name] for name in ("detector", "curation", "video", "duplicates", "writer")}


def _tell(out: Path, manifest: dict[str, Any], reasons: Counter[str], num_files: int, report: Path) -> None:
    print(f"\n{num_files} files -> {manifest['samples']} samples in {len(manifest['shards'])} shards: {out}")
    for name in ("species", "kind", "split"):
        print(f"  {name:8}" + ", ".join(f"{key} {count}" for key, count in manifest["counts"][name].items()))
    if reasons:
        print("  left out " + ", ".join(f"{reason} {count}" for reason, count in reasons.most_common()))
    print(f"report: {report}")
    if manifest["samples"] == 0:
        raise ValueError(f"no sample came out of {num_files} files; {report} says why for each")
    print(f"next: lp-finetune recipe=base data.shards={out} weights=starter out=runs/finetune")


if __name__ == "__main__":
    curate()
