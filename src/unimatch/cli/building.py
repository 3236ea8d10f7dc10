"""Builds the objects that a configuration's nodes describe, with errors that name the full keys."""

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
from unimatch.cli.references import place_of_value
from unimatch.disk import NO_ROOM, lacks_room
from unimatch.errors import TRACEBACKS, ConfigError, UnimatchError, WriteError, describe_error, own_place

NODES = ("dataset", "datamodule", "method", "model", "inference", "trainer", "checkpoint", "guard", "logger")
"""The nodes of a configuration whose keys are arguments of Python objects."""

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
"""Arguments that a command passes itself, with what to do instead of giving them."""

WRONG_PLACES = {
    errno.EEXIST: "a file is there, where a folder is needed; choose another name",
    errno.ENOTDIR: "leads through a file, where a folder is needed; choose another name",
    errno.EISDIR: "is a folder, where a file is needed; choose another name",
    errno.EACCES: "may not be read or written by you; choose another place, or ask for the right to",
}
"""What messages say of a name that the user has given, by the error of the system."""


def build(node: DictConfig, *arguments: Any, **options: Any) -> Any:
    """Builds the object that a node describes.

    An error of ours that begins with the name of one of the node's keys gets the key's full name:
    ``method.tau=2: ...``.

    Args:
        node: with a ``_target_``.
        arguments: further arguments, which may be any objects (Hydra would take them for configuration).
        options: further keyword arguments.

    Raises:
        ConfigError: the node has no ``_target_``, gives an argument that the command passes itself or one that does not
            fit, or its class is not ours and raises an error.
        UnimatchError: a class of ours raises it.
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
            raise_as_config_error(error, node)
            raise
        cause.args = (with_key(str(cause), node, key + "."),)
        raise cause from None


def made_as(kind: type, made: Any, node: DictConfig) -> Any:
    """Returns an object that a node has made, if it is of the class that is needed.

    Raises:
        ConfigError: it is not; the message names the node and both classes.
    """
    if not isinstance(made, kind):
        raise ConfigError(
            f"{node._get_full_key(None)}: {node._target_} makes an object of the class {type(made).__name__}, and an "
            f"object of {kind.__module__.partition('.')[0]}'s class {kind.__name__} is needed"
        )
    return made


def raise_as_config_error(error: Exception, node: DictConfig) -> None:
    """Raises an error of building a node, or one within it, as a ConfigError, unless a class of ours has raised it."""
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
    """Returns whether a node's class or function belongs to this package."""
    return str(node._target_).startswith("unimatch.")


def check_node(node: DictConfig, given: Collection[str] = ()) -> None:
    """Refuses a node, or a node within it, whose class cannot be imported or does not take the values of its keys.

    Args:
        node: with a ``_target_``.
        given: arguments that are given in addition: their names, or their positions as text.

    Raises:
        ConfigError: naming the key.
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
        message = str(error)
        remedy = "" if is_ours(node) else remedy_for(message, key, node._target_)
        if not message.startswith(f"{key}."):
            name = "".join(re.findall(r"^\w+", message))
            used = f"{key}.{name}"
            place = used if " has no such argument" in message else place_of_value(node._get_root(), used)
            message = place + message.removeprefix(name)
        raise ConfigError(f"{message}{remedy}") from None


def remedy_for(message: str, key: str, target: str) -> str:
    """Returns what to add to a message about the arguments of a class that is not ours; an empty text for nothing."""
    if " has no such argument" in message:
        if key == "dataset":  # left out with its keys, it would leave no task
            return (
                ". Write a file of your own, FOLDER/dataset/NAME.yaml, whose defaults name the task, and give "
                "--config-dir FOLDER dataset=NAME (docs/new_dataset.md)"
            )
        return f". If that key is left over from the node's former class, write ~{key} +{key}._target_={target}"
    if ": missing; " in message and key.startswith(("method.", "datamodule.")):
        return f"; if training is to call it later, as a function, add {key}._partial_=true"
    return ""


def target_of(node: DictConfig) -> Callable[..., Any]:
    """Returns the class or function that a node's ``_target_`` names.

    Raises:
        ConfigError: it cannot be imported, or is neither.
    """
    given = f"{node._get_full_key('_target_')}={node._target_}"
    try:
        found: Callable[..., Any] = _locate(str(node._target_))  # Hydra's get_object would log the error too
    except (ImportError, ValueError, AttributeError) as error:
        raise ConfigError(f"{given}: cannot be imported ({' '.join(str(error).split())})") from error
    if not callable(found):
        raise ConfigError(f"{given}: is no class and no function")
    return found


def with_key(message: str, node: DictConfig, prefix: str = "") -> str:
    """Puts the full name of the key in place of the argument's name with which a message begins.

    If that key refers to another one, as ``method.tau`` to ``recipe.tau``, the message names the other one, where the
    value stands. It stays as it is if no key of the configuration has the argument's name, or several.

    Args:
        message: such as ``tau=2: must be a probability``.
        node: the configuration, or a node of it.
        prefix: the full name of the node with a dot; empty for the whole configuration.

    >>> config = OmegaConf.create({"seed": 0, "method": {"tau": 2, "seed": 0}, "encoder": {"name": "tiny"}})
    >>> with_key("tau=2: must be a probability", config)
    'method.tau=2: must be a probability'
    >>> with_key("seed=-1: must be at least 0", config)
    'seed=-1: must be at least 0'
    >>> with_key("tau=2: must be a probability", config.method, "method.")
    'method.tau=2: must be a probability'
    >>> with_key("split=None: must be one of val, test", OmegaConf.create({"split": None}))
    'split=null: must be one of val, test'
    """
    name = re.match(r"(\w+)[=:]", message)
    if name is None:
        return message
    if not prefix and name[1] in node:
        return with_null(message, name[1], node)
    keys = [key for key in flat_keys(node, prefix) if key.rpartition(".")[2] == name[1]]
    keys = [key for key in keys if prefix or key.startswith(NODES)]
    nearest = [key for key in keys if key.count(".") == min(key.count(".") for key in keys)]
    if len(nearest) != 1:
        return message
    key = place_of_value(node._get_root(), nearest[0])
    return with_null(key + message.removeprefix(name[1]), key, node._get_root())


def with_null(message: str, key: str, config: Any) -> str:
    """Writes ``null`` for Python's None in a message that begins with a key, unless the key's value is that text."""
    is_null = message.startswith(f"{key}=None:") and OmegaConf.select(config, key) is None
    return f"{key}=null{message.removeprefix(f'{key}=None')}" if is_null else message


def plain(config: DictConfig) -> dict[str, Any]:
    """Returns a configuration as dicts, lists and scalars, with interpolations resolved."""
    return {str(key): value for key, value in OmegaConf.to_container(config, resolve=True).items()}  # type: ignore[union-attr]


def user_error_in(error: BaseException | None) -> UnimatchError | None:
    """Returns an error that a user can act on, if that is what Hydra has wrapped; None for any other error."""
    while isinstance(error, InstantiationException):
        error = error.__cause__
    if isinstance(error, OSError):
        return system_error(error)
    if not isinstance(error, UnimatchError):
        return None
    return WriteError(f"{message_of(error)}; make room") if error.status == 2 and lacks_room(error) else error


def system_error(error: OSError) -> UnimatchError | None:
    """Returns an error of the system about a full disk or a wrong name as one of ours; None for any other error."""
    if error.errno in NO_ROOM:
        return WriteError(f"{error.filename or 'a file'} cannot be written: {error.strerror}; make room")
    if error.errno == errno.ELOOP:
        return ConfigError(f"{error.filename} is a link, and nothing is written through one; remove it")
    if error.errno == errno.ENAMETOOLONG:
        return ConfigError(f"{str(error.filename)[:60]}...: a name that is too long for a file or folder")
    if error.errno in WRONG_PLACES and error.filename is not None:
        return ConfigError(f"{error.filename}: {WRONG_PLACES[error.errno]}")
    return None


def error_to_tell(error: BaseException) -> UnimatchError | None:
    """Returns the error to print in place of a traceback; None if the traceback itself is to be shown.

    An error that the user's own code has raised becomes a ConfigError.
    """
    cause = user_error_in(error)
    if cause is not None or not isinstance(error, Exception) or own_place(error) is None:
        return cause
    return ConfigError(f"{describe_error(error)}; {TRACEBACKS}=1 before the command shows the traceback")


def message_of(error: UnimatchError) -> str:
    """Returns an error's message, without the traceback that PyTorch puts before one from a loading process."""
    text = str(error)
    return text.rpartition(f"{type(error).__name__}: ")[2] if text.startswith("Caught ") else text
