"""A hub repository -> a folder of checked files and its weights.lock.json; a re-run fetches what is missing."""

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from lp_models.layout import STEMS
from lp_models.lock import Lock, LockedFile, read_lock, write_lock
from lp_models.state_files import WeightsError, check_head, one_line, sha256_of

REPO = "KwaiVGI/LivePortrait"
VARIANTS = {
    "human": ("liveportrait/base_models",),
    "animals": ("liveportrait_animals/base_models_v1.1",),
    "animals_v1": ("liveportrait_animals/base_models",),
    "all": ("liveportrait/base_models", "liveportrait_animals/base_models_v1.1", "liveportrait_animals/base_models"),
}
"""Which base files; each comes with the human stitching file, as upstream drives animals with that one."""
STITCHING_DIR = "liveportrait/retargeting_models"


class RemoteFile(NamedTuple):
    """What the hub says about a file."""

    num_bytes: int | None
    sha256: str | None
    """Known for large files only."""


class Listing(NamedTuple):
    """A repository at one commit."""

    commit: str
    files: dict[str, RemoteFile]


@runtime_checkable
class Hub(Protocol):
    """Where files come from."""

    def listing(self, repo: str, revision: str) -> Listing:
        """The commit that a revision means now, and its files."""
        ...

    def fetch(self, repo: str, name: str, commit: str, folder: Path) -> Path:
        """Bring one file to `folder / name`; it appears there whole."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class HuggingFaceHub:
    """The hub of huggingface_hub, with its progress bars and access tokens.

    It retries a broken transfer from where it broke; only when it gives up, a later call starts that file again.
    """

    endpoint: str | None = None
    """None: $HF_ENDPOINT, or huggingface.co."""

    def listing(self, repo: str, revision: str) -> Listing:
        """Names, sizes and checksums at one commit."""
        from huggingface_hub import HfApi

        info = HfApi(endpoint=self.endpoint).model_info(repo, revision=revision, files_metadata=True)
        files = {s.rfilename: RemoteFile(s.size, s.lfs.sha256 if s.lfs else None) for s in info.siblings or ()}
        return Listing(info.sha or "", files)

    def fetch(self, repo: str, name: str, commit: str, folder: Path) -> Path:
        """One file, below `folder`."""
        from huggingface_hub import hf_hub_download

        return Path(hf_hub_download(repo, name, revision=commit, local_dir=folder, endpoint=self.endpoint))


class Downloaded(NamedTuple):
    """One file of a download."""

    path: Path
    num_bytes: int
    sha256: str
    how: Literal["fetched", "found", "already there"]
    """`found`: it lay there without being in the lock, and is the right one."""


def download(
    out: Path,
    *,
    repo: str = REPO,
    variant: str = "human",
    revision: str = "main",
    hub: Hub | None = None,
    on_file: Callable[[Downloaded], object] = lambda file: None,
) -> Lock:
    """Fetch the files of a variant and check every one; what is there and whole is left alone.

    Args:
        out: the folder; the layout of the repository is kept below it.
        repo: owner/name of a repository with the layout of KwaiVGI/LivePortrait.
        variant: human, animals (v1.1), animals_v1 or all.
        revision: branch, tag or commit at the first download; later ones take the commit in the lock.
        hub: None: huggingface_hub.
        on_file: called after each file.

    Returns:
        The lock, as written to `out`.

    Raises:
        WeightsError: an option is unknown or does not fit the lock, the hub cannot be reached or lacks a file, the
            disk is full, or what came is not the file that the hub listed.
    """
    if variant not in VARIANTS:
        raise WeightsError(f"variant={variant!r} is unknown; choose one of {', '.join(VARIANTS)}")
    lock, names = read_lock(out), wanted_files(variant)
    _check_lock(out, lock, repo, revision)
    locked = lock.files if lock else {}
    missing = [name for name in names if not _is_whole(out / name, locked.get(name))]
    for name in names:
        if name not in missing:
            on_file(Downloaded(out / name, locked[name].num_bytes, locked[name].sha256, "already there"))
    if not missing and lock is not None:
        return lock
    hub = hub or HuggingFaceHub()
    listing = _listed(hub, repo, lock.revision if lock else revision, missing)
    lock = lock or Lock(repo=repo, revision=listing.commit, asked=revision, files={})
    write_lock(out, lock)  # before anything is fetched: a folder that cannot be written is found out here
    _check_space(out, [listing.files[name] for name in missing])
    for name in missing:
        how = _bring(hub, lock, name, listing.files[name], out)
        num_bytes, digest = (out / name).stat().st_size, sha256_of(out / name)
        when = datetime.now(UTC).isoformat(timespec="seconds")
        lock = lock.adding(name, LockedFile(num_bytes=num_bytes, sha256=digest, when=when))
        write_lock(out, lock)
        on_file(Downloaded(out / name, num_bytes, digest, how))
    return lock


def wanted_files(variant: str) -> list[str]:
    """The names of a variant's files in the repository."""
    bases = [stem for child, stem in STEMS.items() if child != "stitching"]
    names = [f"{folder}/{stem}.pth" for folder in VARIANTS[variant] for stem in bases]
    return [*names, f"{STITCHING_DIR}/{STEMS['stitching']}.pth"]


def _check_lock(out: Path, lock: Lock | None, repo: str, revision: str) -> None:
    """Refuse to mix repositories or commits in one folder; what was asked for first stands for the lock's commit."""
    if lock is None:
        return
    if lock.repo != repo:
        raise WeightsError(f"out={out} holds files of {lock.repo}, not of {repo}; give another folder")
    if revision not in (lock.asked, lock.revision, "main"):
        raise WeightsError(
            f"out={out} holds revision {lock.revision[:12]} of {repo}, not {revision}; give another folder, or leave "
            "revision out"
        )


def _is_whole(path: Path, known: LockedFile | None) -> bool:
    if known is None or not path.is_file() or path.stat().st_size != known.num_bytes:
        return False
    return sha256_of(path) == known.sha256


def _listed(hub: Hub, repo: str, revision: str, names: list[str]) -> Listing:
    """The repository's files.

    Raises:
        WeightsError: the hub cannot be asked, or the repository lacks one of the names.
    """
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        listing = hub.listing(repo, revision)
    except RevisionNotFoundError as error:
        raise WeightsError(f"{repo} has no revision {revision}; look at the repository's commits") from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise WeightsError(
            f"there is no repository {repo} on the hub, or it needs an access token (HF_TOKEN); give repo=OWNER/NAME"
        ) from error
    except _transfer_errors() as error:
        raise WeightsError(
            f"the hub could not be asked for {repo} ({one_line(error)}); connect to the internet, or set "
            "HF_ENDPOINT to a mirror"
        ) from error
    if absent := [name for name in names if name not in listing.files]:
        raise WeightsError(
            f"{repo} at {listing.commit[:12]} has no {absent[0]}; give a repository with the layout of {REPO}"
        )
    return listing


def _bring(hub: Hub, lock: Lock, name: str, remote: RemoteFile, out: Path) -> Literal["fetched", "found"]:
    """Have the right file at `out / name`; what is there instead is removed.

    Raises:
        WeightsError: the transfer broke off, or another file came.
    """
    path = out / name
    if path.is_file():
        if remote.sha256 is not None and _fault(path, remote) is None:
            return "found"
        path.unlink()
    try:
        hub.fetch(lock.repo, name, lock.revision, out)
    except _transfer_errors() as error:
        raise WeightsError(
            f"{name} did not come through from {lock.repo} ({one_line(error)}); run the same command again: files "
            "that are whole are kept"
        ) from error
    if fault := _fault(path, remote):
        path.unlink(missing_ok=True)
        raise WeightsError(f"{fault}; it was removed: run the same command again")
    return "fetched"


def _fault(path: Path, remote: RemoteFile) -> str | None:
    """Why a file is not the one that the hub lists; None if it is."""
    try:
        check_head(path)
    except WeightsError as error:
        return str(error).partition(";")[0]
    num_bytes = path.stat().st_size
    if remote.num_bytes is not None and num_bytes != remote.num_bytes:
        return f"{path} has {num_bytes} bytes, the hub lists {remote.num_bytes}"
    if remote.sha256 is not None and sha256_of(path) != remote.sha256:
        return f"{path} has another sha256 than the hub lists"
    return None


def _check_space(out: Path, files: Iterable[RemoteFile]) -> None:
    needed, free = sum(file.num_bytes or 0 for file in files), shutil.disk_usage(out).free
    if needed > free:
        raise WeightsError(
            f"out={out} has {free / 1e6:.0f} MB free, the files need {needed / 1e6:.0f} MB; free some space or give "
            "another folder"
        )


def _transfer_errors() -> tuple[type[Exception], ...]:
    """What a broken connection, a full disk or a refusing server make huggingface_hub raise."""
    from huggingface_hub.errors import HfHubHTTPError

    # Its bases are OSError and the error of the HTTP library, which changes with the version; RuntimeError is Xet's.
    return (*HfHubHTTPError.__bases__, RuntimeError)
