"""Which models there are on this machine and what each declares: format, languages, licence, prompt form.

A model is named by a *reference*: the name of a folder in the workspace (`starter`), a path to a
`.gguf` file or to a Hugging Face folder, or the address of an OpenAI-compatible server
(`http://127.0.0.1:8000/v1#model-id`; of several that serve it, with commas between). A folder may carry
a card, `studio.json`, with the fields of `Card`; what has no card declares no languages. A GGUF file in
a folder's own folder `tuned` takes the folder's name; what it was made from is then called `NAME-base`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urldefrag, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core import paths
from core.errors import UserError

CARD = "studio.json"
GGUF_MAGIC = b"GGUF"
STARTER = "starter"
TUNED = "tuned"

OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
"""Environment of every process that reads a model: no library asks a hub by itself."""

Format = Literal["gguf", "huggingface", "adapter", "remote"]
ADAPTER_CONFIG = "adapter_config.json"


class Card(BaseModel):
    """What a model says of itself; written beside its weights."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    title: str = ""
    languages: tuple[str, ...] = Field(default=(), description="ISO 639-1 codes that it reads; empty: not declared")
    license: str = ""
    source: str = Field(default="", description="where the weights came from")
    dialect: str = Field(default="studio", description="the prompt dialect it was made for")
    prompt_form: Literal["raw", "chat"] = Field(
        default="chat", description="raw: trained on bare prompts; chat: prompts go through its chat template"
    )
    trained_for_extraction: bool = False
    files: dict[str, str] = Field(default_factory=dict, description="file name -> sha256")


@dataclass(frozen=True)
class Model:
    ref: str
    format: Format
    card: Card
    path: Path | None = None
    """The .gguf file or the Hugging Face folder; None for a remote one."""
    url: str = ""
    model_id: str = ""
    """What the remote server calls it."""
    base: str = ""
    """Of an adapter: the reference of the model that it changes."""

    @property
    def title(self) -> str:
        return self.card.title or (self.path.stem if self.path else self.model_id or self.url)

    @property
    def size(self) -> int:
        """Bytes of weights on disk; 0 for a remote one."""
        if self.path is None:
            return 0
        if self.path.is_file():
            return self.path.stat().st_size
        return size_of(self.path)

    def reads(self, language: str) -> bool | None:
        """Whether it declares this ISO 639-1 language; None where it declares nothing."""
        return language in self.card.languages if self.card.languages else None


def size_of(folder: Path) -> int:
    """Bytes of the weights in a folder."""
    return sum(file.stat().st_size for file in _weight_files(folder))


def installed() -> list[Model]:
    """The models of the workspace, by name; folders without weights are passed over.

    One whose card can't be read is listed as if it had none: it must not hide the others. `resolve` refuses it.
    """
    found: list[Model] = []
    for folder in sorted(paths.models().iterdir()):
        if folder.is_dir():
            found += _in_folder(folder, _card_or_none(folder))
    return found


def trained() -> list[Model]:
    """What the workspace's trainings made, as it is: adapters and fully tuned models, named by their folders' paths."""
    found: list[Model] = []
    for folder in sorted(paths.trainings().iterdir()):
        if folder.is_dir():
            found += _in_folder(folder, _card_or_none(folder), ref=str(folder.resolve()))
    return found


def for_chat(ref: str) -> str:
    """Whom to talk to where `ref` is only a default: a model tuned for extraction only extracts, its base talks."""
    return f"{ref}-base" if any(model.ref == f"{ref}-base" for model in installed()) else ref


def resolve(ref: str) -> Model:
    """The model that a reference names. Reads magic bytes and small JSON only. Raises UserError."""
    if ref.lower().startswith(("http://", "https://")):
        return _remote(ref)
    for model in installed():
        if model.ref == ref:
            if model.path is not None:
                card_of(model.path)
            return model
    path = Path(ref).expanduser()
    if path.is_file():
        check_gguf(path)
        return Model(str(path.resolve()), "gguf", read_card(path.parent), path.resolve())
    if path.is_dir():
        found = _in_folder(path.resolve(), card_of(path.resolve()), ref=str(path.resolve()))
        if found:
            return found[0]
        raise UserError(
            "The folder {path} holds no model.",
            remedy="Choose a .gguf file, or a folder with config.json and .safetensors files.",
            path=path,
        )
    if ref == STARTER:
        raise UserError(
            "The starter model is not here yet.", remedy="Fetch it on Home, or with `python -m core models starter`."
        )
    raise UserError(
        "There is no model “{ref}”.",
        remedy="Name one that the Models page lists, a .gguf file, a model folder or an http:// address.",
        ref=ref,
    )


def check_gguf(path: Path) -> None:
    """Raise UserError unless the file starts as GGUF files do."""
    with path.open("rb") as file:
        if file.read(4) != GGUF_MAGIC:
            raise UserError(
                "{path} is not a GGUF model file.",
                remedy="Choose a file that ends in .gguf, or download it again: the start of this one is wrong.",
                path=path,
            )


def read_card(folder: Path) -> Card:
    """The card in a folder; an empty one where there is none. Raises UserError if it can't be read."""
    file = folder / CARD
    if not file.is_file():
        return Card()
    try:
        return Card.model_validate_json(file.read_text(encoding="utf-8"))
    except (ValidationError, ValueError) as error:
        raise UserError(
            "{file} can't be read: {why}",
            remedy="Correct it, or delete it: then the model declares nothing.",
            file=file,
            why=str(error).splitlines()[0],
        ) from error


def card_of(weights: Path) -> Card:
    """The card of a .gguf file or of a folder of weights; for NAME/hf without one of its own, that of NAME."""
    folder = weights.parent if weights.is_file() else weights
    if folder.name == "hf" and not (folder / CARD).is_file():
        folder = folder.parent
    return read_card(folder)


def write_card(folder: Path, card: Card) -> None:
    temporary = folder / (CARD + ".tmp")
    temporary.write_text(json.dumps(card.model_dump(mode="json"), ensure_ascii=False, indent=2), encoding="utf-8")
    temporary.replace(folder / CARD)


def _remote(ref: str) -> Model:
    """An address goes into records, jobs and logs, so one that carries a password is refused."""
    url, model_id = urldefrag(ref)
    for address in addresses(url) or ("",):
        _refuse_address(address, ref)
    return Model(ref, "remote", Card(title=model_id or url), url=url.rstrip("/"), model_id=model_id)


def addresses(url: str) -> tuple[str, ...]:
    """The servers that an address names: one, or several of the same model with commas between them."""
    parts = re.split(r"[,\s]+(?=https?://)", url.strip(), flags=re.IGNORECASE)
    return tuple(dict.fromkeys(part.rstrip("/, ") for part in parts if part))


def _refuse_address(url: str, ref: str) -> None:
    try:
        parts = urlsplit(url)
        wrong = not parts.hostname or parts.port == 0
    except ValueError:  # brackets that don't match, a port that is none
        wrong = True
    if wrong:
        raise UserError(
            "“{ref}” is not an address.",
            remedy="Write it as http://HOST:PORT/v1, with # and the model's name.",
            ref=ref,
        )
    if parts.username is not None or parts.password is not None:
        raise UserError(
            "The address of {host} holds a user name or password, which would be written into every record.",
            remedy="Leave it out; name the environment variable that holds the key in Settings, or set KNOWLM_API_KEY.",
            host=parts.hostname,
        )


def _card_or_none(folder: Path) -> Card:
    try:
        return read_card(folder)
    except UserError:
        return Card()


def _in_folder(folder: Path, card: Card, ref: str | None = None) -> list[Model]:
    """A folder's models: GGUF first (it runs on any machine), the tuned before its base, then NAME/hf."""
    ref = ref or folder.name
    tuned = sorted(folder.glob(f"{TUNED}/*.gguf"))[:1]
    found = [Model(ref, "gguf", _card_or_none(file.parent), file) for file in tuned]
    if found:
        ref += "-base"
    found += [Model(ref, "gguf", card, file) for file in sorted(folder.glob("*.gguf"))[:1]]
    for place, place_ref in ((folder, ref), (folder / "hf", f"{ref}/hf")):
        if (place / "config.json").is_file() and _weight_files(place):
            found.append(Model(place_ref, "huggingface", card, place))
    if not found and (folder / ADAPTER_CONFIG).is_file() and [*folder.glob("adapter_model.safetensors")]:
        found.append(Model(ref, "adapter", card, folder, base=_base_of(folder)))
    return found


def _base_of(adapter: Path) -> str:
    """What an adapter's configuration names as its base; empty where it can't be read."""
    try:
        told = json.loads((adapter / ADAPTER_CONFIG).read_text(encoding="utf-8"))
        return str(told.get("base_model_name_or_path") or "")
    except (OSError, ValueError, AttributeError):
        return ""


def weights_folder(model: Model) -> Path | None:
    """The Hugging Face folder of a model: itself, or what stands beside its GGUF file as `hf`.

    Of a tuned model it is its base's: the merged weights are not kept, and an adapter goes on the base.
    """
    if model.path is None or model.format == "adapter":
        return None
    folder = model.path.parent if model.path.is_file() else model.path
    places = [folder, folder / "hf", *([folder.parent / "hf"] if folder.name == TUNED else [])]
    return next((place for place in places if (place / "config.json").is_file() and _weight_files(place)), None)


def base_weights(model: Model) -> Path:
    """The Hugging Face folder that an adapter's base stands in. Raises UserError if it isn't here."""
    try:
        found = weights_folder(resolve(model.base)) if model.base else None
    except UserError:
        found = None
    if found is None:
        raise UserError(
            "The base of the adapter {adapter}, “{base}”, is not here as a folder of Hugging Face weights.",
            remedy="Download it, or write the name or folder of the base as base_model_name_or_path into {file}.",
            adapter=model.title,
            base=model.base or "–",
            file=ADAPTER_CONFIG,
        )
    return found


def _weight_files(folder: Path) -> list[Path]:
    return [*folder.glob("*.safetensors"), *folder.glob("pytorch_model*.bin")]
