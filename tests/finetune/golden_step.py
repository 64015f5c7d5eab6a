"""Statistics of one step of the tiny model with every term.

`.venv/bin/python -m tests.finetune.golden_step` writes them. Run it only when a change of the numbers is meant, and
look at the difference.
"""

import json
from pathlib import Path
from typing import Any

import torch

from finetune.objective import TERMS
from finetune.teachers.panel import Teachers
from finetune.teachers.puppet_net import PuppetIdentity, PuppetNet, PuppetPose
from tests.finetune.rows import CAT, DOG, HUMAN, batch, gradient_norms, module

PATH = Path(__file__).parent / "golden" / "one_step.json"
COMMAND = ".venv/bin/python -m tests.finetune.golden_step"


def one_step() -> dict[str, Any]:
    """Values of all terms and gradient norms of all networks; seeds, pictures and sizes are fixed."""
    torch.set_num_threads(1)
    animals = {"pose_teacher": False, "identity": False, "gan_lip": False}
    trained = module(dict.fromkeys(TERMS, 1.0), {"animals": animals}, r1=1.0)
    torch.manual_seed(5)
    net = PuppetNet()
    trained.teachers = Teachers(pose=PuppetPose(net, "random"), identity=PuppetIdentity(net, "random"))
    with torch.no_grad():
        trained.model.motion.detector.fc_exp.bias.add_(0.02)
    trained.manual_backward = lambda loss, *_, **__: loss.backward()
    rows = batch([HUMAN, CAT, DOG, HUMAN], truth=[True, False, True, False], cross=[False, False, True, False])
    terms, views = trained.accumulated(rows, adversarial=True)
    norms = gradient_norms(trained)
    judged = trained.judges.discriminator_terms(views[0]) | trained.judges.penalties(views[0])
    torch.stack(list(judged.values())).sum().backward()
    judges = {name: value for name, value in gradient_norms(trained).items() if name.endswith("discriminator")}
    return {
        "terms": {name: float(value.detach()) for name, value in (terms | judged).items()},
        "gradient_norms": norms | judges,
    }


def main() -> None:
    """Write the file."""
    PATH.parent.mkdir(exist_ok=True)
    part = PATH.with_name(PATH.name + ".part")
    part.write_text(json.dumps({"command": COMMAND, "torch": torch.__version__, **one_step()}, indent=2) + "\n")
    part.replace(PATH)


if __name__ == "__main__":
    main()
