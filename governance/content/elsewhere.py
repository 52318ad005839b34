"""What a model has fetched from elsewhere when it is loaded, so that what was judged is not all that runs.

Where whoever loads a model with MLflow is not asked, it is its files, and so whoever uploaded them, that say what is fetched:

1. `auto_map` names classes of another repository of the hub (`owner/name--module.Class`), also in the `modules.json` of
   sentence-transformers, of which MLflow trusts all code;
2. an adapter names the model that it was made for, which transformers fetches where the adapter has none beside it, and its older
   versions in any case;
3. a detector names the backbone whose weights it begins with;
4. a configuration asks for attention by a compiled kernel of the hub (`owner/name`), of any publisher or of trusted ones, as the release
   of transformers and kernels has it;
5. the settings of a LlamaIndex model name classes, and what those of Hugging Face fetch, with its code where they say so;
6. `MLmodel` names a model of the hub, or a path outside of the model (`content.references`), or what is imported to load it
   (`content.loaders`).

Promises: each is named as `?elsewhere.owner/name`; what sentence-transformers, diffusers, PEFT and LlamaIndex import by its name is named like an import
of a pickle. Does not: name what is mentioned and not fetched, such as where a model's weights came from, or the base of an adapter that
MLflow keeps beside it; or name classes beside a configuration of transformers, whose source is a file of the model's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from governance.content.dependencies import MODEL, usual_name
from governance.content.documents import NoDocumentError, objects_in, texts_in
from governance.content.effort import Effort
from governance.content.judgement import is_dangerous
from governance.content.loaders import IMPORTED, file_imports, flavor_imports
from governance.content.references import (
    MLFLOW_ADAPTER,
    leads_out,
    model_references,
    names_adapter,
    read_flavors,
)

ROOT: Final = "?elsewhere"
HELD: Final = b"auto_map"

Nodes = Sequence[Mapping[str, object]]

_CONFIG: Final = re.compile(r"config(?:\..*)?\.json")
"""A release of transformers is given another one by what `config.json` says of such files, as `config.4.0.0.json`."""
_ANY_CONFIG: Final = re.compile(rf".*{_CONFIG.pattern}")
_ADAPTER: Final = "adapter_config.json"
_MEGATRON: Final = "megatron"
_PARALLEL: Final = "tensor_parallel"
_MODULES: Final = frozenset({"modules.json", "router_config.json", "wordembedding_config.json"})
_SETTINGS: Final = "settings.json"
_PIPELINES: Final = frozenset({"model_index.json", "modular_model_index.json"})
_NAMED: Final = _MODULES | _PIPELINES | {_SETTINGS} | IMPORTED.keys()
_CONSTRUCTOR: Final = "object_constructor"
_OF_PIPELINES: Final = re.compile(r"(?:diffusers|onnxruntime|optimum|transformers)\.")
_HUB_CLASS: Final = re.compile(r"\.huggingface(?!_api)")
_TRANSFORMER: Final = re.compile(r"sentence_[\w-]+_config\.json")
_TOKENIZER: Final = "tokenizer_name_or_path"
_SPEECH: Final = "audio_tokenizer_name_or_path"
_ATTENTION: Final = ("attn_implementation", "_attn_implementation")
_KEPT: Final = f"/{MLFLOW_ADAPTER}/{_ADAPTER}"
_KEY: Final = HELD.decode()
_FROM: Final = "--"
_LONGEST: Final = 200
_OWNED: Final = re.compile(r"[/:]")
_OWN: Final = re.compile(r"(?:sentence_transformers|llama_index)(?:\.[A-Za-z]\w*)+\.[A-Z]\w*", re.ASCII)


def says_where(name: str) -> bool:
    """Whether it is its name by which loaders find what to fetch in a file. In any case of its letters, as for `MLmodel`."""
    base = _base(name)
    return usual_name(name) == MODEL or base in _NAMED or _ANY_CONFIG.fullmatch(base) is not None


def fetched(name: str, data: bytes, effort: Effort) -> frozenset[str]:
    """What a file has fetched from elsewhere, as `?elsewhere.owner/name`, and the classes that it has imported. Raises `DocumentError`,
    or `SpentError`."""
    if usual_name(name) == MODEL:
        flavors = read_flavors(data, effort)
        return _elsewhere(model_references(flavors)) | frozenset(flavor_imports(flavors))
    if _base(name) in IMPORTED:
        return frozenset(file_imports(_base(name), data))
    try:
        nodes = list(objects_in(data))
    except NoDocumentError:
        return frozenset()  # nobody reads it
    mapped = texts_in([node[_KEY] for node in nodes if _KEY in node])
    spoken = texts_in([node.get(_SPEECH) for node in nodes])
    return _elsewhere([*_repositories(mapped), *spoken, *_named(name, nodes)]) | _imported(_base(name), nodes)


def _base(name: str) -> str:
    return name.rpartition("/")[2].casefold()


def _elsewhere(places: Iterable[str]) -> frozenset[str]:
    return frozenset(f"{ROOT}.{each[:_LONGEST]}" for each in places)


def _repositories(classes: Iterable[str]) -> Iterator[str]:
    return (text.partition(_FROM)[0] for text in classes if _FROM in text)


def _named(name: str, nodes: Nodes) -> Iterator[str]:
    """What a document of some name has fetched beside classes."""
    base = _base(name)
    if base in _MODULES:
        yield from _repositories(_classes(nodes))
        yield from _places(nodes)
    elif _CONFIG.fullmatch(base):
        yield from _backbones(nodes)
        yield from _kernels(nodes)
    elif base == _ADAPTER:
        yield from _bases(name, nodes)
    elif base == _SETTINGS:
        yield from _trusted(nodes)
    elif _TRANSFORMER.fullmatch(base):
        yield from texts_in([node.get(_TOKENIZER) for node in nodes])


def _imported(base: str, nodes: Nodes) -> frozenset[str]:
    """What sentence-transformers or LlamaIndex imports by its name, and is none of its own."""
    names: Iterable[str] = ()
    if base in _MODULES:
        names = _classes(nodes)
    elif _CONFIG.fullmatch(base):
        names = _activations(nodes)
    elif base in _PIPELINES:
        names = _components(nodes)
    elif base == _ADAPTER:
        names = _adapted(nodes)
    elif base == _SETTINGS:
        names = texts_in([node.get(_CONSTRUCTOR) for node in nodes])
    return frozenset(text[:_LONGEST] for text in names if _FROM not in text and not _OWN.fullmatch(text))


def _classes(nodes: Nodes) -> Iterator[str]:
    """The classes that sentence-transformers makes its modules of."""
    for node in nodes:
        named = [node.get("type") if "path" in node else None, node.get("types"), node.get("tokenizer_class")]
        yield from texts_in(named)


def _components(nodes: Nodes) -> Iterator[str]:
    """What pipelines of diffusers have imported for their components (any module, up to its release 0.36), but for its own parts: of these,
    and of packages that stand beside it, the names are single words."""
    for value in nodes[0].values() if nodes else ():
        match value:
            case [str(library), str(class_), *_]:
                name = f"{library}.{class_}"
                if is_dangerous(name) or ("." in library and not _OF_PIPELINES.match(library)):
                    yield name


def _adapted(nodes: Nodes) -> Iterator[str]:
    """What PEFT imports at an adapter's word, up to its release 0.18 any module: where the layers are that it is put on, and the class that it
    was made for."""
    for node in nodes:
        layers, library, class_ = (
            node.get(key) for key in ("megatron_core", "parent_library", "base_model_class")
        )
        if node.get("megatron_config") and isinstance(layers, str) and layers.partition(".")[0] != _MEGATRON:
            yield f"{layers}.{_PARALLEL}"
        if isinstance(library, str) and is_dangerous(f"{library}.{class_}"):
            yield f"{library}.{class_}"


def _activations(nodes: Nodes) -> Iterator[str]:
    """The functions that its dense layers import and call. Other models name theirs by a word."""
    texts = texts_in([node.get("activation_function") for node in nodes])
    return (text for text in texts if "." in text and not text.startswith("torch.nn."))


def _places(nodes: Nodes) -> Iterator[str]:
    """Where modules lie, if that is outside of the model, or in the folder of an adapter whose base is not asked about."""
    for node in nodes:
        types = node.get("types")
        for place in (*texts_in([node.get("path")]), *(types if isinstance(types, Mapping) else ())):
            if leads_out(place) or names_adapter(place):
                yield place


def _backbones(nodes: Nodes) -> Iterator[str]:
    """Those with an owner: one without is among timm's own. Nothing is fetched where its configuration is there and its weights are not
    asked for."""
    for node in nodes:
        name = node.get("backbone")
        is_there = node.get("backbone_config") and not node.get("use_pretrained_backbone")
        if isinstance(name, str) and _OWNED.search(name) and not is_there:
            yield name


def _kernels(nodes: Nodes) -> Iterator[str]:
    asked = texts_in([node.get(key) for node in nodes for key in _ATTENTION])
    return (text for text in asked if "/" in text)


def _trusted(nodes: Nodes) -> Iterator[str]:
    """The models that classes of LlamaIndex fetch from the hub. What calls a service, by whatever model's name, fetches none."""
    for node in nodes:
        given = node.get("object_kwargs")
        class_ = node.get(_CONSTRUCTOR)
        if not isinstance(given, Mapping) or not isinstance(class_, str):
            continue
        asks = any(
            "trust_remote_code" in each for each in (given, *given.values()) if isinstance(each, Mapping)
        )
        if asks or _HUB_CLASS.search(class_):
            yield from texts_in([given.get("model_name"), given.get("tokenizer_name")])


def _bases(name: str, nodes: Nodes) -> Iterator[str]:
    """What an adapter is put on, and the adapters that an X-LoRA is made of."""
    yield from texts_in([node["adapters"] for node in nodes if isinstance(node.get("adapters"), Mapping)])
    if not f"/{name}".endswith(_KEPT):
        yield from texts_in([node.get("base_model_name_or_path") for node in nodes[:1]])
