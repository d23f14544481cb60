"""The networks of a bundle as files that other runtimes read, with a card that says how they are called."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dp_ir.checkpoints.bundle import Bundle, locate_bundle, read_bundle
from dp_ir.checkpoints.contract import NetworkInfo, info_of
from dp_ir.checkpoints.network_file import Kind
from dp_ir.errors import BundleError
from dp_ir.runtime.exporting import FORMATS, RESULTS, Format, inputs_of, model_info, to_onnx, to_openvino
from dp_ir.sampling_settings import SETTINGS

CARD_NAME = "README.md"
DESCRIPTION_NAME = "networks.json"
_SUFFIX: dict[Format, str] = {"onnx": ".onnx", "openvino": ".xml"}


def export_bundle(
    name: str | Path,
    folder: str | Path,
    *,
    format: Format = "onnx",
    kinds: Collection[str] | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Write KIND.onnx, or KIND.xml and KIND.bin, for each network, networks.json and README.md.

    Models are written beside the folder and moved into it when all are whole.

    Args:
        name: a bundle, as `Restoration.from_pretrained` takes it.
        folder: where to write; other files in it are left alone.
        format: "onnx" or "openvino".
        kinds: which networks; all by default.
        overwrite: whether models that are there may be replaced.

    Returns:
        The models.

    Raises:
        BundleError: no such bundle, it lacks a network asked for, models are there, or the folder cannot be written.
        DPIRError: a network cannot be exported.
        MissingExtraError: the extra `export` is not installed.
    """
    if format not in FORMATS:
        raise BundleError(f"The format is {format!r}: expected one of {', '.join(FORMATS)}.")
    folder = Path(folder)
    bundle = read_bundle(locate_bundle(name))
    chosen = list(bundle.networks) if kinds is None else [kind for kind in bundle.networks if kind in kinds]
    if missing := set(kinds or ()) - set(chosen):
        raise BundleError(f"The bundle {name} has no {' and no '.join(sorted(missing))}: it has {', '.join(chosen)}.")
    models = [folder / f"{kind}{_SUFFIX[format]}" for kind in chosen]
    if not overwrite and (there := [path for path in models if path.exists()]):
        raise BundleError(f"{there[0]} exists: choose another folder, or replace it with --overwrite.")
    stage = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.partial")
    try:
        stage.mkdir(parents=True)
        infos = {}
        for kind in chosen:
            infos[kind] = info_of(bundle.networks[kind])
            _write(stage / f"{kind}{_SUFFIX[format]}", kind, bundle.networks[kind], infos[kind], format)
        description = _description(bundle, infos, format)
        (stage / DESCRIPTION_NAME).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
        (stage / CARD_NAME).write_text(_card(str(name), description), encoding="utf-8")
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(stage.iterdir(), key=lambda item: item.name == DESCRIPTION_NAME):
            path.replace(folder / path.name)
    except OSError as error:
        raise BundleError(
            f"The models cannot be written to {folder} ({error.strerror or error}): choose a folder that can be "
            "written and has room."
        ) from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return models


def _write(path: Path, kind: Kind, network: Any, info: NetworkInfo, format: Format) -> None:
    if format == "onnx":
        path.write_bytes(to_onnx(kind, network, info).model_proto.SerializeToString())
    else:
        model = to_openvino(kind, network, info)
        import openvino  # is there, since the model is

        openvino.save_model(model, path, compress_to_fp16=False)


def _description(bundle: Bundle, infos: Mapping[Kind, NetworkInfo], format: Format) -> dict[str, Any]:
    networks = {}
    for kind, info in infos.items():
        known = asdict(model_info(info))
        networks[kind] = {
            "file": f"{kind}{_SUFFIX[format]}",
            "inputs": inputs_of(kind, info),
            "output": RESULTS[kind],
            **{name: known[name] for name in ("channels", "multiple_of", "minimum_size", "value_range")},
            "scale": info.scale if kind == "restorer" else 1,
            **({"sigma_input": info.sigma_input, "sigma_range": info.sigma_range} if kind == "denoiser" else {}),
            **({"detail": info.detail} if kind == "fusion" and info.detail is not None else {}),
            "sha256": bundle.records[kind].sha256,
        }
    settings = asdict(bundle.settings)
    return {"format": format, "settings": {name: settings[name] for name in _SETTINGS}, "networks": networks}


_SETTINGS = ("task", *SETTINGS, "licence")


def _dial(description: Mapping[str, Any]) -> str:
    """What the card says of the input `detail`, where a network has it."""
    least = description["networks"].get("fusion", {}).get("detail")
    if least is None:
        return ""
    return (
        f" `detail` (batch) is the dial from the restorer's estimate, 0, to a sample, 1: the fusion sees it from "
        f"{least:g} to 1; below, mix linearly with `restored`."
    )


def _card(name: str, description: Mapping[str, Any]) -> str:
    rows = [
        f"| `{entry['file']}` | {', '.join(entry['inputs'])} | {entry['output']} | {entry['scale'] or 'any'} | "
        f"{entry['multiple_of']} | {entry['minimum_size']} | "
        f"{entry['value_range'][0]:g} to {entry['value_range'][1]:g} |"
        for entry in description["networks"].values()
    ]
    return "\n".join(
        [
            f"# {name} as {description['format'].upper() if description['format'] == 'onnx' else 'OpenVINO'}",
            "",
            "Networks of a dp-ir bundle. Images are float32 (batch, channels, height, width) of any size whose sides "
            "are multiples of the one given and at least the smallest; pad by mirroring on the right and below, and "
            "crop the result. `sigma` (batch) is the standard deviation of the noise, and `variance` its square, in "
            "units of the values; where a denoiser has neither, it sees no noise level or takes it as another channel."
            f"{_dial(description)}",
            "",
            "| file | inputs | output | scale | sides are multiples of | smallest side | values |",
            "|---|---|---|---|---|---|---|",
            *rows,
            "",
            f"`{DESCRIPTION_NAME}` says this, and how the networks are sampled, for programs.",
            "",
        ]
    )
