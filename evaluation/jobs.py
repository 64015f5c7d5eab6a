"""A CSV of sources and drivers -> all animations, one after another or on several devices; done ones are not redone."""

import csv
import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

if TYPE_CHECKING:
    from evaluation.animator import Animator

NOT_OF_THE_RESULT = ("jobs", "part", "devices", "device", "batch_frames", "out")
"""Options that do not change what a job makes; `out` is the file itself."""
LOADING = ("weights", "detector", "openings", "engine", "precision", "compiled", "device", "batch_frames")
"""Options that need another animator."""


class Job(NamedTuple):
    """One row of the list."""

    number: int
    config: DictConfig

    @property
    def out(self) -> Path:
        """The file to make."""
        return Path(str(self.config.out))

    @property
    def files(self) -> list[Path]:
        """Everything that is made, the options last."""
        from evaluation.animate_cli import CONFIG_SUFFIX, beside

        return [self.out, *beside(self.config, self.out), self.out.with_name(self.out.stem + CONFIG_SUFFIX)]


def run_jobs(config: DictConfig, arguments: Sequence[str]) -> None:
    """Do all jobs of a list, or this process' part of them; failures are recorded and the others go on.

    Args:
        config: the options, with `jobs`, `part`, `devices` and, as `out`, the folder.
        arguments: of the program, to start it again for each device.

    Raises:
        ValueError: the list cannot be read, or some jobs failed; the message says how many and where that is told.
    """
    folder = Path(str(config.out))
    if config.devices:
        _on_devices(config, arguments)
        return
    first, step = part_of(str(config.part))
    mine = read_jobs(Path(str(config.jobs)), config)[first::step]
    folder.mkdir(parents=True, exist_ok=True)
    record = folder / ("jobs.jsonl" if step == 1 else f"jobs-{first}-of-{step}.jsonl")
    failed = _do_all(mine, record)
    print(f"\n{len(mine)} jobs: {len(mine) - failed} done, {failed} failed; {record} tells each")
    if failed:
        raise ValueError(f"{failed} of {len(mine)} jobs failed; see {record}, mend them and run the same command again")
    print(f"next: look into {folder}")


def read_jobs(path: Path, config: DictConfig) -> list[Job]:
    """The rows of a list, each as the full options of one animation.

    Raises:
        ValueError: the file cannot be read, a column is no option, or two jobs make the same file.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"jobs={path} cannot be read ({error}); give a CSV with the columns source,driving") from error
    if not rows:
        raise ValueError(f"jobs={path} has no rows; give a CSV with the columns source,driving and one row per job")
    jobs: list[Job] = []
    made: dict[Path, int] = {}
    for number, row in enumerate(rows):
        job = Job(number, _config_of(row, config, path, number))
        for file in job.files:
            other = made.setdefault(file.resolve(), number)
            if other != number:
                raise ValueError(f"{path} rows {other + 2} and {number + 2} both make {file}; give a column out")
        jobs.append(job)
    return jobs


def _config_of(row: dict[str, str], config: DictConfig, path: Path, number: int) -> DictConfig:
    if None in row:
        raise ValueError(f"{path} row {number + 2} has more cells than the first line; put lists like [1,2] in quotes")
    given = {key.strip(): value.strip() for key, value in row.items() if key and value and value.strip()}
    if missing := [name for name in ("source", "driving") if name not in given and config[name] is None]:
        raise ValueError(f"{path} row {number + 2} has no {missing[0]}; give a column {missing[0]} or the option")
    own = OmegaConf.create(OmegaConf.to_container(config, resolve=False))
    assert isinstance(own, DictConfig)
    OmegaConf.set_struct(own, True)
    name = given.pop("out", None)
    for key, value in given.items():
        try:
            parsed = value if key in ("source", "driving") else OmegaConf.from_dotlist([f"v={value}"])["v"]
            OmegaConf.update(own, key, parsed, merge=False)
        except YAMLError as error:
            raise ValueError(f"{path} row {number + 2}: {key}={value} cannot be read; mend its brackets") from error
        except OmegaConfBaseException as error:
            raise ValueError(f"{path}: the column {key} is no option of lp-animate; see --help") from error
    default = f"{Path(str(own.source)).stem}--{Path(str(own.driving)).stem}.mp4"
    own.out = str(Path(str(config.out)) / (name or default))
    return own


def part_of(text: str) -> tuple[int, int]:
    """`1/4` -> (1, 4): jobs 1, 5, 9, ...

    Raises:
        ValueError: not i/n with i below n.
    """
    first, _, step = text.partition("/")
    if not (first.isdigit() and step.isdigit() and int(first) < int(step)):
        raise ValueError(f"part={text} is not i/n with i from 0 to n-1; give for example part=0/4")
    return int(first), int(step)


def is_done(job: Job) -> bool:
    """Whether the files are there and were made with the same options."""
    if not all(file.exists() for file in job.files):
        return False
    try:
        saved = OmegaConf.load(job.files[-1])
    except YAMLError:
        return False  # damaged: make it again
    return _of_the_result(saved) == _of_the_result(job.config)


def _of_the_result(config: object) -> dict[str, object]:
    plain = OmegaConf.to_container(config, resolve=True)  # pyright: ignore[reportArgumentType]
    if not isinstance(plain, dict):
        return {}
    return {str(key): value for key, value in plain.items() if key not in NOT_OF_THE_RESULT}


def _do_all(jobs: Sequence[Job], record: Path) -> int:
    """Make what is not there; returns how many failed."""
    from data_pipeline.progress import track
    from evaluation.animate_cli import animate_one, animator_of

    animators: dict[str, Animator] = {}
    failed = 0
    with record.open("a", encoding="utf-8") as log:
        for job in track(jobs, len(jobs), "jobs", "jobs"):
            told: dict[str, object] = {"row": job.number + 2, "out": str(job.out)}
            if is_done(job):
                told["result"] = "was there"
            else:
                key = json.dumps([job.config[name] for name in LOADING], default=str)
                try:
                    if key not in animators:
                        animators[key] = animator_of(job.config)
                    job.out.parent.mkdir(parents=True, exist_ok=True)
                    told["result"] = "made"
                    told["detail"] = animate_one(animators[key], job.config, show=False)
                except Exception as error:  # recorded and counted: one row must not end a night's work
                    failed += 1
                    kind = "" if isinstance(error, (ValueError, OSError)) else f"{type(error).__name__}: "
                    told |= {"result": "failed", "detail": kind + " ".join(str(error).split())}
                    print(f"row {job.number + 2} failed: {told['detail']}", file=sys.stderr)
            log.write(json.dumps(told, ensure_ascii=False) + "\n")
            log.flush()
    return failed


def _on_devices(config: DictConfig, arguments: Sequence[str]) -> None:
    """Start this program once for each device, each with its part of the list."""
    devices = [config.devices] if isinstance(config.devices, str) else [str(device) for device in config.devices]
    first, step = part_of(str(config.part))
    kept = [word for word in arguments if not word.startswith(("devices=", "device=", "part="))]
    commands = [
        [
            sys.executable,
            "-m",
            "evaluation.animate_cli",
            *kept,
            f"device={device}",
            "devices=[]",
            f"part={first + step * i}/{step * len(devices)}",
        ]
        for i, device in enumerate(devices)
    ]
    # In groups of their own: else Ctrl-C would reach them twice, and the second one would cut their tidying up short.
    running = [subprocess.Popen(command, process_group=0) for command in commands]
    try:
        codes = [process.wait() for process in running]
    except BaseException:
        for process in running:
            process.send_signal(signal.SIGINT)
        for process in running:
            process.wait()
        raise
    if any(codes):
        raise ValueError(f"{sum(code != 0 for code in codes)} of {len(codes)} processes had failures; see jobs-*.jsonl")
