"""`lp-curate [curate|requalify|what-if|doctor|takedown|card]`: media -> shards; shards -> better shards."""

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig, OmegaConf

from data_pipeline.action_word import with_action
from data_pipeline.cli_errors import user_errors

if TYPE_CHECKING:
    from data_pipeline.curate import Summary

_GATE = "curation.gate."
_SHOWN = 10


def _curate(config: DictConfig) -> None:
    """Curate `source.path` into `out`."""
    import numpy as np
    from hydra.utils import instantiate

    from data_pipeline.curate import FileWorker, remove_work
    from data_pipeline.curate import curate as run
    from data_pipeline.journal import resume_change
    from data_pipeline.report import write_report
    from data_pipeline.run_lock import run_lock
    from data_pipeline.whole_file import write_text

    out = _out(config)
    _refuse_inside(out, Path(config.source.path))
    source, executor = instantiate(config.source), instantiate(config.executor)
    files = source()  # a wrong path is told before the detector is loaded
    with run_lock(out):
        resume_change(out)
        write_text(out / "config.yaml", OmegaConf.to_yaml(config, resolve=True))
        detector = instantiate(config.detector, _convert_="all")
        detector([np.zeros((64, 64, 3), np.uint8)])  # a broken one is told before the first file
        curation = instantiate(config.curation, _convert_="all")(detector=detector)
        worker = FileWorker(
            curation=curation, crf=config.video.crf, gop=config.video.gop, keep_rejected=config.keep_work
        )
        summary = run(
            source=lambda: files,
            worker=worker,
            duplicates=instantiate(config.duplicates),
            writer=instantiate(config.writer),
            executor=executor,
            out=out,
            config=_what_matters(config),
        )
        report = write_report(out, summary, curation.gate)
        if not config.keep_work:
            remove_work(out)
    _tell(out, summary, report)


def _requalify(config: DictConfig) -> None:
    """Apply other thresholds to the shards of `shards`, writing to `out`."""
    from data_pipeline.executors.local import num_cores
    from data_pipeline.journal import resume_change
    from data_pipeline.requalify import funnel_lines, gate_of, requalify
    from data_pipeline.run_lock import run_lock

    folder, out, changes = _shards(config), _out(config), _thresholds()
    gate_of(folder, changes)  # a wrong threshold is told before a folder is made
    with run_lock(out):
        if out.resolve() == folder.resolve():
            resume_change(folder)  # a stopped change may be the one of these very thresholds
        done = requalify(folder, out, gate_of(folder, changes), workers=num_cores())
    print(funnel_lines(done.funnel))
    print(
        f"\n{out}: {len(done.dropped)} samples dropped, {len(done.admitted)} admitted, "
        f"{len(done.rewritten)} shards rewritten"
    )
    if done.copies:
        print(f"{len(done.copies)} would pass, but are near-duplicates of samples that are packed")
    if done.between:
        print(f"{len(done.between)} would pass, but resemble samples of two splits")
    for one in done.missing[:_SHOWN]:
        print(f"  not at hand: {one.place}")
    if done.missing:
        print(
            f"{len(done.missing)} more would pass these thresholds; curate once with them, or with keep_work=true so "
            "that requalify can admit them without decoding"
        )


def _what_if(config: DictConfig) -> None:
    """Print what other thresholds would keep; nothing is written."""
    from data_pipeline.requalify import funnel_lines, gate_of, what_if

    folder = _shards(config)
    changes = _thresholds()
    before, after = what_if(folder, gate_of(folder, changes))
    print(funnel_lines(after, before))
    words = " ".join(f"{_GATE}{name}={value}" for name, value in changes.items())
    print(f"\nnext: lp-curate requalify shards={folder} out=DIR {words}".rstrip())


def _doctor(config: DictConfig) -> None:
    """Verify the shards of `shards`."""
    from data_pipeline.doctor import doctor_action

    doctor_action(_shards(config), config.world_size, config.workers, config.decode)


def _takedown(config: DictConfig) -> None:
    """Remove ids from the shards of `shards`."""
    from data_pipeline.takedown import takedown_action

    ids = config.ids if isinstance(config.ids, str) else [str(one) for one in config.ids]
    takedown_action(_shards(config), ids, config.reason)


def _card(config: DictConfig) -> None:
    """Write the dataset card of the shards of `shards`."""
    from data_pipeline.dataset_card import card_action

    card_action(_shards(config), config.name)


ACTIONS: dict[str, Callable[[DictConfig], None]] = {
    "curate": _curate,
    "requalify": _requalify,
    "what-if": _what_if,
    "doctor": _doctor,
    "takedown": _takedown,
    "card": _card,
}
"""The first bare word after lp-curate -> what it does with the composed config."""


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="curate")
@user_errors
def _main(config: DictConfig) -> None:
    if config.action not in ACTIONS:
        raise ValueError(f"the action {config.action} is unknown; say lp-curate {'|'.join(ACTIONS)} (see --help)")
    ACTIONS[config.action](config)


@user_errors
def curate() -> None:
    """Curate, or work on shards that are there; see `lp-curate --help`."""
    # The layouts are a config group of their own name: a group named source would catch lp-animate's source=FILE.
    words = [f"dataset@source={word[8:]}" if word.startswith("dataset=") else word for word in sys.argv[1:]]
    sys.argv[1:] = with_action(words, "source.path")
    _main()


def _shards(config: DictConfig) -> Path:
    if config.shards is None:
        raise ValueError(f"the option shards is required: lp-curate {config.action} shards=DIR (see --help)")
    return Path(config.shards)


def _refuse_inside(out: Path, source: Path) -> None:
    """Shards in the source would be taken for media by the next run."""
    if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
        raise ValueError(f"out={out} lies inside source.path={source}; give a folder outside it")


def _out(config: DictConfig) -> Path:
    if config.out is None:
        raise ValueError("the option out is required: give it as out=DIR (see --help)")
    return Path(config.out)


def _thresholds() -> dict[str, Any]:
    """The thresholds given on the command line; all others are those that the shards were made with."""
    from hydra.core.hydra_config import HydraConfig

    given = OmegaConf.from_dotlist(list(HydraConfig.get().overrides.task))
    gate = OmegaConf.select(given, _GATE.removesuffix(".")) or {}
    return {str(name): value for name, value in gate.items()}


def _what_matters(config: DictConfig) -> dict[str, Any]:
    """The part of the config that shapes samples: not where they go, nor how many processes make them."""
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # pyright: ignore[reportAssignmentType]
    return {name: plain[name] for name in ("detector", "curation", "video", "duplicates", "writer")}


def _tell(out: Path, summary: "Summary", report: Path) -> None:
    from data_pipeline.stage_clock import stage_table

    manifest, num_files = summary.manifest, summary.num_files
    print(f"\n{num_files} files -> {manifest['samples']} samples in {len(manifest['shards'])} shards: {out}")
    for name in ("species", "kind", "split"):
        print(f"  {name:8}" + ", ".join(f"{key} {count}" for key, count in manifest["counts"][name].items()))
    if reasons := Counter(drop.reason for drop in summary.drops):
        print("  left out " + ", ".join(f"{reason} {count}" for reason, count in reasons.most_common()))
    print(stage_table(summary.seconds, summary.num_done, summary.media_s))
    print(f"report: {report}")
    if manifest["samples"] == 0:
        raise ValueError(f"no sample came out of {num_files} files; {report} says why for each")
    print(f"next: lp-finetune recipe=base data.shards={out} weights=starter out=runs/finetune")


if __name__ == "__main__":
    curate()
