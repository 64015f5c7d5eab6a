"""Where a run's numbers, pictures, videos and texts go beside the files in `out`; one adapter per file."""

from finetune.loggers.run_logger import Film, RunLogger, loggers_of

__all__ = ["Film", "RunLogger", "loggers_of"]
