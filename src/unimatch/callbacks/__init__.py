"""What happens around training: progress, the record, pictures."""

from unimatch.callbacks.pictures import Pictures
from unimatch.callbacks.progress import Progress
from unimatch.callbacks.record import Record, RunFacts

__all__ = ["Pictures", "Progress", "Record", "RunFacts"]
