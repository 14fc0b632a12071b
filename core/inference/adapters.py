"""Adapters on one base: which base one goes on, and a base in memory that answers with one or another of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from core import models
from core.errors import UserError
from core.inference.engine import Options
from core.models import Model

WEIGHTS = "adapter_model.safetensors"


def on_base(adapter: str, base: str = "") -> tuple[Model, str]:
    """(adapter, what to load it on): "" where its own word for its base is good. Raises UserError.

    `base`: the model that a person names; "" leaves it to the adapter.
    """
    found = models.resolve(adapter)
    if found.format != "adapter":
        raise UserError(
            "{model} is no adapter.",
            remedy="Name a folder with adapter_config.json and {file}.",
            model=found.title,
            file=WEIGHTS,
        )
    if not base:
        return found, ""
    folder = models.weights_folder(models.resolve(base))
    if folder is None:
        raise UserError(
            "{model} has no Hugging Face weights here, and an adapter goes on nothing else.",
            remedy="Name the folder with the base's config.json, or download the base.",
            model=base,
        )
    try:
        same = models.base_weights(found).resolve() == folder.resolve()
    except UserError:
        same = False
    return found, "" if same else str(folder.resolve())


def base_folder(model: Model, options: Options) -> Path | None:
    """The folder whose weights a model computes with, where adapters can go on them; None where they can't."""
    if model.format == "adapter":
        return models.base_weights(based(model, options)).resolve()
    return model.path.resolve() if model.format == "huggingface" and model.path is not None else None


def based(model: Model, options: Options) -> Model:
    """The adapter on the base that a load asks for."""
    return replace(model, base=options.base) if options.base and model.format == "adapter" else model


class Adapters:
    """A base and the adapters loaded on it, by reference. Not safe for threads: its engine answers one at a time."""

    def __init__(self, base: Any, limits: dict[Any, int]) -> None:
        self._base, self._limits = base, limits
        self._tuned: Any = None
        self._active = ""
        self._names: dict[str, str | None] = {}
        """Reference → the adapter's name in PEFT; None for the base itself."""
        self._files: dict[str, tuple[str, int]] = {}
        self.current = ""

    @property
    def model(self) -> Any:
        return self._base if self._tuned is None else self._tuned

    @property
    def any(self) -> bool:
        return self._tuned is not None

    def add(self, model: Model) -> None:
        """Take a reference to answer as from now on, its adapter loaded if it isn't. The others stay."""
        name = None if model.format != "adapter" else self._loaded(Path(str(model.path)))
        self._names[model.ref] = name
        self.current = model.ref

    @contextlib.contextmanager
    def answering(self, ref: str, *, tuned: bool) -> Iterator[Any]:
        """The model that answers as `ref` (one that was never added: as the current one); not `tuned`: as the base."""
        name = self._names[ref if ref in self._names else self.current]
        if self._tuned is None:
            yield self._base
        elif name is None or not tuned:
            with self._tuned.disable_adapter():
                yield self._tuned
        else:
            if self._active != name:
                self._tuned.set_adapter(name, inference_mode=True)
                self._active = name
            yield self._tuned

    def _loaded(self, folder: Path) -> str:
        """The name of a folder's adapter, loaded unless its file is the one that already is."""
        file = (str(folder.resolve()), (folder / WEIGHTS).stat().st_mtime_ns)
        known = next((name for name, loaded in self._files.items() if loaded == file), None)
        if known is not None:
            return known
        name = f"adapter{len(self._files)}"
        self._put_on(folder, name)
        self._files[name] = file
        return name

    def _put_on(self, folder: Path, name: str) -> None:
        from peft import PeftModel

        more: dict[str, Any] = {"torch_device": "cpu"} | ({"max_memory": self._limits} if self._limits else {})
        before = self._tuned
        try:
            if before is None:
                self._tuned = PeftModel.from_pretrained(self._base, str(folder), adapter_name=name, **more)
            else:
                before.load_adapter(str(folder), name, **more)
            self._tuned.eval()
            _refuse_what_does_not_fit(self._tuned, folder, name)
        except Exception:
            self._take_off(before, name)
            raise

    def _take_off(self, before: Any, name: str) -> None:
        """After a failure: the model as it was, for the answers to come."""
        if before is None:
            self._tuned = None
            _strip(self._base)
        elif name in before.peft_config:
            before.delete_adapter(name)
        self._active = ""


def _refuse_what_does_not_fit(tuned: Any, folder: Path, name: str) -> None:
    """PEFT only warns where a file's weights find no place, or a place finds none; the answers would be wrong."""
    from peft import get_peft_model_state_dict
    from safetensors import safe_open

    with safe_open(folder / WEIGHTS, "pt") as file:
        there = {key for key in file.keys() if ".lora_" in key}  # noqa: SIM118 - it is no dict
    taken = {key for key in get_peft_model_state_dict(tuned, adapter_name=name) if ".lora_" in key}
    if there != taken:
        raise ValueError(f"its weights are for other layers, such as {min(there ^ taken)}")


def _strip(base: Any) -> None:
    """Take the layers out that PEFT put into a base before it failed."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils import ModulesToSaveWrapper

    for module in list(base.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, BaseTunerLayer):
                setattr(module, name, child.get_base_layer())
            elif isinstance(child, ModulesToSaveWrapper):
                setattr(module, name, child.original_module)
    if hasattr(base, "peft_config"):
        del base.peft_config
