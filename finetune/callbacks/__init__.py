"""What a run shows while it goes; one callback per file."""

from finetune.callbacks.bar import Bar
from finetune.callbacks.facts import Facts
from finetune.callbacks.grids import Grids
from finetune.callbacks.numbers import Numbers
from finetune.callbacks.samples import Samples
from finetune.callbacks.species import SpeciesNumbers
from finetune.picture_files import save_png

__all__ = ["Bar", "Facts", "Grids", "Numbers", "Samples", "SpeciesNumbers", "save_png"]
