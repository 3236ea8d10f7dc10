"""Builds the objects that a configuration's nodes describe; what is wrong with a node is named by its full key."""

import errno
import re
from collections.abc import Callable, Collection
from typing import Any

from hydra._internal.utils import _locate
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from unimatch.cli.arguments import check_arguments
from unimatch.cli.overrides import flat_keys
from unimatch.disk import NO_ROOM, lacks_room
from unimatch.errors import TRACEBACKS, ConfigError, UnimatchError, WriteError, describe_error, own_place

NODES = ("dataset", "datamodule", "method", "model", "inference", "trainer", "checkpoint", "guard", "logger")
"""Nodes of a configuration whose keys are arguments of Python objects."""

SET_BY_COMMANDS = {
    "callbacks": "add an entry to the group: +callbacks.NAME._target_=CLASS",
    "logger": "choose logger=csv, tensorboard, wandb or mlflow, or give a node of your own",
    "default_root_dir": "choose hydra.run.dir",
    "enable_checkpointing": "unimatch.run always writes checkpoints, see checkpoint.KEY",
    "enable_model_summary": "the log names the model's parts",
    "enable_progress_bar": "callbacks.progress=null trains without the bar",
    "split_seed": "choose dataset.split_seed",
    "plugins": "one is always given, which writes checkpoints safely",
}
"""Arguments that a command passes itself, and what to do instead of giving them."""


def build(node: DictConfig, *arguments: Any, **options: Any) -> Any:
    """Makes the object that a node describes, with objects as further arguments (Hydra takes those for configuration).

    An error that begins with the name of one of the node's keys gets the key's full name: ``method.tau=2: ...``.
    A node that does not say what it is, or gives an argument that the command passes itself, is refused. Whatever a
    class that is not ours raises while it is made becomes an error of the user's.
    """
    key = node._get_full_key(None)
    if "_target_" not in node:
        hint = "In a file of your own, `defaults: [NAME]` takes it from one of ours"
        if key in ("model", "task"):
            hint = "A data set's file names its task: `defaults: [{/task: segmentation}, _self_]`"
        elif key in node:
            hint = f"A file that fills in more than {key} begins with the line '# @package _global_'"
        raise ConfigError(f"{key}._target_: missing; it names the class. {hint}")
    for name in options.keys() & node.keys() & SET_BY_COMMANDS.keys():
        raise ConfigError(f"{key}.{name}: set by the command; {SET_BY_COMMANDS[name]}")
    check_node(node, [*map(str, range(len(arguments))), *options])
    try:
        return instantiate(node, _partial_=True)(*arguments, **options)
    except Exception as error:
        cause = user_error_in(error)
        if cause is None:
            refuse_to_make(error, node)
            raise
        cause.args = (with_key(str(cause), node, key + "."),)
        raise cause from None


def made_as(kind: type, made: Any, node: DictConfig) -> Any:
    """Returns what a node has made, if it is of the kind that is needed there.

    Raises:
        ConfigError: naming the node, and both kinds.
    """
    if not isinstance(made, kind):
        raise ConfigError(
            f"{node._get_full_key(None)}: {node._target_} makes an object of the class {type(made).__name__}; one of "
            f"{kind.__module__.partition('.')[0]}'s {kind.__name__} is needed"
        )
    return made


def refuse_to_make(error: Exception, node: DictConfig) -> None:
    """Says which class of a node, or of one within it, has raised an error while it was made, if it is not ours."""
    key = node._get_full_key(None)
    while isinstance(error, InstantiationException) and isinstance(error.__cause__, Exception):
        key = next(iter(re.findall(r"^full_key: (.+)$", str(error), re.MULTILINE)), key)
        error = error.__cause__
    made = OmegaConf.select(node._get_root(), key)
    if not is_ours(made):
        raise ConfigError(
            f"{key}: {made._target_} cannot be made: {describe_error(error)}; {TRACEBACKS}=1 before the command shows "
            "the traceback"
        ) from error


def is_ours(node: DictConfig) -> bool:
    """Returns whether what a node names belongs to this package."""
    return str(node._target_).startswith("unimatch.")


def check_node(node: DictConfig, given: Collection[str] = ()) -> None:
    """Refuses a node, or a node within it, whose class cannot be imported or does not take its keys' values.

    Args:
        node: with a ``_target_``.
        given: names of arguments that are given besides, numbers for those without a name.
    """
    key = node._get_full_key(None)
    for name in sorted(OmegaConf.missing_keys(node)):
        raise ConfigError(f"{name}: missing; give {name}=VALUE")
    values = {str(name): node[name] for name in node if not str(name).startswith("_")}
    for value in values.values():
        if isinstance(value, DictConfig) and "_target_" in value:
            check_node(value)
    if "_args_" in node:
        return
    try:
        check_arguments(target_of(node), values, given, partial=bool(node.get("_partial_")))
    except ConfigError as error:
        remedy = ""
        if not is_ours(node) and " has no such argument" in str(error):
            remedy = f". Keys of what stood there before are left out by ~{key} +{key}._target_={node._target_}"
            if key == "dataset":  # without its file there would be no task
                remedy = (
                    ". Write a file of your own, FOLDER/dataset/NAME.yaml, whose defaults name the task, and give "
                    "--config-dir FOLDER dataset=NAME (docs/new_dataset.md)"
                )
        elif not is_ours(node) and ": missing; " in str(error) and key.startswith(("method.", "datamodule.")):
            remedy = f"; if training is to call it later, as a function, add {key}._partial_=true"
        raise ConfigError(f"{'' if str(error).startswith(f'{key}.') else f'{key}.'}{error}{remedy}") from None


def target_of(node: DictConfig) -> Callable[..., Any]:
    """Returns what a node's ``_target_`` names."""
    given = f"{node._get_full_key('_target_')}={node._target_}"
    try:
        found: Callable[..., Any] = _locate(str(node._target_))  # get_object would log what is said below
    except (ImportError, ValueError, AttributeError) as error:
        raise ConfigError(f"{given}: cannot be imported ({' '.join(str(error).split())})") from error
    if not callable(found):
        raise ConfigError(f"{given}: is no class and no function")
    return found


def with_key(message: str, node: DictConfig, prefix: str = "") -> str:
    """Gives the argument that a message begins with the full name of its key.

    Where several keys of the configuration have that name, or none, the message stays as it is.

    >>> config = OmegaConf.create({"seed": 0, "method": {"tau": 2, "seed": 0}, "encoder": {"name": "tiny"}})
    >>> with_key("tau=2: must be a probability", config)
    'method.tau=2: must be a probability'
    >>> with_key("seed=-1: must be at least 0", config)
    'seed=-1: must be at least 0'
    >>> with_key("tau=2: must be a probability", config.method, "method.")
    'method.tau=2: must be a probability'
    """
    name = re.match(r"(\w+)[=:]", message)
    if name is None or (not prefix and name[1] in node):
        return message
    keys = [key for key in flat_keys(node, prefix) if key.rpartition(".")[2] == name[1]]
    keys = [key for key in keys if prefix or key.startswith(NODES)]
    nearest = [key for key in keys if key.count(".") == min(key.count(".") for key in keys)]
    return nearest[0].removesuffix(name[1]) + message if len(nearest) == 1 else message


def plain(config: DictConfig) -> dict[str, Any]:
    """Returns a configuration as dicts, lists and scalars, with interpolations resolved."""
    return {str(key): value for key, value in OmegaConf.to_container(config, resolve=True).items()}  # type: ignore[union-attr]


def user_error_in(error: BaseException | None) -> UnimatchError | None:
    """Returns the error of ours that Hydra has wrapped, if it is one; what a system refuses of a name becomes one."""
    while isinstance(error, InstantiationException):
        error = error.__cause__
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return WriteError(f"{error.filename or 'a file'} cannot be written: {error.strerror}; make room")
    if isinstance(error, OSError) and error.errno == errno.ELOOP:
        return ConfigError(f"{error.filename} is a link, and nothing is written through one; remove it")
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return ConfigError(f"{str(error.filename)[:60]}...: a name that is too long for a file or folder")
    if isinstance(error, OSError) and error.errno in WRONG_PLACES and error.filename is not None:
        return ConfigError(f"{error.filename}: {WRONG_PLACES[error.errno]}")
    if not isinstance(error, UnimatchError):
        return None
    return WriteError(f"{message_of(error)}; make room") if error.status == 2 and lacks_room(error) else error


WRONG_PLACES = {
    errno.EEXIST: "a file is there, where a folder is needed; choose another name",
    errno.ENOTDIR: "leads through a file, where a folder is needed; choose another name",
    errno.EISDIR: "is a folder, where a file is needed; choose another name",
    errno.EACCES: "may not be read or written by you; choose another place, or ask for the right to",
}
"""What errors of the system say of a name that the user has given."""


def error_to_tell(error: BaseException) -> UnimatchError | None:
    """Returns the error of ours to print instead of a traceback, also one that the user's own code has raised."""
    if (cause := user_error_in(error)) is not None or not isinstance(error, Exception) or own_place(error) is None:
        return cause
    return ConfigError(f"{describe_error(error)}; {TRACEBACKS}=1 before the command shows the traceback")


def message_of(error: UnimatchError) -> str:
    """Returns an error's message; torch puts a traceback before one from a loading process, which is left out."""
    text = str(error)
    return text.rpartition(f"{type(error).__name__}: ")[2] if text.startswith("Caught ") else text
