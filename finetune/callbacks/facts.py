"""The start of a run -> what it was made of: the composed config and the shards' manifest, in `out` and in loggers."""

from dataclasses import dataclass
from pathlib import Path

import lightning

from data_pipeline.whole_file import write_text
from finetune.loggers import loggers_of

CONFIG, MANIFEST = "config.yaml", "shards_manifest.json"


@dataclass(kw_only=True, eq=False)
class Facts(lightning.Callback):
    """Copies the manifest beside the config, and sends both to the loggers."""

    out: Path
    """The run's folder, with the composed config in it."""
    shards: Path

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Once per start."""
        if not trainer.is_global_zero:
            return
        found: dict[str, str] = {}
        if (self.out / CONFIG).is_file():
            found[CONFIG] = (self.out / CONFIG).read_text()
        if (self.shards / "manifest.json").is_file():
            found[MANIFEST] = (self.shards / "manifest.json").read_text()
            write_text(self.out / MANIFEST, found[MANIFEST])
        for logger in loggers_of(trainer):
            if found:
                logger.texts(found)
