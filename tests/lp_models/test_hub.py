"""Downloads: pinned, checked, continued, and one clear sentence for every way in which a transfer fails."""

import errno
import json
import os
import re
import shutil
from pathlib import Path

import pytest
import torch

from lp_models import LivePortrait, LivePortraitConfig, WeightsError
from lp_models.hub import Downloaded, Listing, RemoteFile, download, wanted_files
from lp_models.lock import LOCK, Lock, read_lock
from lp_models.state_files import sha256_of
from lp_models.weights import save_official

COMMIT, LATER = "a1" * 20, "b2" * 20
MOTION = "liveportrait/base_models/motion_extractor.pth"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a small repository with the published layout."""
    root = tmp_path_factory.mktemp("repository")
    torch.manual_seed(1)
    model = LivePortrait(LivePortraitConfig.named("tiny"))
    save_official(model, root / "liveportrait")
    animals = root / "liveportrait_animals"
    save_official(LivePortrait(model.config), animals)
    shutil.copytree(root / "liveportrait" / "base_models", animals / "base_models_v1.1")
    for path in root.rglob("model.json"):
        path.unlink()
    (root / "README.md").write_text("not wanted")
    return root


class FolderHub:
    """A hub that copies from a folder, and fails in the way it is told to at one file."""

    def __init__(self, root: Path, fault: str = "", at: str = MOTION) -> None:
        self.root, self.fault, self.at = root, fault, at
        self.fetched: list[str] = []
        self.asked: list[str] = []

    def listing(self, repo: str, revision: str) -> Listing:
        self.asked.append(revision)
        paths = [p for p in self.root.rglob("*") if p.is_file()]
        files = {p.relative_to(self.root).as_posix(): RemoteFile(p.stat().st_size, sha256_of(p)) for p in paths}
        return Listing(COMMIT if revision == "main" else revision, files)

    def fetch(self, repo: str, name: str, commit: str, folder: Path) -> Path:
        self.fetched.append(name)
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = (self.root / name).read_bytes()
        if name == self.at:
            if self.fault == "drop":
                raise ConnectionError("peer closed connection after 1000 of 9000 bytes\nretry")
            if self.fault == "full":
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            content = {
                "html": b"<!DOCTYPE html><html>Sign in</html>",
                "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n",
                "short": content[:-1],
                "changed": content[:-1] + bytes([content[-1] ^ 1]),
                "empty": b"",
            }.get(self.fault, content)
        path.write_bytes(content)
        return path


def test_files_are_fetched_checked_and_locked(repository: Path, tmp_path: Path) -> None:
    told: list[Downloaded] = []
    hub = FolderHub(repository)
    lock = download(tmp_path / "out", hub=hub, on_file=told.append)
    assert hub.fetched == wanted_files("human")
    assert lock == read_lock(tmp_path / "out")
    assert (lock.repo, lock.asked, lock.revision) == ("KwaiVGI/LivePortrait", "main", COMMIT)
    for name, entry in lock.files.items():
        path = tmp_path / "out" / name
        assert (entry.num_bytes, entry.sha256) == (path.stat().st_size, sha256_of(repository / name))
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", entry.when)
    assert [file.how for file in told] == ["fetched"] * 5


def test_every_variant_comes_with_the_human_stitching_file() -> None:
    stitching = "liveportrait/retargeting_models/stitching_retargeting_module.pth"
    folders = {"human": "liveportrait/base_models", "animals": "liveportrait_animals/base_models_v1.1"}
    folders["animals_v1"] = "liveportrait_animals/base_models"
    for variant, folder in folders.items():
        names = wanted_files(variant)
        assert names[-1] == stitching
        assert {name.rpartition("/")[0] for name in names[:-1]} == {folder}
        assert len(set(names)) == 5
    assert sorted(wanted_files("all")) == sorted({name for variant in folders for name in wanted_files(variant)})


def test_a_second_run_does_only_what_is_missing(repository: Path, tmp_path: Path) -> None:
    download(tmp_path, hub=FolderHub(repository))
    hub = FolderHub(repository)
    told: list[Downloaded] = []
    download(tmp_path, hub=hub, on_file=told.append)
    assert (hub.asked, hub.fetched) == ([], [])  # not even asked: the lock knows everything
    assert [file.how for file in told] == ["already there"] * 5

    lock = download(tmp_path, variant="animals", hub=hub)
    assert hub.asked == [COMMIT]  # the commit of the first time, whatever main has become
    assert hub.fetched == wanted_files("animals")[:-1]
    assert len(lock.files) == 9

    (tmp_path / MOTION).write_bytes(b"damaged")
    hub = FolderHub(repository)
    download(tmp_path, hub=hub)
    assert hub.fetched == [MOTION]
    assert sha256_of(tmp_path / MOTION) == sha256_of(repository / MOTION)


def test_files_brought_by_hand_are_taken_when_they_are_the_right_ones(repository: Path, tmp_path: Path) -> None:
    shutil.copytree(repository / "liveportrait", tmp_path / "liveportrait")
    (tmp_path / MOTION).write_bytes(b"another file")
    hub = FolderHub(repository)
    told: list[Downloaded] = []
    download(tmp_path, hub=hub, on_file=told.append)
    assert hub.fetched == [MOTION]
    assert sorted(file.how for file in told) == ["fetched"] + ["found"] * 4


FAULTS = {
    "drop": r"did not come through .*peer closed connection.*run the same command again",
    "full": r"did not come through .*No space left on device.*run the same command again",
    "html": r"is a web page.*was removed: run the same command again",
    "pointer": r"is a git-lfs pointer.*was removed",
    "short": r"has \d+ bytes, the hub lists \d+; it was removed",
    "changed": r"another sha256 than the hub lists; it was removed",
    "empty": r"is empty; it was removed",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_failed_transfer_is_told_and_continued(fault: str, repository: Path, tmp_path: Path) -> None:
    hub = FolderHub(repository, fault)
    with pytest.raises(WeightsError, match=FAULTS[fault]) as caught:
        download(tmp_path, hub=hub)
    assert MOTION in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / MOTION).exists()
    lock = read_lock(tmp_path)
    assert lock is not None
    before = wanted_files("human")[:1]
    assert list(lock.files) == before
    again = FolderHub(repository)
    assert len(download(tmp_path, hub=again).files) == 5
    assert again.fetched == wanted_files("human")[1:]  # what was whole is kept


def test_a_folder_keeps_its_repository_and_commit(repository: Path, tmp_path: Path) -> None:
    download(tmp_path, hub=FolderHub(repository), revision=COMMIT)
    download(tmp_path, hub=FolderHub(repository))
    with pytest.raises(WeightsError, match=rf"holds revision {COMMIT[:12]} of .*, not {LATER}"):
        download(tmp_path, hub=FolderHub(repository), revision=LATER)
    with pytest.raises(WeightsError, match="holds files of KwaiVGI/LivePortrait, not of someone/else"):
        download(tmp_path, hub=FolderHub(repository), repo="someone/else")


def test_what_cannot_work_is_said_before_anything_is_fetched(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = FolderHub(repository)
    with pytest.raises(WeightsError, match="variant='cats' is unknown; choose one of human, animals, animals_v1, all"):
        download(tmp_path, variant="cats", hub=hub)
    (tmp_path / "file").touch()
    with pytest.raises(WeightsError, match=r"file/out/weights\.lock\.json could not be written.*give another folder"):
        download(tmp_path / "file" / "out", hub=hub)
    with pytest.raises(WeightsError, match=r"has no liveportrait/base_models/appearance.*layout of KwaiVGI"):
        download(tmp_path / "out", variant="all", hub=FolderHub(repository / "liveportrait"))
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(WeightsError, match=r"0 MB free, the files need \d+ MB; free some space"):
        download(tmp_path / "out", hub=hub)
    assert hub.fetched == []


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 1}', '{"format": 7, "files": {}}'])
def test_a_damaged_lock_is_named(text: str, repository: Path, tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text(text)
    with pytest.raises(WeightsError, match=r"weights\.lock\.json"):
        download(tmp_path, hub=FolderHub(repository))


def test_a_lock_knows_only_its_own_folder(repository: Path, tmp_path: Path) -> None:
    lock = download(tmp_path, hub=FolderHub(repository))
    assert isinstance(lock, Lock)
    content = json.loads((tmp_path / LOCK).read_text())
    assert sorted(content["files"]) == sorted(wanted_files("human"))
    assert set(content["files"][MOTION]) == {"bytes", "sha256", "when"}
