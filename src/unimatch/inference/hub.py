"""Keeps a trained model in a repository of the Hugging Face hub, or in a folder with the same files."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal, Self

from huggingface_hub import ModelHubMixin, hf_hub_download
from typing_extensions import override

from unimatch.engines.model_facts import facts_path
from unimatch.errors import UnimatchError, WeightsError, first_line
from unimatch.inference.export import export_safetensors
from unimatch.inference.load import Trained, load_safetensors, load_with_facts
from unimatch.models.hub import offline_if_unreachable

WEIGHTS = "model.safetensors"
FACTS = facts_path(Path(WEIGHTS)).name


class HubModel(ModelHubMixin, library_name="unimatch", tags=["image-segmentation", "semi-supervised"]):
    """A trained model with the names of its classes, to be kept in a folder or on the Hugging Face hub.

    huggingface_hub provides ``save_pretrained(FOLDER)``, ``push_to_hub("NAME/MODEL")`` and ``from_pretrained`` for
    both. The files are those that ``unimatch.export`` writes as safetensors: no code in them is run when they are read.
    ``unimatch.Predictor(HubModel.from_pretrained(...).trained)`` predicts with the model.

    Args:
        trained: a result of :func:`unimatch.inference.load.load_with_facts`; :meth:`from_checkpoint` is a shortcut.
    """

    def __init__(self, trained: Trained) -> None:
        self.trained = trained

    @classmethod
    def from_checkpoint(cls, path: str | Path, which: Literal["teacher", "student"] = "teacher") -> Self:
        """Reads the teacher or the student of a checkpoint of ours."""
        return cls(load_with_facts(Path(path).expanduser(), which))

    @classmethod
    @override
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **options: Any) -> Self:
        """Reads a folder, or the files of a repository of the hub.

        Raises:
            WeightsError: they cannot be read or downloaded, or do not hold a model of ours.
        """
        name = pretrained_model_name_or_path
        with nullcontext() if Path(name).is_dir() else offline_if_unreachable():
            try:
                return super().from_pretrained(name, **options)
            except UnimatchError:  # it says already what is wrong with the files
                raise
            except (OSError, ValueError) as error:
                raise WeightsError(
                    f"{name}: is not a folder, and could not be downloaded from the Hugging Face hub "
                    f"({type(error).__name__}: {first_line(error)}); a folder must hold {WEIGHTS} and {FACTS}"
                ) from error

    @override
    def _save_pretrained(self, save_directory: Path) -> None:
        export_safetensors(save_directory / WEIGHTS, *self.trained, "float32")

    @classmethod
    @override
    def _from_pretrained(cls, *, model_id: str, **options: Any) -> Self:
        folder = Path(model_id)
        if not folder.is_dir():
            wanted = {key: value for key, value in options.items() if key in HUB_OPTIONS}
            files = [Path(hf_hub_download(model_id, name, **wanted)) for name in (FACTS, WEIGHTS)]
            folder = files[0].parent
        if not (folder / WEIGHTS).is_file():
            raise WeightsError(f"{model_id}: holds no {WEIGHTS} of unimatch")
        return cls(load_safetensors(folder / WEIGHTS))


HUB_OPTIONS = ("revision", "cache_dir", "force_download", "token", "local_files_only")
"""Options of ``from_pretrained`` that are passed on to ``hf_hub_download``."""
