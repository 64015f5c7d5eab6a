"""The real client of huggingface_hub against a small server on this machine that speaks the hub's protocol."""

import json
import re
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from lp_models import LivePortrait, LivePortraitConfig, WeightsError, load_pretrained
from lp_models.hub import HuggingFaceHub, download
from lp_models.state_files import sha256_of
from lp_models.weights import save_official

COMMIT = "a1" * 20
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


class HubServer(ThreadingHTTPServer):
    """As much of the hub's protocol as huggingface_hub uses for a repository, on this machine."""

    root: Path
    drops: int
    """How many transfers of MOTION break off half-way."""
    log: list[str]


class Answer(BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        self.server.log.append(f"{self.command} {self.path} {self.headers.get('Range', '')}".strip())

    def send(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path.startswith("/api/models/KwaiVGI/LivePortrait/revision/"):
            self.describe(path.rpartition("/")[2])
        elif path.startswith(f"/KwaiVGI/LivePortrait/resolve/{COMMIT}/"):
            self.transfer(path.split(COMMIT + "/")[1])
        else:
            self.send(404, b"{}", X_Error_Code="RepoNotFound")

    def describe(self, revision: str) -> None:
        if revision not in ("main", COMMIT):
            self.send(404, b"{}", X_Error_Code="RevisionNotFound")
            return
        siblings = []
        for file in sorted(p for p in self.server.root.rglob("*") if p.is_file()):
            size = file.stat().st_size
            lfs = {"sha256": sha256_of(file), "size": size, "pointerSize": 130} if file.suffix == ".pth" else None
            name = file.relative_to(self.server.root).as_posix()
            siblings.append({"rfilename": name, "size": size, "blobId": "0" * 40} | ({"lfs": lfs} if lfs else {}))
        body = json.dumps({"id": "KwaiVGI/LivePortrait", "sha": COMMIT, "siblings": siblings}).encode()
        self.send(200, body, Content_Type="application/json")

    def transfer(self, name: str) -> None:
        content = (self.server.root / name).read_bytes()
        begin = int((re.findall(r"bytes=(\d+)-", self.headers.get("Range", "")) or ["0"])[0])
        part = content[begin:]
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(part)))
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        self.send_header("ETag", f'"{sha256_of(self.server.root / name)}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if self.command == "HEAD":
            return
        if name == MOTION and self.server.drops > 0:
            self.server.drops -= 1
            self.wfile.write(part[: len(part) // 2])
            self.close_connection = True
            return
        self.wfile.write(part)


@pytest.fixture
def hub_server(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # huggingface_hub waits before it tries again
    server = HubServer(("127.0.0.1", 0), Answer)
    server.root, server.drops, server.log = repository, 0, []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def address(server: HubServer) -> HuggingFaceHub:
    return HuggingFaceHub(endpoint=f"http://127.0.0.1:{server.server_port}")


def test_the_real_client_downloads_and_continues_a_broken_transfer(
    hub_server: HubServer, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 10_000)  # it goes on after a whole chunk
    hub_server.drops = 1
    lock = download(tmp_path, hub=address(hub_server))
    assert lock.revision == COMMIT
    for name, entry in lock.files.items():
        assert entry.sha256 == sha256_of(repository / name) == sha256_of(tmp_path / name)
    asked = [line for line in hub_server.log if line.startswith("GET") and MOTION in line]
    assert len(asked) == 2
    assert 0 < int(asked[1].partition("bytes=")[2].removesuffix("-")) <= (repository / MOTION).stat().st_size // 2
    config = LivePortraitConfig.named("tiny")
    monkeypatch.setattr(LivePortraitConfig, "named", lambda name: config)
    assert load_pretrained(tmp_path / "liveportrait").config == config


def test_the_real_clients_refusals_are_one_sentence(hub_server: HubServer, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="there is no repository nobody/nothing on the hub"):
        download(tmp_path, repo="nobody/nothing", hub=address(hub_server))
    with pytest.raises(WeightsError, match="there is no repository a b c on the hub"):
        download(tmp_path, repo="a b c", hub=address(hub_server))
    with pytest.raises(WeightsError, match="KwaiVGI/LivePortrait has no revision v9"):
        download(tmp_path, revision="v9", hub=address(hub_server))
    closed = HuggingFaceHub(endpoint="http://127.0.0.1:9")
    with pytest.raises(WeightsError, match=r"the hub could not be asked .*HF_ENDPOINT"):
        download(tmp_path, hub=closed)
    assert list(tmp_path.iterdir()) == []
