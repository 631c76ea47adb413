"""A sentence-transformers model from a directory or a hub name, loaded without running anybody's code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vecmigrate.encoding.fingerprint import module_folders, weight_files
from vecmigrate.errors import MissingDependency, ModelError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

INSTALL_HINT = "pip install 'vecmigrate[train]'"
DEFAULT_ORGANISATION = "sentence-transformers"
_UNSAFE = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle")
_WANTED = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")
_UNWANTED = ("onnx/*", "openvino/*", "original/*", "training_args.*")


def find_model(source: str) -> Path:
    """The local directory of a model, downloaded if `source` is a hub name that isn't cached. HF_HUB_OFFLINE is respected.

    Raises `ModelError` when there is no such directory, the hub can't be reached, or the model isn't safe to load.
    """
    if not source.strip():
        raise ModelError("no model is named", hint="name a directory, a hub name, or one of `vecmigrate models list`")
    local = Path(source).expanduser()
    folder = local if local.exists() else _download(source)
    _check_safe(folder, source)
    return folder


def _download(source: str) -> Path:
    if source.startswith((".", "/", "~")) or source.count("/") > 1 or "\\" in source or source.endswith("/"):
        raise ModelError(f"there is no model directory {source}", hint="check the path, or see `vecmigrate models list`")
    hub = _hub()
    name = source if "/" in source else f"{DEFAULT_ORGANISATION}/{source}"
    try:
        return Path(hub(name, allow_patterns=list(_WANTED), ignore_patterns=list(_UNWANTED)))
    except Exception as error:  # the hub's client raises errors of several libraries, some new in each release
        raise ModelError(
            f"model {source!r} is neither a directory nor to be had from the model hub: {_first_line(error)}",
            hint="check the name and the connection, or download it elsewhere and name its directory",
        ) from error


def _hub() -> Any:
    try:
        from huggingface_hub import snapshot_download
    except ModuleNotFoundError as error:
        raise _not_installed(error) from error
    return snapshot_download


def _check_safe(folder: Path, source: str) -> None:
    if not folder.is_dir():
        raise ModelError(f"{source} is not a directory", hint="name the directory that holds modules.json or config.json")
    if not any((folder / name).is_file() for name in ("modules.json", "config.json")):
        raise ModelError(
            f"{source} is not a model: it has no modules.json and no config.json", hint="name a sentence-transformers directory"
        )
    for path in module_folders(folder):
        _check_weights(folder / path, source)


def _check_weights(folder: Path, source: str) -> None:
    if not folder.is_dir() or weight_files(folder):
        return
    pickles = sorted(file.name for pattern in _UNSAFE for file in folder.glob(pattern))
    if pickles:
        raise ModelError(
            f"{source} keeps its weights in {pickles[0]}, a pickle, which can run code when it is loaded",
            hint="where you trust it, convert it once: SentenceTransformer(old).save_pretrained(new) writes safetensors; then name the new directory",
        )


def open_model(folder: Path, *, source: str, device: str, dtype: str) -> SentenceTransformer:
    """Load the pipeline: no remote code, safetensors only, no network. `dtype` is torch's name for the weights' type.

    Raises `ModelError` for anything that goes wrong, `MissingDependency` without sentence-transformers.
    """
    try:
        from sentence_transformers import SentenceTransformer
    except ModuleNotFoundError as error:
        raise _not_installed(error) from error
    try:
        with quiet_bars():
            return SentenceTransformer(
                str(folder),
                device=device,
                trust_remote_code=False,
                local_files_only=True,
                model_kwargs={"use_safetensors": True, "dtype": dtype},
            )
    except Exception as error:  # whatever a damaged or foreign directory provokes in three libraries
        raise ModelError(f"{source} cannot be loaded: {_first_line(error)}", hint=_loading_hint(error)) from error


def _loading_hint(error: Exception) -> str:
    if "trust_remote_code" in str(error):
        return "the model brings its own code, which vecmigrate does not run; choose one that sentence-transformers knows"
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return "the model does not fit into memory; choose a smaller one, or another [encoding] device"
    return "check that the directory is complete; vecmigrate models list shows the others"


def _not_installed(error: ModuleNotFoundError) -> MissingDependency:
    return MissingDependency(f"loading a model needs the package {error.name!r}", hint=INSTALL_HINT)


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]


@contextmanager
def quiet_bars() -> Iterator[None]:
    """Keep transformers' own progress bars off the terminal meanwhile: ours are drawn by the command line."""
    from transformers.utils import logging

    bars: Any = logging
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()
