import pytest
import torch
from safetensors.torch import save_file

from finetune.perceptual import Vgg19
from finetune.teachers.face_identity import IdentityFile, IResNet
from finetune.teachers.head_pose import HeadPoseNet, PoseFile
from finetune.teachers.landmark_net import LandmarkFile
from finetune.teachers.network_file import TeacherError, fill_from_file
from finetune.teachers.panel import TeacherFiles, Teachers, describe
from finetune.teachers.puppet_net import JOBS, PuppetFile, PuppetNet
from tests.finetune.rows import five_points, picture


def net():
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_state_dict_is_read_strictly_frozen_and_in_eval_mode(tmp_path, suffix, wrapped):
    source, path = net(), tmp_path / f"net.{suffix}"
    state = {f"module.{k}": v for k, v in source.state_dict().items() if not k.endswith("num_batches_tracked")}
    if suffix == "pth":
        torch.save({"state_dict": state, "epoch": 3} if wrapped else state, path)
    else:
        save_file(state, path)
    filled = fill_from_file(net(), path, "teachers.x.path", "that file")
    assert torch.equal(filled[0].weight, source[0].weight)
    assert not filled.training
    assert not any(p.requires_grad for p in filled.parameters())


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda s: s.pop("0.bias"), "lacks 0.bias"),
        (lambda s: s.update(extra=torch.zeros(1)), "unknown extra"),
        (lambda s: s.update({"0.bias": torch.zeros(5)}), r"0.bias is \[5\], not \[4\]"),
        (lambda s: s.update({"0.bias": torch.full((4,), float("nan"))}), "not finite"),
    ],
)
def test_what_does_not_fit_is_one_sentence_with_the_option(tmp_path, change, fault):
    state = dict(net().state_dict())
    change(state)
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(TeacherError, match=fault) as caught:
        fill_from_file(net(), tmp_path / "net.pth", "teachers.x.path", "that file")
    assert "teachers.x.path" in str(caught.value)
    assert "give that file" in str(caught.value)


class Harmful:
    def __reduce__(self):
        return print, ("run by unpickling",)


def test_missing_damaged_and_unsafe_files_are_refused(tmp_path, capsys):
    with pytest.raises(TeacherError, match="does not exist"):
        PoseFile(path=tmp_path / "none.pth").load()
    (tmp_path / "half.pth").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(TeacherError, match=r"teachers\.identity\.path"):
        IdentityFile(path=tmp_path / "half.pth").load()
    torch.save({"net": Harmful()}, tmp_path / "bad.pth")
    with pytest.raises(TeacherError, match="could run code"):
        PuppetFile(path=tmp_path / "bad.pth").load()
    with pytest.raises(TeacherError, match=r"features\.path"):
        Vgg19(tmp_path / "bad.pth")
    assert "run by" not in capsys.readouterr().out


def test_without_a_path_a_teacher_is_absent_and_said_to_be():
    loaded = TeacherFiles().load()
    assert (loaded.pose, loaded.identity, loaded.landmarks, loaded.features) == (None,) * 4
    lines = describe(loaded, {})
    assert len(lines) == 3
    assert all("no teacher" in line and ".path" in line for line in lines)


def test_the_head_pose_file_is_hopenets_layout(tmp_path):
    torch.manual_seed(0)
    source = HeadPoseNet()
    state = dict(source.net.state_dict()) | {
        "fc_finetune.weight": torch.zeros(3, 2051),
        "fc_finetune.bias": torch.zeros(3),
    }
    assert {"conv1.weight", "layer4.2.bn3.running_var", "fc_yaw.weight", "fc_pitch.bias", "fc_roll.weight"} <= set(
        state
    )
    assert state["fc_yaw.weight"].shape == (66, 2048)
    torch.save(state, tmp_path / "pose.pkl")
    loaded = PoseFile(path=tmp_path / "pose.pkl").load()
    image = picture(1, 64, 0.2)
    told = loaded(image)
    assert told.shape == (1, 3)
    torch.testing.assert_close(told, source.eval()(image))


def test_head_pose_bins_become_degrees_in_our_signs():
    pose = HeadPoseNet()
    with torch.no_grad():
        for name, middle in (("fc_pitch", 40), ("fc_yaw", 20), ("fc_roll", 33)):
            head = pose.net.get_submodule(name)
            head.weight.zero_()
            head.bias.fill_(-100)
            head.bias[middle] = 100
        told = pose.eval()(picture(1, 32, 0.0))
    torch.testing.assert_close(told, torch.tensor([[-21.0, -39.0, 0.0]]))
    with pytest.raises(ValueError, match="signs"):
        PoseFile(signs=(1, 2, 1))


def test_the_identity_file_is_arcface_torchs_layout_and_gradients_reach_the_pixels(tmp_path):
    torch.manual_seed(0)
    source = IResNet()
    state = source.state_dict()
    wanted = {"conv1.weight", "prelu.weight", "layer1.0.downsample.0.weight", "layer3.13.bn3.weight", "bn2.bias",
              "fc.weight", "features.running_mean"}  # fmt: skip
    assert wanted <= set(state)
    assert state["fc.weight"].shape == (512, 25088)
    assert sum(v.numel() for k, v in state.items() if "running" not in k and "num_b" not in k) == 43_590_848
    torch.save(state, tmp_path / "backbone.pth")
    loaded = IdentityFile(path=tmp_path / "backbone.pth").load()
    image = picture(2, 64, 0.2).requires_grad_(True)
    told = loaded(image, five_points(2))
    torch.testing.assert_close(told.norm(dim=1), torch.ones(2))
    told[:, 0].sum().backward()
    assert image.grad.abs().sum() > 0


class Centred(torch.nn.Module):
    """Says that 5 points lie on a diagonal, in -1 to 1."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        at = torch.linspace(-1, 1, 5)
        return torch.stack((at, at), dim=1).flatten().repeat(image.shape[0], 1)


def script(path):
    torch.jit.save(torch.jit.script(Centred()), str(path))
    return path


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_a_torchscript_file_is_asked_as_declared(tmp_path):
    path, order = script(tmp_path / "marks.ts"), [i % 5 for i in range(70)]
    loaded = LandmarkFile(path=path, side_px=32, units="centred", num_outputs=5, order=order).load()
    told = loaded(picture(2, 64, 0.1))
    assert told.shape == (2, 70, 2)
    torch.testing.assert_close(told[1, :6, 0], torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0, 0.0]))
    in_px = LandmarkFile(path=path, side_px=32, units="px", num_outputs=5, order=order).load()(picture(1, 64, 0.1))
    torch.testing.assert_close(in_px[0, 4], torch.full((2,), 1.5 / 32))
    with pytest.raises(TeacherError, match=r"but gives \[1, 10\]"):
        LandmarkFile(path=path, num_outputs=70).load()
    (tmp_path / "other.ts").write_bytes(b"nothing")
    with pytest.raises(TeacherError, match="no TorchScript"):
        LandmarkFile(path=tmp_path / "other.ts").load()
    with pytest.raises(ValueError, match="order"):
        LandmarkFile(num_outputs=5)


def puppet_file(tmp_path):
    torch.manual_seed(0)
    save_file(PuppetNet().state_dict(), tmp_path / "puppet.safetensors")
    return tmp_path / "puppet.safetensors"


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_the_puppet_teacher_takes_every_job_that_nobody_else_has(tmp_path):
    path = puppet_file(tmp_path)
    assert path.stat().st_size < 2e6
    loaded = TeacherFiles(puppet=PuppetFile(path=path)).load()
    image = picture(2, 64, 0.4).requires_grad_(True)
    assert loaded.pose(image).shape == (2, 3)
    assert loaded.landmarks(image).shape == (2, 70, 2)
    assert len(loaded.features(image)) == 4
    loaded.identity(image, five_points(2))[:, 0].sum().backward()
    assert image.grad.abs().sum() > 0
    assert all("stand-in trained on puppets" in line for line in describe(loaded, {}))
    assert "on animals not" in describe(loaded, {"identity": False})[2]
    script(tmp_path / "marks.ts")
    order = [0] * 70
    files = TeacherFiles(
        puppet=PuppetFile(path=path, serves=["pose"]),
        landmarks=LandmarkFile(path=tmp_path / "marks.ts", side_px=32, num_outputs=5, order=order),
    )
    some = files.load()
    assert some.identity is None
    assert some.features is None
    assert "TorchScript" in some.landmarks.summary
    assert set(JOBS) == set(PuppetFile().serves)
    with pytest.raises(ValueError, match="gaze"):
        PuppetFile(serves=["gaze"])


def test_teachers_stay_frozen_and_in_eval_mode_whatever_the_trainer_does():
    teachers = Teachers(pose=HeadPoseNet())
    teachers.train()
    assert not any(module.training for module in teachers.modules())
    assert not any(p.requires_grad for p in teachers.parameters())
